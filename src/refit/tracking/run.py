"""The MLflow run of a training, written while it trains.

Tracking may neither break nor slow down a training: metrics are sent in batches, HTTP requests give
up early, and an error of MLflow costs one warning. Each stage fingerprint has one run, so a retried
or resumed training continues the run that it began, and logs no step twice.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from refit.tracking.client import FINGERPRINT, connect, experiment, find_run, short

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

BATCH = 200
"""Metrics sent together (MLflow takes at most 1,000)."""
SECONDS = 2.0
"""Longest time that metrics wait to be sent."""


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """What an MLflow run has from its beginning."""

    fingerprint: str
    """Of the stage; names the run."""
    experiment: str
    params: Mapping[str, str]
    tags: Mapping[str, str]


class Tracker:
    """The MLflow run of one training.

    Args:
        training: describes the run.
        root: of the project.
    """

    def __init__(self, training: TrainingRun, root: Path) -> None:
        self._training, self._root = training, root
        self._client: MlflowClient | None = None
        self._run = ""
        self._queue: list[Metric] = []
        self._sent = time.monotonic()
        self._last_steps: dict[str, int] = {}

    def open(self) -> None:
        """Open the fingerprint's run, or warn and continue without tracking."""
        with self._or_untracked():
            client = connect(self._root)
            experiment_id = experiment(client, self._root, self._training.experiment)
            fingerprint = self._training.fingerprint
            run = find_run(client, experiment_id, fingerprint)
            if run is None:
                tags = {**self._training.tags, FINGERPRINT: fingerprint}
                label = f"train-{fingerprint[:8]}"
                run = client.create_run(experiment_id, tags=tags, run_name=label)
            self._run = run.info.run_id
            self._log_params(client)
            self._last_steps = {
                key: max(point.step for point in client.get_metric_history(self._run, key))
                for key in run.data.metrics
            }
            client.update_run(self._run, status="RUNNING")
            self._client = client

    def close(self, end: str) -> None:
        """Send the remaining metrics and end the run with a status of MLflow, see `status`."""
        self._flush()
        with self._or_untracked():
            if self._client is not None:
                self._client.set_terminated(self._run, end)

    def log(self, metrics: Mapping[str, float], step: int, at: float) -> None:
        """Log metrics at a step and a time in seconds since 1970; known steps are skipped."""
        if self._client is None:
            return
        from mlflow.entities import Metric

        self._queue += [
            Metric(key, float(value), int(at * 1000), step)
            for key, value in metrics.items()
            if step > self._last_steps.get(key, -1)
        ]
        if len(self._queue) >= BATCH or time.monotonic() - self._sent > SECONDS:
            self._flush()

    def artifact(self, path: Path) -> None:
        """Log a small file."""
        with self._or_untracked():
            if self._client is not None:
                self._client.log_artifact(self._run, str(path))

    def _log_params(self, client: "MlflowClient") -> None:
        """Log the parameters. MLflow accepts the same values again when a run is resumed."""
        from mlflow.entities import Param

        params = [Param(key, value) for key, value in self._training.params.items()]
        client.log_batch(self._run, params=params)

    def _flush(self) -> None:
        self._sent = time.monotonic()
        metrics, self._queue = self._queue, []
        with self._or_untracked():
            if self._client is not None and metrics:
                self._client.log_batch(self._run, metrics=metrics)

    @contextmanager
    def _or_untracked(self) -> Iterator[None]:
        """Turn any error of MLflow into one warning, and continue without tracking."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - no error of MLflow may end a training
            self._client = None
            print(
                f"warning: MLflow was lost, the training continues untracked: {short(error)}",
                file=sys.stderr,
                flush=True,
            )


def status(kind: type[BaseException] | None) -> str:
    """MLflow's status of an ended run; Ctrl-C and SIGTERM, which are no Exception, kill it."""
    if kind is None:
        return "FINISHED"
    return "FAILED" if issubclass(kind, Exception) else "KILLED"
