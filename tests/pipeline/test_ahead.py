"""The second process of a run: what it takes, that it changes no result, and how it ends."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from refit.core import determinism
from refit.core.errors import PipelineError
from refit.pipeline import dvc_internals
from refit.pipeline.ahead import Plan, plan
from refit.pipeline.dvc import StageResult, open_pipeline
from refit.pipeline.stage_output import Outcome

Make = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
NEEDS = {
    "validate": set[str](),
    "prepare": {"validate"},
    "baseline": {"validate", "prepare"},
    "train": {"validate", "prepare"},
    "evaluate": {"validate", "prepare", "baseline", "train"},
}
STAGE = """\
import pathlib, sys, time
from refit.core.orphans import die_with_parent
die_with_parent()
name, path = sys.argv[1], pathlib.Path
with open("ran", "a") as ran:
    ran.write(name + " ")
path(name + ".begun").touch()
awaited = path(name + ".waits").read_text() if path(name + ".waits").exists() else ""
while awaited and not path(awaited).exists():
    time.sleep(0.005)
if path(name + ".fails").exists():
    sys.exit(3)
path(name + ".out").write_text(path("base.out").read_text())
"""
"""Waits for the file that NAME.waits names, and fails where there is NAME.fails."""
STAGES = """\
stages:
  base:
    cmd: echo base >> ran; cat data/rows/*.csv params.yaml > base.out; test ! -e base.fails
    deps: [data/rows]
    params: [a]
    outs: [base.out]
  left:
    cmd: exec .venv/bin/python stage.py left
    deps: [base.out]
    outs: [left.out]
  right:
    cmd: exec .venv/bin/python stage.py right
    deps: [base.out]
    outs: [right.out]
  top:
    cmd: echo top >> ran; cat left.out right.out > top.out
    deps: [left.out, right.out]
    outs: [top.out]
"""
RUN = """\
from pathlib import Path
from refit.pipeline.dvc import open_pipeline
with open_pipeline(Path.cwd()) as pipeline:
    pipeline.begin()
    for stage in pipeline.stages():
        pipeline.bring(stage, on_output=print)
"""


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(determinism, "cores", lambda: 2)


def bring(root: Path) -> list[StageResult]:
    """A run in this process with a second one."""
    with open_pipeline(root, wait=5) as pipeline:
        pipeline.begin()
        return [pipeline.bring(stage, on_output=lambda _: None) for stage in pipeline.stages()]


def others(root: Path) -> list[psutil.Process]:
    """The second processes and stages at work in the folder."""
    processes = []
    for process in psutil.process_iter(["cwd", "status"]):
        at_work = process.info["status"] != psutil.STATUS_ZOMBIE
        if at_work and process.info["cwd"] == str(root) and process.pid != os.getpid():
            processes.append(process)
    return processes


def is_second(process: psutil.Process) -> bool:
    return "refit.pipeline.ahead_worker" in process.cmdline()


@pytest.fixture
def make(make_repository: Callable[[str], Any]) -> Make:
    """Make a repository of STAGES, and say for which file `left` and `right` wait."""

    def made(name: str, **waits: str) -> Any:
        repository = make_repository(name)
        repository.define(STAGES)
        repository.write("stage.py", STAGE)
        for stage, file in waits.items():
            repository.write(f"{stage}.waits", file)
        return repository

    return made


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ((), Plan()),
        (("validate",), Plan(first=("validate", "prepare"), beside="train")),
        (("prepare",), Plan(first=("validate", "prepare"), beside="train")),
        (("baseline", "train"), Plan(first=("validate", "prepare"), beside="train")),
        (("train",), Plan()),
        (("evaluate",), Plan()),
    ],
)
def test_the_plan_holds_what_saves_time(changed: tuple[str, ...], expected: Plan) -> None:
    """Two stages that change side by side, and whatever comes before them."""
    assert plan(NEEDS, changed, kept=NEEDS) == expected


def test_a_stage_without_kept_results_is_not_computed_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is left to the run; so is every second stage where there is one core."""
    order = tuple(NEEDS)
    assert plan(NEEDS, order, kept=()) == Plan(first=order)
    monkeypatch.setattr(determinism, "cores", lambda: 1)
    assert plan(NEEDS, order, kept=NEEDS) == Plan(first=order)


def test_two_stages_work_side_by_side_and_leave_the_lock_of_dvc(make: Make) -> None:
    """Each waits for the other to begin; the results, dvc.lock and outcomes are those of a run."""
    repository = make("ahead", left="right.begun", right="left.begun")
    alone = make("alone", left="right.begun")
    results = bring(repository.root)
    assert [r.stage for r in results] == ["base", "left", "right", "top"]
    assert {r.outcome for r in results} == {Outcome.COMPLETED}
    assert {r.reason for r in results} == {"never ran here"}
    assert sorted(repository.ran()) == ["base", "left", "right", "top"]
    (alone.root / "right.begun").touch()
    alone.dvc("repro")
    assert repository.lock() == alone.lock()
    assert repository.read(".gitignore") == alone.read(".gitignore")
    assert {r.outcome for r in bring(repository.root)} == {Outcome.CACHED}
    assert "up to date" in repository.dvc("status").stdout
    repository.dvc("repro")
    assert not repository.ran()


def test_the_examples_train_is_computed_beside_its_baseline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As the README says of this project's own dvc.yaml."""
    monkeypatch.chdir(ROOT)
    with contextlib.closing(dvc_internals.open_repo(ROOT)) as repo:
        needs = dvc_internals.needs(repo)
        kept = {n.addressing for n in dvc_internals.nodes(repo) if dvc_internals.keeps_results(n)}
    expected = Plan(first=("validate", "preprocess"), beside="train")
    assert plan(needs, ["validate"], kept=kept) == expected


def test_the_memory_of_a_stage_follows_its_inputs(make: Make) -> None:
    """Also before DVC has seen them."""
    repository = make("memory")
    repository.write("base.out", "x" * 1000)
    with open_pipeline(repository.root, wait=5) as pipeline:
        assert pipeline.input_bytes("left") == 1000
        assert pipeline.input_bytes("base") == len("1\n2\n") + len("a: 1\n")


def test_a_result_that_dvc_has_is_restored_ahead(make: Make) -> None:
    """Deleted outputs come back without their stages, and with the stage where it is damaged."""
    repository = make("restored")
    bring(repository.root)
    repository.ran()
    (damaged,) = {
        path
        for path in (repository.root / ".dvc/cache/files").glob("*/*/*")
        if path.read_bytes() == repository.read("top.out").encode()
    }
    damaged.chmod(0o600)
    damaged.write_text("damaged")
    damaged.chmod(0o400)
    for name in ("base", "left", "right", "top"):
        (repository.root / f"{name}.out").unlink()
    outcomes = {r.stage: r.outcome for r in bring(repository.root)}
    restored = dict.fromkeys(("base", "left", "right"), Outcome.RESTORED)
    assert outcomes == restored | {"top": Outcome.COMPLETED}
    assert repository.ran() == ["top"]


@pytest.mark.parametrize(
    ("failing", "recorded"), [("base", set()), ("left", {"base"}), ("right", {"base", "left"})]
)
def test_a_failure_is_said_in_its_turn(make: Make, failing: str, recorded: set[str]) -> None:
    """Stages before it are recorded, none after it, and no process is left."""
    repository = make("failing", left="right.begun", right="never" if failing == "left" else "")
    (repository.root / f"{failing}.fails").touch()
    with pytest.raises(PipelineError, match=f"stage {failing} failed"):
        bring(repository.root)
    assert not others(repository.root)
    lock = repository.root / "dvc.lock"
    stages = set(yaml.safe_load(lock.read_text())["stages"]) if lock.exists() else set()
    assert stages == recorded
    (repository.root / f"{failing}.fails").unlink()
    (repository.root / "right.waits").unlink()
    bring(repository.root)
    assert repository.read("top.out")


def test_the_run_goes_on_alone_when_the_second_process_is_killed(make: Make) -> None:
    """Whatever it was at, the run does it."""
    repository = make("alone", left="right.begun", right="go")
    with open_pipeline(repository.root, wait=5) as pipeline:
        pipeline.begin()
        for stage in pipeline.stages():
            if stage == "right":
                (second,) = (each for each in others(repository.root) if is_second(each))
                second.kill()
                (repository.root / "go").touch()
            outcome = pipeline.bring(stage, on_output=lambda _: None).outcome
            assert outcome is Outcome.COMPLETED
    assert sorted(repository.ran()) == ["base", "left", "right", "right", "top"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_both_processes_and_their_stages_end_with_the_run(
    make: Make,
    wait_until: Callable[[Callable[[], bool], str], None],
    number: signal.Signals,
) -> None:
    """A kill leaves nothing at work, and the next run ends in the same lock."""
    repository, whole = make("killed", left="go", right="go"), make("whole")
    bring(whole.root)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN], cwd=repository.root, start_new_session=True
    )
    repository.await_file("left.begun")
    repository.await_file("right.begun")
    process.send_signal(number)
    process.wait()
    wait_until(lambda: not others(repository.root), "something outlived the run")
    (repository.root / "go").touch()
    bring(repository.root)
    assert repository.lock() == whole.lock()
