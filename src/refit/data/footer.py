"""The footers of Parquet files: how much memory the rows will take, known before they are read.

A small file can hold hundreds of millions of equal rows, and a program that takes too much memory
is killed without a word. So the footers are read first, and what they announce is compared with the
memory that is free.
"""

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from refit.core.errors import DataError

WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
"""Bytes of a decoded value. The others, texts and binary values, also take their own length."""
REFERENCE = 16
"""Bytes of a reference to a text."""
COPIES = 2
"""The rows while they are decoded: the file's pages and the table."""
WORKING = 128
"""Bytes of a row while its key is compared with all the others; measured."""
GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Footer:
    """What the footer of one file announces."""

    path: Path
    rows: int
    decoded: int
    """Bytes of the rows in memory."""

    @property
    def needed(self) -> int:
        """Bytes that validation takes at least."""
        return COPIES * self.decoded + WORKING * self.rows


def read(path: Path) -> Footer:
    """Read the footer alone.

    Raises:
        DataError: the file has none.
    """
    try:
        metadata = pq.read_metadata(path)
        decoded = sum(
            _decoded(metadata.row_group(group).column(column))
            for group in range(metadata.num_row_groups)
            for column in range(metadata.num_columns)
        )
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            "cannot be read as Parquet",
            where=str(path),
            got=str(error).splitlines()[0],
            expected="a whole Parquet file",
            do="restore it with `dvc checkout`, or delete it and ingest its partition again",
        ) from error
    return Footer(path=path, rows=metadata.num_rows, decoded=decoded)


def require_memory(paths: Iterable[Path], free: int) -> None:
    """Raise DataError unless the rows of all files fit into so many bytes of memory."""
    footers = [read(path) for path in paths]
    needed = sum(footer.needed for footer in footers)
    if needed <= free:
        return
    largest = max(footers, key=operator.attrgetter("needed"))
    raise DataError(
        f"{sum(footer.rows for footer in footers):,} rows need more memory than is free",
        where=f"{len(footers)} files, the largest of them {largest.path}",
        got=f"{needed / GIB:,.1f} GiB needed, {largest.needed / GIB:,.1f} GiB of them for the"
        f" {largest.rows:,} rows of {largest.path.name}",
        expected=f"at most {free / GIB:,.1f} GiB",
        do="look whether that file is what you meant to add; otherwise free memory, or keep fewer"
        " partitions",
    )


def _decoded(chunk: Any) -> int:
    """Bytes of one column of a row group in memory."""
    width = WIDTHS.get(chunk.physical_type)
    if width is not None:
        return int(chunk.num_values) * width
    return int(chunk.num_values) * REFERENCE + int(chunk.total_uncompressed_size)
