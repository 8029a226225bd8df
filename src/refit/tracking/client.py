"""The MLflow client that everything shares: connecting, experiments, and the project's database."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from refit.core import paths
from refit.core.errors import RegistryError
from refit.workspace.lock import only_one
from refit.workspace.project import mlflow_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FINGERPRINT = "refit.fingerprint"
"""Tag of a run: the fingerprint of the training."""
OUTDATED = "out-of-date database schema"
"""MLflow's message about a database of an older MLflow."""
SQLITE = "sqlite:///"
FIRST_USE_SECONDS = 60.0
"""How long to wait while another process creates a new database, which takes three seconds."""
LOGGERS = ("mlflow", "alembic")


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
            _create_database(root, uri)
            client = MlflowClient(uri, uri)
            client.search_experiments(max_results=1)
    except Exception as error:  # SQLAlchemy, Alembic and database drivers add their own
        raise _unreachable(uri, error) from error
    return client


def _unreachable(uri: str, error: Exception) -> RegistryError:
    address = re.sub(r"//[^/@]*@", "//***@", uri)  # a password stays out of logs
    if OUTDATED in str(error):
        return RegistryError(
            "MLflow cannot be reached: its database is of an older MLflow",
            where=address,
            got=short(error),
            do=f"make a copy of the database, then run `.venv/bin/mlflow db upgrade {address}`",
        )
    return RegistryError(
        "MLflow cannot be reached",
        where=address,
        got=short(error),
        do="start the server, or correct MLFLOW_TRACKING_URI; if it is not set, the project's own"
        f" database {paths.MLFLOW} is used",
    )


def experiment(client: "MlflowClient", root: Path, name: str) -> str:
    """The id of the experiment, created at first use; its artifacts stay in the project."""
    known = client.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    local = mlflow_uri(root).startswith("sqlite:")
    location = (root / paths.ARTIFACTS / name).as_uri() if local else None
    try:
        return str(client.create_experiment(name, artifact_location=location))
    except Exception:  # another process may have created it just before
        created = client.get_experiment_by_name(name)
        if created is None:
            raise
        return str(created.experiment_id)


def find_run(client: "MlflowClient", experiment_id: str, fingerprint: str) -> "Run | None":
    """The run of a stage fingerprint."""
    runs = client.search_runs(
        [experiment_id], f"tags.`{FINGERPRINT}` = '{fingerprint}'", max_results=1
    )
    return runs[0] if runs else None


def short(error: BaseException) -> str:
    """The first line of an error, at most 300 characters."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _prepare() -> None:
    """Import MLflow with its settings: no telemetry, no long retries, few log messages."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    _only_warnings()
    import mlflow  # noqa: F401 - configures its own loggers, so the levels are set again

    _only_warnings()
    # It prints the traceback of each error that it raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def _only_warnings() -> None:
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def _first_use(root: Path, uri: str) -> Iterator[None]:
    """Only one process at a time may create the tables of a new SQLite database."""
    if not uri.startswith("sqlite:"):
        yield
        return
    busy = "another process is making MLflow's database"
    with only_one(root / paths.MLFLOW_LOCK, FIRST_USE_SECONDS, poll=0.1, busy=busy):
        yield


def _create_database(root: Path, uri: str) -> None:
    """Create the project's own database atomically: temporary file, rename.

    MLflow runs about fifty migrations on a new database, and cannot continue when it was killed
    between two of them.
    """
    path = root / paths.MLFLOW
    if path.exists() or uri != f"{SQLITE}{path}":
        return
    from mlflow import MlflowClient

    temporary = path.with_name("mlflow.db.part")
    for leftover in path.parent.glob(f"{temporary.name}*"):
        leftover.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    MlflowClient(f"{SQLITE}{temporary}", f"{SQLITE}{temporary}").search_experiments(max_results=1)
    temporary.replace(path)
