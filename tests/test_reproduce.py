"""Versions reproduced from their commit: the same bytes, or where and how they differ."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from refit.core import files
from refit.core.errors import PipelineError, RegistryError, SetupError
from refit.registry import resolve
from refit.registry.registry import Registry
from refit.registry.version import DIFFERS, GRADE, REPRODUCED, Version
from refit.reproducibility.checkout import recorded_outputs
from refit.reproducibility.grade import THREADS, best_grade, measured_grade
from refit.reproducibility.reproduce import reproduce
from refit.reproducibility.target import Target, find_target
from refit.workspace import git, machine

Make = Callable[[str], Any]
RANDOM = '    print(evaluation.summary(report))\n    files.write_text(paths.EVALUATION / "noise", str(id(report)))\n'
IDENTITY = ("-c", "user.name=x", "-c", "user.email=x@y")


def call_git(root: Path, *arguments: str) -> str:
    command = ["git", *IDENTITY, *arguments]
    done = subprocess.run(command, cwd=root, text=True, capture_output=True, check=True)
    return done.stdout.strip()


def copy(project: Any, target: Path) -> Any:
    """The project with all that it has computed, in a repository with one commit."""
    copied = project.copy(target)
    call_git(target, "add", "-A")
    call_git(target, "commit", "-q", "-m", "first")
    return copied


def find_version(root: Path, name: str) -> Version:
    return resolve.find(root, Registry.open(root), name)


@pytest.fixture(autouse=True)
def _own_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def project(projects: Make, tmp_path: Path) -> Any:
    """A project whose pipeline has run."""
    return copy(projects("pumps"), tmp_path / "pumps")


def picture(root: Path) -> dict[str, str]:
    """Every file of the workspace that belongs to neither Git, DVC's own state nor the registry."""
    left_out = {".git", ".venv", ".refit", "tmp"}
    paths = (p for p in root.rglob("*") if not left_out & set(p.relative_to(root).parts))
    return {str(p): files.digest(p) for p in paths if p.is_file() and "__pycache__" not in p.parts}


@pytest.mark.slow
@pytest.mark.heavy
def test_a_version_of_a_dirty_workspace_is_reproduced(project: Any) -> None:
    """Uncommitted code and parameters are kept in a commit, run again, and graded."""
    root = project.root
    project.change("network", dropout=0.1)
    with (root / "src/refit/training/loop.py").open("a") as handle:
        handle.write("# nobody committed this\n")
    head = call_git(root, "rev-parse", "HEAD")
    project.call("refit", "run", "--no-server", "-q")
    version = find_version(root, "@champion")
    lineage = Registry.open(root).artifacts.lineage(version)
    assert lineage["commit"]["parent"] == head != lineage["commit"]["commit"]
    assert version.tags["refit.commit"] == lineage["commit"]["commit"]
    assert "nobody committed this" in call_git(
        root, "show", f"{lineage['commit']['ref']}:src/refit/training/loop.py"
    )
    assert (
        call_git(root, "show", f"{lineage['commit']['commit']}:dvc.lock")
        == (root / "dvc.lock").read_text().strip()
    )
    assert lineage["params"]["network"]["dropout"] == 0.1
    assert lineage["data"]["readings/part-0.parquet"] == files.digest(
        root / "data/raw/readings/part-0.parquet"
    )
    assert lineage["seconds"].keys() >= {"train", "evaluate"}

    call_git(root, "checkout", "-q", "params.yaml", "src")
    before = picture(root)
    counts = [word for count in THREADS for word in ("--threads", str(count))]
    done = project.call("refit", "reproduce", "@champion", "-q", *counts)
    assert "the same bytes: all 8 outputs" in done.stdout
    assert "grade threads, with 1 and 2 and 4 threads" in done.stdout
    assert picture(root) == before
    assert call_git(root, "rev-parse", "HEAD") == head
    graded = find_version(root, "1")
    assert graded.tags[GRADE] == "threads"
    assert "at" in json.loads(graded.tags[f"{REPRODUCED}threads"])
    shown = project.call("refit", "lineage", "1").stdout
    assert "grade      threads" in shown
    assert not list((root / ".refit/reproduce").glob("*"))


def test_a_grade_is_what_was_measured() -> None:
    """One, two and four threads give `threads`; a processor of another maker gives any-x86."""
    here = machine.this()
    other = replace(here, vendor="another")
    assert measured_grade(None, here, ()) == "machine"
    assert measured_grade(here, here, (1, 2)) == "machine"
    assert measured_grade(here, here, (4, 2, 1)) == "threads"
    assert measured_grade(other, here, ()) == "any-x86"
    assert machine.parse(json.loads(json.dumps(asdict(here)))) == here


def test_the_best_grade_stays() -> None:
    """A lower grade never replaces a higher one, and an unknown word counts as none."""
    assert best_grade(["threads", ""]) == "threads"
    assert best_grade(["machine", "threads"]) == "threads"
    assert best_grade(["any-x86", "threads"]) == "any-x86"
    assert best_grade(["machine", "unknown"]) == "machine"
    assert best_grade(["unknown"]) is None


