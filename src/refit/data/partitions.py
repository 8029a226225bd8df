"""Partitions on disk: FOLDER/TABLE/PARTITION.parquet, for raw and validated rows alike."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from refit.core import files
from refit.core.errors import DataError
from refit.dataset import PARTITION, REFERENCE, Table


def names(folder: Path, table: Table) -> tuple[str, ...]:
    """The partitions of a table on disk, sorted: the order of the names is the order of time.

    Raises:
        DataError: the table has no file, or a reference table has other files than its own.
    """
    stems = sorted(path.stem for path in (folder / table.name).glob("*.parquet"))
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
    if table.time is None and stems != [REFERENCE]:
        raise DataError(
            f"table `{table.name}` has no time column, so it must be one file",
            where=str(folder / table.name),
            got=", ".join(stems),
            expected=f"{REFERENCE}.parquet only",
            do="move the other files away, or name the table's time column in TABLES",
        )
    return tuple(stems)


def read(folder: Path, table: Table) -> dict[str, pl.DataFrame]:
    """The rows of each partition, in order."""
    return {
        name: files.read_parquet(folder / table.name / f"{name}.parquet")
        for name in names(folder, table)
    }


def write(folder: Path, table: Table, partitions: Mapping[str, pl.DataFrame]) -> None:
    """Write each partition's rows."""
    for name, frame in partitions.items():
        files.write_parquet(frame, folder / table.name / f"{name}.parquet")


def joined(folder: Path, table: Table) -> pl.DataFrame:
    """All rows of a table. Those of a partitioned table have the column `partition`."""
    partitions = read(folder, table)
    if table.time is None:
        return partitions[REFERENCE]
    return pl.concat(
        [frame.with_columns(pl.lit(name).alias(PARTITION)) for name, frame in partitions.items()]
    )
