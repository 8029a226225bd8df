"""`refit status`: the champion, what would run and why, the data, and the running servers."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from refit.core import params, paths
from refit.core.errors import RegistryError
from refit.data import raw_files
from refit.evaluation import release
from refit.registry import reading
from refit.registry.reader import Reader
from refit.registry.reader import champion as champion_of
from refit.registry.version import Version
from refit.workflow import unchanged
from refit.workspace import servers

if TYPE_CHECKING:
    from refit.pipeline.run_cache import SeveralResults


@dataclass(frozen=True, kw_only=True)
class Status:
    """The state of a project at one moment."""

    champion: Version | None
    waiting: int | None
    """The version that waits for a person's answer."""
    registry_error: str
    """Why the registry could not be read; empty when it could."""
    changes: dict[str, tuple[str, ...]]
    several: "tuple[SeveralResults, ...]"
    """Computations with different results from the same inputs."""
    partitions: dict[str, tuple[str, ...]]
    """Of each raw table on disk, in order."""
    servers: dict[str, str]

    def lines(self) -> list[str]:
        """The state as a person reads it."""
        return [
            self._champion(),
            *self._release(),
            *self._waiting(),
            *self._data(),
            *self._changes(),
            *self._alarms(),
            *self._servers(),
        ]

    def _champion(self) -> str:
        if self.registry_error:
            return f"champion   unknown: {self.registry_error}"
        if self.champion is None:
            return "champion   none yet: `refit run` trains and decides"
        return (
            f"champion   version {self.champion.number}, registered {self.champion.registered},"
            f" bundle {self.champion.digest[:12]}"
        )

    def _release(self) -> list[str]:
        if self.champion is None or not self.champion.is_release:
            return []
        return [f"live       {release.HOW}"]

    def _waiting(self) -> list[str]:
        if self.waiting is None:
            return []
        answers = f"`refit approve {self.waiting}` or `refit reject {self.waiting} --why ...`"
        return [f"waits      version {self.waiting}: {answers}"]

    def _data(self) -> list[str]:
        return [
            f"data       {table}: {_span(names)}"
            for table, names in self.partitions.items()
            if names
        ] or ["data       none yet: `refit ingest`"]

    def _changes(self) -> list[str]:
        if not self.changes:
            return ["pipeline   up to date: `refit run` and `dvc repro` have nothing to do"]
        return [
            f"would run  {stage}: {'; '.join(reasons[:4])}"
            + (f" and {len(reasons) - 4} more" if len(reasons) > 4 else "")
            for stage, reasons in self.changes.items()
        ]

    def _alarms(self) -> list[str]:
        return [f"ALARM      {results}; `refit reproduce` shows how" for results in self.several]

    def _servers(self) -> list[str]:
        return [f"server     {name} {url}" for name, url in self.servers.items()] or [
            "server     none is up: `refit up` starts Prefect, a worker and MLflow"
        ]


def status(root: Path) -> Status:
    """The state, read from DVC, the registry and the process table."""
    champion, waiting, registry_error = None, None, ""
    try:
        champion, waiting = reading.ask(
            root, partial(_champion_and_waiting, params.dataset_name(root / paths.PARAMS))
        )
    except RegistryError as error:
        registry_error = str(error)
    changes, several = _pipeline(root)
    return Status(
        champion=champion,
        waiting=waiting,
        registry_error=registry_error,
        changes=changes,
        several=several,
        partitions=raw_files.tables(root / paths.RAW),
        servers={
            name: server.url if server.port else f"process {server.pid}"
            for name, server in servers.running(root).items()
        },
    )


def _pipeline(root: Path) -> tuple[dict[str, tuple[str, ...]], "tuple[SeveralResults, ...]"]:
    """What has changed, and computations with several results."""
    if unchanged.recall(root):
        return {}, ()
    from refit.pipeline.dvc import open_pipeline

    with open_pipeline(root, wait=2) as pipeline:
        return pipeline.changes(), pipeline.several()


def _champion_and_waiting(name: str, reader: Reader) -> tuple[Version | None, int | None]:
    ledger = reader.ledger.read()
    return champion_of(reader, ledger, name), ledger.waiting


def _span(names: tuple[str, ...]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{len(names)} partitions, {names[0]} to {names[-1]}"
