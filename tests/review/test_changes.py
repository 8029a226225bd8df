"""What changed between two versions, from lineages with known differences."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from refit.dataset_card import About
from refit.registry.version import Version
from refit.review import changes
from refit.review.changes import Difference
from refit.review.stored import StoredVersion

LINEAGE: dict[str, Any] = {
    "commit": {"commit": "0" * 40, "parent": "0" * 40, "clean": True},
    "data": {"a/1.parquet": "x", "a/2.parquet": "y"},
    "params": {"dataset": "t", "train": {"epochs": 2, "seed": 1}},
    "packages": {"torch": "2.13.0", "numpy": "2.4.6"},
    "constraints": "c" * 64,
    "python": "3.11.7",
    "machine": {"processor": "P", "instructions": ["avx", "avx2"], "cores": 2},
    "determinism": {"level": "any-x86"},
}


def stored(number: int, **changed: Any) -> StoredVersion:
    version = Version(number=number, digest="d", run="r", created=0, tags={})
    return StoredVersion(
        version=version,
        decision=None,
        signature=None,
        lineage=LINEAGE | changed,
        metrics=None,
        slices=(),
        scored=None,
        validation={"a": {"rows": 10 * number}},
        about=About(),
        others=(),
        missing=(),
    )


def test_nothing_changed(tmp_path: Path) -> None:
    """Equal lineages have no differences; without Git the changed files are unknown."""
    result = changes.between(
        tmp_path, stored(1), replace(stored(2), validation=stored(1).validation)
    )
    assert result is not None
    kinds = (result.partitions, result.rows, result.params, result.packages, result.machine)
    assert not any(kinds)
    assert result.code.files is None


def test_each_kind_of_change_is_listed(tmp_path: Path) -> None:
    """Partitions added, removed and changed; rows, parameters, packages and machine by name."""
    new = stored(
        2,
        data={"a/2.parquet": "z", "a/3.parquet": "w"},
        params={"dataset": "t", "train": {"epochs": 3, "depth": 4}},
        packages={"torch": "2.14.0", "numpy": "2.4.6"},
        machine={"processor": "Q", "instructions": ["avx"], "cores": 2},
    )
    result = changes.between(tmp_path, stored(1), new)
    assert result is not None
    assert set(result.partitions) == {
        ("removed", "a/1.parquet"),
        ("changed", "a/2.parquet"),
        ("added", "a/3.parquet"),
    }
    assert result.rows == (Difference(name="a", before="10", after="20"),)
    assert set(result.params) == {
        Difference(name="train.epochs", before="2", after="3"),
        Difference(name="train.seed", before="1", after=""),
        Difference(name="train.depth", before="", after="4"),
    }
    assert result.packages == (Difference(name="torch", before="2.13.0", after="2.14.0"),)
    assert [row.name for row in result.machine] == ["processor", "instructions"]


def test_without_a_lineage_changes_are_unknown(tmp_path: Path) -> None:
    """A version whose lineage was deleted cannot be compared."""
    assert changes.between(tmp_path, replace(stored(1), lineage=None), stored(2)) is None


def git(root: Path, *words: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=n@localhost"]
    done = subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True)
    return done.stdout.decode().strip()


def test_commits_and_files_come_from_git(tmp_path: Path) -> None:
    """Subjects between the two, and files by what happened to them, without data and lock."""
    git(tmp_path, "init", "-q")
    commits = []
    for step, files in enumerate(({"old": "1", "same": "1"}, {"new é": "2", "dvc.lock": "2"})):
        for name, content in files.items():
            (tmp_path / name).write_text(content)
        if step:
            (tmp_path / "old").unlink()
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-qm", f"step {step}")
        commits.append(git(tmp_path, "rev-parse", "HEAD"))
    old, new = (
        stored(number, commit={"commit": commit, "parent": commit, "clean": True})
        for number, commit in enumerate(commits, start=1)
    )
    result = changes.between(tmp_path, old, new)
    assert result is not None
    assert result.code.files == (("added", "new é"), ("removed", "old"))
    assert result.code.commits == ((commits[1], "step 1"),)


@pytest.mark.parametrize("name", ["params.yaml", "data/raw.dvc", "dvc.lock", "constraints.txt"])
def test_files_with_their_own_rows_are_not_code(name: str) -> None:
    """Changes of these files are listed as parameters, packages or data."""
    assert Path(name).name in changes.LISTED_SEPARATELY
