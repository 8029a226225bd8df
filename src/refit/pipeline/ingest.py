"""New partitions from the dataset's source into data/raw, in order, each written atomically.

Ingesting is not a function of the commit, so it is not a stage of dvc.yaml. It asks the source for
its partitions, writes those that are missing, and adds the folder to DVC, so that the cache and the
remotes hold them. A second call adds nothing.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import polars as pl

from refit import dataset
from refit.core import files, params, paths
from refit.core.errors import DataError, SetupError
from refit.data import raw_files
from refit.dataset import REFERENCE, Table
from refit.pipeline.dvc import open_pipeline

NEXT, LATEST = "next", "latest"


def ingest(root: Path, *, until: str | None, on_progress: Callable[[str], None]) -> tuple[str, ...]:
    """Ingest all partitions up to and including `until`.

    Args:
        root: of the project.
        until: a partition's name; `next` for the first that is missing; `latest` or None for all
            of the source's.
        on_progress: takes each partition's name when it has been written.

    Returns:
        The names of the partitions that were added, in order.

    Raises:
        DataError: the source has no such partition, or one between those on disk is missing.
        SetupError: the dataset has no source.
    """
    name = params.dataset_name(root / paths.PARAMS)
    source, tables = _source(name), dataset.tables(name)
    selection = _select(root, tables, _offered(name, source), until)
    with open_pipeline(root) as pipeline:
        added = []
        _write(root, tables, source.reference(), REFERENCE)
        for partition in selection:
            if _complete(root, tables, partition):
                continue
            _write(root, tables, source.read(partition), partition)
            added.append(partition)
            on_progress(partition)
        pipeline.track(root / paths.RAW)
    return tuple(added)


def available(root: Path) -> tuple[str, ...]:
    """All partitions of the source, in order."""
    name = params.dataset_name(root / paths.PARAMS)
    return _offered(name, _source(name))


def _source(name: str) -> ModuleType:
    source = dataset.ingest(name)
    if source is None:
        raise SetupError(
            f"the dataset {name} has no source to ingest from",
            where=f"src/{name}",
            expected=f"a module {name}.ingest with partitions(), read(partition), reference()",
            do=f"write it, or put Parquet files into {paths.RAW}/TABLE/PARTITION.parquet yourself"
            f" and run `dvc add {paths.RAW}`",
        )
    return source


def _offered(name: str, source: ModuleType) -> tuple[str, ...]:
    """The partitions of the source, whose names become names of files."""
    offered: tuple[str, ...] = tuple(source.partitions())
    bad = [each for each in offered if not (isinstance(each, str) and raw_files.is_name(each))]
    if bad:
        raise DataError(
            f"{len(bad)} partitions of the source cannot be named as they are",
            where=f"{name}.ingest, partitions()",
            got=", ".join(raw_files.shown(str(each)) for each in bad[: raw_files.LISTED]),
            expected=raw_files.EXPECTED,
            do="return names of this form, and let `read` understand them",
        )
    return offered


def _select(
    root: Path, tables: tuple[Table, ...], offered: tuple[str, ...], until: str | None
) -> tuple[str, ...]:
    if until is None or until == LATEST:
        return offered
    if until == NEXT:
        present = [_complete(root, tables, partition) for partition in offered]
        return offered[: present.index(False) + 1] if False in present else offered
    if until not in offered:
        raise DataError(
            "the source has no such partition",
            where="--until",
            got=until,
            expected=f"one of {offered[0]} to {offered[-1]}, or {NEXT}, or {LATEST}",
            do="`refit ingest --list` shows all",
        )
    return offered[: offered.index(until) + 1]


def _complete(root: Path, tables: tuple[Table, ...], partition: str) -> bool:
    return all(
        (root / paths.RAW / table.name / f"{partition}.parquet").exists()
        for table in tables
        if table.time
    )


def _write(
    root: Path, tables: tuple[Table, ...], frames: Mapping[str, pl.DataFrame], partition: str
) -> None:
    """Write the tables of one partition that are missing."""
    for table in tables:
        path = root / paths.RAW / table.name / f"{partition}.parquet"
        if table.name in frames and not path.exists():
            files.write_parquet(frames[table.name], path)
