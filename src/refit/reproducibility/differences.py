"""Says how two outputs of a stage differ: which columns, how many rows, by how much."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from refit.core import files

LISTED = 10
"""Lines that are listed for one output."""


def between(expected: Path, got: Path) -> list[str]:
    """A line for each difference of two files or folders; none if their bytes are equal."""
    if expected.is_file() and got.is_file():
        return [] if files.digest(expected) == files.digest(got) else _of_files(expected, got)
    names = sorted(_names(expected) | _names(got))
    lines = [line for name in names for line in _of_name(name, expected / name, got / name)]
    more = len(lines) - LISTED
    return lines[:LISTED] + ([f"and {more} more"] if more > 0 else [])


def _names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def _of_name(name: str, expected: Path, got: Path) -> list[str]:
    if not expected.exists() or not got.exists():
        return [f"{name}: {'is not expected' if got.exists() else 'is missing'}"]
    return [f"{name}: {line}" for line in between(expected, got)]


def _of_files(expected: Path, got: Path) -> list[str]:
    readers: dict[str, Callable[[Path, Path], Iterator[str]]] = {
        ".parquet": _parquet,
        ".npy": _array,
        ".safetensors": _tensors,
        ".json": _json,
    }
    reader = readers.get(got.suffix)
    lines = list(reader(expected, got)) if reader else []
    return lines or [f"{got.stat().st_size:,} bytes, expected {expected.stat().st_size:,}"]


def _parquet(expected: Path, got: Path) -> Iterator[str]:
    old, new = files.read_parquet(expected), files.read_parquet(got)
    if old.schema != new.schema:
        yield f"columns {dict(new.schema)}, expected {dict(old.schema)}"
        return
    if old.height != new.height:
        yield f"{new.height:,} rows, expected {old.height:,}"
        return
    for name in old.columns:
        yield from _column(name, old[name], new[name])


def _column(name: str, old: pl.Series, new: pl.Series) -> Iterator[str]:
    changed = int(old.ne_missing(new).sum())
    if not changed:
        return
    largest = ""
    if old.dtype.is_numeric():
        difference = (old.cast(pl.Float64) - new.cast(pl.Float64)).abs().max()
        if isinstance(difference, float):
            largest = f", largest difference {difference:.3g}"
    yield f"column {name} differs in {changed:,} of {old.len():,} rows{largest}"


def _array(expected: Path, got: Path) -> Iterator[str]:
    yield from _values("values", np.asarray(files.map_array(expected)), files.map_array(got))


def _tensors(expected: Path, got: Path) -> Iterator[str]:
    from safetensors.numpy import load_file

    old, new = load_file(expected), load_file(got)
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new:
            yield f"tensor {name} {'is not expected' if name in new else 'is missing'}"
        else:
            yield from _values(f"weights {name}", old[name], new[name])


def _values(name: str, old: np.ndarray, new: np.ndarray) -> Iterator[str]:
    if old.shape != new.shape or old.dtype != new.dtype:
        yield f"{name}: {new.dtype} {new.shape}, expected {old.dtype} {old.shape}"
    elif old.tobytes() != new.tobytes():
        changed = int(np.count_nonzero(old != new))
        largest = np.max(np.abs(old.astype(np.float64) - new.astype(np.float64)), initial=0)
        yield f"{name}: {changed:,} of {old.size:,} differ, largest difference {largest:.3g}"


def _json(expected: Path, got: Path) -> Iterator[str]:
    old = json.loads(expected.read_text(encoding="utf-8"))
    new = json.loads(got.read_text(encoding="utf-8"))
    yield from _entries("", old, new)


def _entries(where: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _entries(f"{where}.{key}".lstrip("."), old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from _entries(f"{where}[{number}]", a, b)
    elif old != new:
        yield f"{where or 'value'} is {new!r}, expected {old!r}"
