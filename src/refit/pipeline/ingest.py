"""New partitions from the dataset's source into data/raw, in order, each one whole or not at all.

Ingesting touches the world, so it is no stage of dvc.yaml: it asks the source which partitions
there are, writes those that are missing, and has DVC track the folder, so that its cache and
remotes hold them. Asked again for what is there, it adds nothing.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import polars as pl

from refit import dataset
from refit.core import files, params, paths
from refit.core.errors import DataError, SetupError
from refit.dataset import REFERENCE, Table
from refit.pipeline.dvc import open_pipeline

NEXT, LATEST = "next", "latest"


def ingest(root: Path, *, until: str | None, on_progress: Callable[[str], None]) -> tuple[str, ...]:
    """Bring all partitions up to and including `until`.

    Args:
        root: of the project.
        until: a partition's name; `next`, the first that is not there yet; `latest` or None, all
            that the source has.
        on_progress: takes each partition's name when it has been written.

    Returns:
        The names of the partitions that were added, in order.

    Raises:
        DataError: the source has no such partition, or one between those on disk is missing.
        SetupError: the dataset has no source.
    """
    name = params.dataset_name(root / paths.PARAMS)
    source, tables = _source(name), dataset.tables(name)
    wanted = _wanted(root, tables, source, until)
    with open_pipeline(root) as pipeline:
        added = []
        _write(root, tables, source.reference(), REFERENCE)
        for partition in wanted:
            if _complete(root, tables, partition):
                continue
            _write(root, tables, source.read(partition), partition)
            added.append(partition)
            on_progress(partition)
        pipeline.track(root / paths.RAW)
    return tuple(added)


def available(root: Path) -> tuple[str, ...]:
    """All partitions that the source offers, in order."""
    names: tuple[str, ...] = _source(params.dataset_name(root / paths.PARAMS)).partitions()
    return names


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


def _wanted(
    root: Path, tables: tuple[Table, ...], source: ModuleType, until: str | None
) -> tuple[str, ...]:
    offered: tuple[str, ...] = source.partitions()
    if until is None or until == LATEST:
        return offered
    if until == NEXT:
        there = [_complete(root, tables, partition) for partition in offered]
        return offered[: there.index(False) + 1] if False in there else offered
    if until not in offered:
        raise DataError(
            "the source has no such partition",
            where="--until",
            got=until,
            expected=f"one of {offered[0]} to {offered[-1]}, or {NEXT}, or {LATEST}",
            do="`refit ingest --list` shows them all",
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
    """Write the tables of one partition that are not there yet."""
    for table in tables:
        path = root / paths.RAW / table.name / f"{partition}.parquet"
        if table.name in frames and not path.exists():
            files.write_parquet(frames[table.name], path)
