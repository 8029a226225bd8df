"""MLflow: the client that every use of it shares, and the live tracking of a training.

Tracking may neither break nor slow a training: metrics are sent in batches, HTTP requests give up
early, and whatever goes wrong in MLflow costs one warning. One run belongs to one stage
fingerprint, so a retry or a resumed training goes on in the run that it began, and logs no step
twice.
"""

import logging
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from refit.core import paths
from refit.core.errors import RegistryError
from refit.workspace.lock import only_one
from refit.workspace.project import mlflow_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

FINGERPRINT = "refit.fingerprint"
BATCH = 200
"""Metrics sent at once (MLflow takes at most 1,000)."""
SECONDS = 2.0
"""Metrics wait no longer than this."""
OLDER = "out-of-date database schema"
"""What MLflow says of one."""
SQLITE = "sqlite:///"
FIRST_USE = 60.0
"""Seconds to wait while another process makes a new database (it takes three)."""


def connect(root: Path) -> "MlflowClient":
    """A client of the project's tracking server and registry.

    Raises:
        RegistryError: it cannot be reached.
    """
    uri = mlflow_uri(root)
    try:
        _prepare()
        from mlflow import MlflowClient

        with _first_use(root, uri):
            _make_database(root, uri)
            client = MlflowClient(uri, uri)
            client.search_experiments(max_results=1)
    except Exception as error:  # SQLAlchemy, Alembic and database drivers add their own
        raise _unreached(uri, error) from error
    return client


def _unreached(uri: str, error: Exception) -> RegistryError:
    shown = re.sub(r"//[^/@]*@", "//***@", uri)  # a password stays out of logs
    if OLDER in str(error):
        return RegistryError(
            "MLflow cannot be reached: its database is of an older MLflow",
            where=shown,
            got=short(error),
            do=f"make a copy of the database, then run `.venv/bin/mlflow db upgrade {shown}`",
        )
    return RegistryError(
        "MLflow cannot be reached",
        where=shown,
        got=short(error),
        do="start the server, or correct MLFLOW_TRACKING_URI; unset, the project's own"
        f" database {paths.MLFLOW} serves",
    )


def experiment(client: "MlflowClient", root: Path, name: str) -> str:
    """The identifier of the experiment, made at first use; artifacts stay in the project."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    local = mlflow_uri(root).startswith("sqlite:")
    location = (root / paths.ARTIFACTS / name).as_uri() if local else None
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except Exception:  # another process may have made it just before
        made = client.get_experiment_by_name(name)
        if made is None:
            raise
        return str(made.experiment_id)


def find_run(client: "MlflowClient", experiment_id: str, fingerprint: str) -> "Run | None":
    """The run of a stage fingerprint."""
    found = client.search_runs(
        [experiment_id], f"tags.`{FINGERPRINT}` = '{fingerprint}'", max_results=1
    )
    return found[0] if found else None


class Tracker:
    """The MLflow run of one training; use it in a `with` statement.

    Args:
        fingerprint: of the stage; names the run.
        name: of the experiment.
        params: logged once.
        tags: of the run.
        root: of the project.
    """

    def __init__(
        self,
        fingerprint: str,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        root: Path | None = None,
    ) -> None:
        self._fingerprint, self._name = fingerprint, name
        self._params, self._tags = params, {**tags, FINGERPRINT: fingerprint}
        self._root = root or Path.cwd()
        self._client: MlflowClient | None = None
        self._run = ""
        self._waiting: list[Metric] = []
        self._sent = time.monotonic()
        self._done: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Open the fingerprint's run, or go on without tracking and say so."""
        with self._or_mute():
            client = connect(self._root)
            number = experiment(client, self._root, self._name)
            run = find_run(client, number, self._fingerprint)
            if run is None:
                label = f"train-{self._fingerprint[:8]}"
                run = client.create_run(number, tags=dict(self._tags), run_name=label)
            self._run = run.info.run_id
            self._log_params(client)
            self._done = {
                key: max(point.step for point in client.get_metric_history(self._run, key))
                for key in run.data.metrics
            }
            client.update_run(self._run, status="RUNNING")
            self._client = client
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Send what waits and close the run with its true state."""
        self._flush()
        with self._or_mute():
            if self._client is not None:
                self._client.set_terminated(self._run, _state(kind))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Note metrics at a step; points of a step that the run already has are left out."""
        if self._client is None:
            return
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._waiting += [
            Metric(key, float(value), now, step)
            for key, value in metrics.items()
            if step > self._done.get(key, -1)
        ]
        if len(self._waiting) >= BATCH or time.monotonic() - self._sent > SECONDS:
            self._flush()

    def artifact(self, path: Path) -> None:
        """Log a small file."""
        with self._or_mute():
            if self._client is not None:
                self._client.log_artifact(self._run, str(path))

    def _log_params(self, client: "MlflowClient") -> None:
        """Log the parameters; MLflow takes the same values again when a run is resumed."""
        from mlflow.entities import Param

        params = [Param(key, str(value)) for key, value in self._params.items()]
        client.log_batch(self._run, params=params)

    def _flush(self) -> None:
        self._sent = time.monotonic()
        waiting, self._waiting = self._waiting, []
        with self._or_mute():
            if self._client is not None and waiting:
                self._client.log_batch(self._run, metrics=waiting)

    @contextmanager
    def _or_mute(self) -> Iterator[None]:
        """Turn any failure of MLflow into one warning and go on untracked."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - no fault of MLflow's may end a training
            self._client = None
            print(
                f"warning: MLflow was lost, the training goes on untracked: {short(error)}",
                file=sys.stderr,
                flush=True,
            )


def _state(kind: type[BaseException] | None) -> str:
    """MLflow's word for how a run ended; what is no Exception (Ctrl-C) was sent from outside."""
    if kind is None:
        return "FINISHED"
    return "FAILED" if issubclass(kind, Exception) else "KILLED"


def short(error: BaseException) -> str:
    """The first line of an error, at most 300 characters."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _prepare() -> None:
    """Settings that MLflow reads when it is imported: no telemetry, no long retries, no chatter."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    import mlflow  # noqa: F401 - sets its own loggers up, which the next lines quieten

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It prints the traceback of each error that it then raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


@contextmanager
def _first_use(root: Path, uri: str) -> Iterator[None]:
    """One process at a time may make the tables of a new SQLite database."""
    if not uri.startswith("sqlite:"):
        yield
        return
    busy = "another process is making MLflow's database"
    with only_one(root / paths.MLFLOW_LOCK, FIRST_USE, poll=0.1, busy=busy):
        yield


def _make_database(root: Path, uri: str) -> None:
    """Make the project's own database beside its place, then rename it, unless it is there.

    MLflow takes some fifty migrations to make one; killed between two, it could never go on.
    """
    path = root / paths.MLFLOW
    if path.exists() or uri != f"{SQLITE}{path}":
        return
    from mlflow import MlflowClient

    aside = path.with_name("mlflow.db.part")
    for left in path.parent.glob(f"{aside.name}*"):
        left.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    MlflowClient(f"{SQLITE}{aside}", f"{SQLITE}{aside}").search_experiments(max_results=1)
    aside.replace(path)