@pytest.mark.slow
@pytest.mark.heavy
def test_randomness_is_found_where_it_enters(project: Any) -> None:
    """A stage that is not deterministic is named with what differs, and its version is tagged."""
    root = project.root
    path = root / "src/refit/stages/evaluate.py"
    text = path.read_text()
    old = "    print(evaluation.summary(report))\n"
    assert old in text
    path.write_text(text.replace(old, RANDOM))
    project.call("refit", "run", "--no-server", "-q")
    done = project.call("refit", "reproduce", "1", "-q", check=False)
    assert done.returncode == 1
    assert "stage evaluate is the first that differs" in done.stdout
    assert "data/evaluation: noise: " in done.stdout
    version = find_version(root, "1")
    assert json.loads(version.tags[DIFFERS])["stage"] == "evaluate"
    assert GRADE not in version.tags

    project.call("dvc", "repro", "--force", "--single-item", "evaluate")
    refused = project.call("refit", "promote", check=False)
    assert refused.returncode == 1
    assert "evaluate: 2 results" in refused.stderr
    assert "evaluate: 2 different results" in project.call("refit", "status").stdout
    assert "evaluate: 2 different results" in project.call("refit", "doctor", check=False).stdout
    project.change("promote", accept_several_results=True)
    assert "Version 1" in project.call("refit", "promote").stdout


@pytest.mark.slow
@pytest.mark.heavy
def test_other_packages_are_refused(project: Any) -> None:
    """If a commit pins other packages, they are named before anything runs."""
    root = project.root
    pins = root / "constraints.txt"
    pins.write_text(pins.read_text().replace("numpy==", "numpy==0.") + "no-such-package==1\n")
    target = Target(commit=git.snapshot(root).commit, version=None, machine=None)
    with pytest.raises(
        SetupError, match=r"no-such-package is missing.*--own-environment"
    ) as caught:
        reproduce(root, target, lambda _: None)
    assert "numpy" in str(caught.value)


@pytest.mark.slow
@pytest.mark.heavy
def test_what_cannot_be_reproduced_is_an_error(project: Any) -> None:
    """An unknown version, alias or commit, lost data, and a commit without a result."""
    root = project.root
    registry = Registry.open(root)
    for name, message in (
        ("7", "version 7"),
        ("@gone", "alias @gone"),
        ("nowhere", "no version or commit"),
    ):
        with pytest.raises(RegistryError, match=message):
            find_target(root, registry, name)
    target = find_target(root, registry, "HEAD")
    shutil.rmtree(root / ".dvc/cache")
    with pytest.raises(
        PipelineError, match=r"raw data of commit .* is neither in the cache nor in a remote"
    ):
        reproduce(root, target, lambda _: None)
    (root / "dvc.lock").unlink()
    with pytest.raises(PipelineError, match="holds no result"):
        folder = root / "empty"
        folder.mkdir()
        shutil.copy(root / "dvc.yaml", folder)
        recorded_outputs(folder)


@pytest.mark.slow
@pytest.mark.heavy
def test_two_clones_share_everything_through_the_remotes(project: Any, tmp_path: Path) -> None:
    """What one clone computed and sent, another restores without computing, and reproduces."""
    root = project.root
    bare, store = tmp_path / "bare.git", tmp_path / "store"
    call_git(tmp_path, "init", "-q", "--bare", "-b", "main", str(bare))
    project.call("dvc", "remote", "add", "-d", "store", str(store))
    project.change("network", dropout=0.1)
    project.call("refit", "run", "--no-server", "-q")
    call_git(root, "checkout", "-q", "params.yaml")
    project.call("refit", "run", "--no-server", "-q")
    call_git(root, "add", "-A")
    call_git(root, "commit", "-q", "-m", "with a remote")
    call_git(root, "remote", "add", "origin", str(bare))
    call_git(root, "push", "-q", "origin", "HEAD:main")
    refs = git.kept(root)
    assert len(refs) == 2
    sent = project.call("refit", "push")
    assert "commits of versions sent: 2" in sent.stdout

    other = tmp_path / "other"
    call_git(tmp_path, "clone", "-q", "--no-local", str(bare), str(other))
    (other / ".venv").symlink_to(root / ".venv")
    second = type(project)(other)
    assert "commits of versions here: 2" in second.call("refit", "pull").stdout
    assert git.kept(other) == refs
    states = [
        line.split()[:2]
        for line in second.call("refit", "run", "--no-server", "-q").stdout.splitlines()
    ]
    assert [state for state, step in states if step != "promote"] == ["Restored"] * 5
    assert call_git(other, "status", "--porcelain") in {"", "?? .venv"}
    registry = Registry.open(other)
    assert registry.champion(registry.ledger.read()) is not None
    assert "the same bytes" in second.call("refit", "reproduce", "@champion", "-q").stdout
    assert find_target(other, registry, next(iter(refs))).commit in refs.values()
