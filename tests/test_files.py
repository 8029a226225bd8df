"""Files: written atomically, and the same bytes each time."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refit.core import files
from refit.core.errors import DataError


def test_parquet_bytes_do_not_depend_on_chunks(tmp_path: Path) -> None:
    """The same rows in one chunk or in many give the same file."""
    whole = pl.DataFrame({"a": list(range(100)), "b": ["x", None] * 50})
    pieces = pl.concat([whole[:7], whole[7:50], whole[50:]], rechunk=False)
    for name, frame in {"whole": whole, "pieces": pieces}.items():
        files.write_parquet(frame, tmp_path / name)
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "pieces").read_bytes()
    assert files.read_parquet(tmp_path / "pieces").equals(whole)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """A value that JSON cannot hold changes no file and leaves no temporary file."""
    path = tmp_path / "report.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, {"a": float("nan")})
    assert files.read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    """The error of a truncated Parquet, JSON or array file names the file."""
    for name, read in {
        "t.parquet": files.read_parquet,
        "t.json": files.read_json,
        "t.npy": files.map_array,
    }.items():
        (tmp_path / name).write_bytes(b"PAR1 half a file")
        with pytest.raises(DataError, match=name):
            read(tmp_path / name)


def test_arrays_are_mapped_not_copied(tmp_path: Path) -> None:
    """An array is a memory map of the file, and writing to it does not change the file."""
    path = tmp_path / "a.npy"
    files.write_array(path, np.arange(6, dtype=np.float32).reshape(2, 3))
    before = path.read_bytes()
    mapped = files.map_array(path)
    assert isinstance(mapped, np.memmap)
    mapped[0, 0] = 9
    assert path.read_bytes() == before


@given(st.dictionaries(st.text("abc/", min_size=1, max_size=3), st.binary(max_size=4), max_size=4))
def test_rounding_keeps_structure(values: dict[str, bytes]) -> None:
    """Rounding changes nothing but floats."""
    assert files.rounded(values) == values


def test_rounding() -> None:
    """Floats keep six significant digits, and NaN and infinity become null."""
    assert files.rounded({"a": [0.123456789, np.float32(2.0), 7]}) == {"a": [0.123457, 2.0, 7]}
    assert files.rounded((float("nan"), float("inf"), None, "x")) == [None, None, None, "x"]


def test_folder_digest_sees_names_and_contents(tmp_path: Path) -> None:
    """A renamed or changed file changes a folder's digest; the order of writing does not."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, order in ((one, ("a", "b")), (two, ("b", "a"))):
        for name in order:
            files.write_text(folder / name, name)
    assert files.digest(one) == files.digest(two)
    (two / "b").rename(two / "c")
    assert files.digest(one) != files.digest(two)


def test_compiled_copies_do_not_count(tmp_path: Path) -> None:
    """A folder of code has the same digest before and after Python has run it."""
    files.write_text(tmp_path / "code/module.py", "x = 1\n")
    before = files.digest(tmp_path / "code")
    files.write_bytes(tmp_path / "code/__pycache__/module.cpython-311.pyc", b"compiled")
    assert files.digest(tmp_path / "code") == before


def test_nothing_has_no_digest(tmp_path: Path) -> None:
    """The digest of a missing path is an error, not that of an empty folder."""
    with pytest.raises(FileNotFoundError):
        files.digest(tmp_path / "gone")
