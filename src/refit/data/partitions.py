"""Partitions on disk: FOLDER/TABLE/PARTITION.parquet, for raw and validated rows alike."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from refit.core import files
from refit.core.errors import DataError
from refit.data import raw_files, recorded
from refit.data.recorded import Record
from refit.dataset import PARTITION, REFERENCE, RESERVED, Table


def names(folder: Path, table: Table) -> tuple[str, ...]:
    """The partitions of a table on disk, sorted: the order of the names is the order of time.

    Raises:
        DataError: the table has no file, a file that cannot be one of its partitions, or, for a
            reference table, other files than its own.
    """
    stems = raw_files.partitions(folder / table.name)
    if not stems:
        raise DataError(
            f"table `{table.name}` has no partition",
            where=str(folder / table.name),
            got="no Parquet file",
            expected="one PARTITION.parquet for each partition"
            if table.time
            else f"{REFERENCE}.parquet",
            do="run `refit ingest`, or put the files there",
        )
    if table.time is None and stems != (REFERENCE,):
        raise DataError(
            f"table `{table.name}` has no time column, so it must be one file",
            where=str(folder / table.name),
            got=", ".join(stems),
            expected=f"{REFERENCE}.parquet only",
            do="move the other files away, or name the table's time column in TABLES",
        )
    return stems


def find(folder: Path, table: Table) -> dict[str, Path]:
    """The file of each partition, in order; raises as `names` does."""
    return {name: folder / table.name / f"{name}.parquet" for name in names(folder, table)}


def read(folder: Path, table: Table, record: Record | None = None) -> dict[str, pl.DataFrame]:
    """The rows of each partition, in order.

    Args:
        folder: of the tables.
        table: to read.
        record: what DVC has recorded of the files; None compares nothing.

    Raises:
        DataError: a file is damaged, is not as recorded, or has a column that Refit itself adds.
    """
    paths = find(folder, table)
    if record is not None:
        record.require_partitions(folder / table.name, paths.values())
    return {name: _read(path, table, record) for name, path in paths.items()}


def write(folder: Path, table: Table, partitions: Mapping[str, pl.DataFrame]) -> None:
    """Write each partition's rows."""
    for name, frame in partitions.items():
        files.write_parquet(frame, folder / table.name / f"{name}.parquet")


def joined(folder: Path, table: Table, record: Record | None = None) -> pl.DataFrame:
    """All rows of a table, as `read` reads them.

    Those of a partitioned table have the column `partition`.
    """
    partitions = read(folder, table, record)
    if table.time is None:
        return partitions[REFERENCE]
    return pl.concat(
        [frame.with_columns(pl.lit(name).alias(PARTITION)) for name, frame in partitions.items()]
    )


def _read(path: Path, table: Table, record: Record | None) -> pl.DataFrame:
    data = files.read_bytes(path)
    if record is not None:
        record.require(path, recorded.md5_of(data))
    frame = files.parse_parquet(data, path)
    taken = sorted(RESERVED.intersection(frame.columns))
    if taken:
        raise DataError(
            f"table `{table.name}` has a column whose name Refit itself uses",
            where=str(path),
            got=", ".join(taken),
            expected=f"other names than {', '.join(sorted(RESERVED))}",
            do="rename the column in the file, and in the table's schema",
        )
    return frame
