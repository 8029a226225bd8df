"""The remembered answer that nothing has changed holds exactly as long as nothing has."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from refit.core import paths
from refit.pipeline.dvc import open_pipeline
from refit.pipeline.stage_output import Outcome
from refit.workflow import unchanged
from refit.workflow.step_result import StepResult

LINE = """\
stages:
  first:
    cmd: cat data/rows/*.csv params.yaml > first.out; mkdir -p folder; cp code.py folder/copy
    deps: [data/rows, code.py]
    params: [a]
    outs: [first.out, folder]
"""
LOOKED_AT = {
    "params.yaml",
    "code.py",
    "data/rows",
    "data/rows.dvc",
    "first.out",
    "folder",
    "dvc.yaml",
    "dvc.lock",
    ".dvc/config",
    ".dvc/config.local",
    ".dvcignore",
    ".dvc/cache/runs",
}
RESULT = StepResult(
    name="first", outcome=Outcome.CACHED, reason="as before", seconds=0.5, waiting=3, ask="answer"
)
CHANGES: dict[str, Callable[[Path], object]] = {
    "a file of the same size": lambda root: (root / "file").write_text("b"),
    "a longer file": lambda root: (root / "file").write_text("aa"),
    "a deleted file": lambda root: (root / "file").unlink(),
    "a replaced file": lambda root: Path(shutil.copy2(root / "file", root / "n")).replace(
        root / "file"
    ),
    "a file that appears": lambda root: (root / "absent").touch(),
    "a file below": lambda root: (root / "folder/below/file").write_text("b"),
    "a new file below": lambda root: (root / "folder/below/more").touch(),
    "a deleted folder": lambda root: shutil.rmtree(root / "folder"),
    "the registry": lambda root: (root / paths.MLFLOW).write_text("b"),
    "a DVC process at work": lambda root: (root / paths.RWLOCK).write_text('{"write": {"x": {}}}'),
    "a cut memory": lambda root: (root / paths.UNCHANGED).write_text('{"seen": {"pa'),
}


@pytest.fixture
def settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files are old enough, with the answer remembered."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in ("file", "folder/below/file", paths.MLFLOW, paths.RWLOCK):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    time.sleep(unchanged.YOUNG + 0.1)
    remember(tmp_path)
    assert unchanged.recall(tmp_path)
    return tmp_path


def remember(root: Path) -> None:
    seen = unchanged.look(root, [root / "file", root / "folder", root / "absent"])
    unchanged.remember(root, seen, (RESULT,))


def test_dvc_names_what_it_looks_at(repository: Any) -> None:
    """Dependencies, outputs, parameters, tracked data, definitions, settings and the run cache."""
    repository.define(LINE)
    repository.write("code.py", "code = 1\n")
    with open_pipeline(repository.root) as pipeline:
        assert {str(p.relative_to(repository.root)) for p in pipeline.looked_at()} == LOOKED_AT


def test_the_answer_is_recalled_without_dvc(settled: Path) -> None:
    """The results come back in a process that never imports DVC."""
    (recalled,) = unchanged.recall(settled)
    assert (recalled.reason, recalled.waiting, recalled.ask) == ("as before", 3, "answer")
    assert recalled.outcome is Outcome.CACHED
    program = (
        "import sys; from pathlib import Path; from refit.workflow import unchanged;"
        "print(len(unchanged.recall(Path.cwd())), 'dvc' in sys.modules, 'polars' in sys.modules)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=settled, text=True, capture_output=True, check=True
    ).stdout
    assert printed.split() == ["1", "False", "False"]


@pytest.mark.parametrize("what", CHANGES)
def test_after_a_change_it_is_asked_again(settled: Path, what: str) -> None:
    """Whatever DVC or the registry would look at makes the answer be found out again."""
    CHANGES[what](settled)
    assert unchanged.recall(settled) == ()


def test_another_registry_or_an_old_answer_is_asked_again(
    settled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of MLflow belongs to the answer, and it is an hour old at most."""
    with monkeypatch.context() as patched:
        patched.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
        assert unchanged.recall(settled) == ()
    path = settled / paths.UNCHANGED
    entry = json.loads(path.read_bytes())
    path.write_text(json.dumps(entry | {"at": entry["at"] - unchanged.OLD}))
    assert unchanged.recall(settled) == ()


def test_with_a_shared_registry_nothing_is_remembered(
    settled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine may decide there, and no file of this one shows it."""
    (settled / paths.UNCHANGED).unlink()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    remember(settled)
    assert not (settled / paths.UNCHANGED).exists()


def test_a_young_file_is_not_trusted(settled: Path) -> None:
    """A file that has just changed could change again within the same tick of its clock."""
    os.utime(settled / "file")
    remember(settled)
    assert unchanged.recall(settled) == ()


def test_what_changed_meanwhile_is_not_remembered(settled: Path) -> None:
    """Files that change while DVC is asked are not what the answer is about."""
    seen = unchanged.look(settled, [settled / "file"])
    (settled / "file").write_text("b")
    time.sleep(unchanged.YOUNG + 0.1)
    unchanged.remember(settled, seen, (RESULT,))
    assert unchanged.recall(settled) == ()
