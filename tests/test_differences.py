"""Lines that say how two outputs differ."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from refit.core import files
from refit.reproducibility import differences


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    for side in ("old", "new"):
        (tmp_path / side).mkdir()
    return tmp_path / "old", tmp_path / "new"


def write(folder: Path, value: float) -> None:
    """One file of each kind that stages write, with one number in each."""
    table = pl.DataFrame({"key": [1, 2, 3], "x": [0.5, value, None], "name": ["a", "b", "c"]})
    files.write_parquet(table, folder / "t.parquet")
    np.save(folder / "a.npy", np.array([1.0, value], dtype=np.float32))
    weights = {"w": np.array([[value]], dtype=np.float32), "b": np.zeros(1, np.float32)}
    save_file(weights, folder / "m.safetensors")
    files.write_json(folder / "r.json", {"same": 1, "deep": {"list": [1, value]}})
    files.write_text(folder / "p.csv", f"x\n{value}\n")


def test_equal_bytes_are_no_difference(pair: tuple[Path, Path]) -> None:
    """Folders with the same files give no line."""
    for side in pair:
        write(side, 2.0)
    assert differences.between(*pair) == []


def test_each_kind_of_file_says_where_and_by_how_much(pair: tuple[Path, Path]) -> None:
    """Columns with rows, arrays and weights with the largest difference, JSON with its path."""
    old, new = pair
    write(old, 2.0)
    write(new, 2.25)
    assert differences.between(old, new) == [
        "a.npy: values: 1 of 2 differ, largest difference 0.25",
        "m.safetensors: weights w: 1 of 1 differ, largest difference 0.25",
        "p.csv: 7 bytes, expected 6",
        "r.json: deep.list[1] is 2.25, expected 2.0",
        "t.parquet: column x differs in 1 of 3 rows, largest difference 0.25",
    ]


def test_missing_files_other_shapes_and_other_columns(pair: tuple[Path, Path]) -> None:
    """Files that cannot be compared value by value are compared by shape or columns."""
    old, new = pair
    files.write_parquet(pl.DataFrame({"x": [1]}), old / "rows.parquet")
    files.write_parquet(pl.DataFrame({"x": [1, 2]}), new / "rows.parquet")
    files.write_parquet(pl.DataFrame({"x": [1]}), old / "types.parquet")
    files.write_parquet(pl.DataFrame({"x": ["1"]}), new / "types.parquet")
    np.save(old / "a.npy", np.zeros((2, 3)))
    np.save(new / "a.npy", np.zeros((3, 2)))
    files.write_text(old / "gone", "x")
    files.write_text(new / "added", "x")
    assert differences.between(old, new) == [
        "a.npy: values: float64 (3, 2), expected float64 (2, 3)",
        "added: is not expected",
        "gone: is missing",
        "rows.parquet: 2 rows, expected 1",
        "types.parquet: columns {'x': String}, expected {'x': Int64}",
    ]


def test_a_long_list_is_cut(pair: tuple[Path, Path]) -> None:
    """After ten lines the other ones are counted."""
    old, new = pair
    for number in range(15):
        files.write_text(old / f"{number:02d}", "x")
    lines = differences.between(old, new)
    assert lines[-1] == "and 5 more"
    assert len(lines) == differences.LISTED + 1
