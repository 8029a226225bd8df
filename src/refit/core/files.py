"""Reading and writing files: atomically, and the same bytes each time.

Every writer writes a temporary file beside the target, flushes it to disk and renames it. A reader,
or the next run after a crash, sees the old file or the new one, never half of one.

Polars and NumPy are imported where they are used: a command that reads no table need not wait.
"""

import hashlib
import io
import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refit.core.errors import DataError, DiskError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

SIGNIFICANT_DIGITS = 6


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write atomically: temporary file, fsync, rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        raise DiskError(error, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text; line ends stay as they are."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys; NaN and infinity raise ValueError, since JSON has neither."""
    write_text(
        path,
        json.dumps(value, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n",
    )


def read_json(path: Path) -> Any:
    """Read JSON, or say which file is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            "cannot be read as JSON",
            where=str(path),
            got=str(error),
            do="delete it and run the pipeline again, which rewrites it",
        ) from error


def write_parquet(frame: "pl.DataFrame", path: Path) -> None:
    """Write a table. Its columns are joined to one chunk each: Parquet's bytes depend on chunks."""
    buffer = io.BytesIO()
    frame.rechunk().write_parquet(buffer, compression="zstd", statistics=True)
    write_bytes(path, buffer.getbuffer())


def read_parquet(path: Path) -> "pl.DataFrame":
    """Read a table, or say which file is unreadable.

    Memory mapping is off: DVC may replace the file (a hard link into its cache) while it is open.
    """
    return parse_parquet(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """Read a whole Parquet file, or say which one is unreadable."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, str(error)) from error


def parse_parquet(data: bytes, path: Path) -> "pl.DataFrame":
    """The table in the bytes of a file, or an error that names the file.

    Polars panics, which is no Exception, where a damaged page contradicts itself.
    """
    import polars as pl

    try:
        return pl.read_parquet(io.BytesIO(data))
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, got: str) -> DataError:
    return DataError(
        "cannot be read as Parquet",
        where=str(path),
        got=got.splitlines()[0] if got else "nothing",
        expected="a whole Parquet file",
        do="restore it with `dvc checkout`, or delete it and ingest its partition again",
    )


def write_array(path: Path, array: "np.ndarray") -> None:
    """Write a numeric array as .npy, row after row, without pickle."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    write_bytes(path, buffer.getbuffer())


def map_array(path: Path) -> "np.ndarray":
    """Map a .npy file: pages are read as they are used, and nothing is copied.

    Mapped copy-on-write, so that torch may hold it as writable while the file stays as it is.
    """
    import numpy as np

    try:
        mapped: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(
            "cannot be read as an array",
            where=str(path),
            got=str(error),
            do="run `dvc repro preprocess`, which writes it again",
        ) from error
    return mapped


def digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder: its files' relative names and contents, sorted.

    Python's own compiled copies in `__pycache__` do not count.

    Returns:
        64 hexadecimal digits.

    Raises:
        FileNotFoundError: there is neither.
    """
    if path.is_file():
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    if not path.is_dir():
        raise FileNotFoundError(path)
    whole = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        if file.parent.name == "__pycache__":
            continue
        whole.update(f"{file.relative_to(path).as_posix()}\0{digest(file)}\n".encode())
    return whole.hexdigest()


def rounded(value: Any) -> Any:
    """The value with every float in it at six significant digits, for reports.

    The last bits of a derived figure may differ between processors; the digits that mean something
    do not. NaN and infinity become None, so that JSON can hold the result.
    """
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    if hasattr(value, "item"):  # a number of NumPy's
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if math.isfinite(value) else None
    return value
