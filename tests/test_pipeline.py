"""One cache behind two doors, in real DVC repositories with stages small enough to see through."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from refit import leftovers
from refit.errors import PipelineError
from refit.pipeline import Outcome, open_pipeline

STAGES = """\
stages:
  first:
    cmd: echo out; echo err >&2; cat data/rows params.yaml > first.out
    deps: [data/rows]
    params: [a]
    outs: [first.out]
  second:
    cmd: exec .venv/bin/python slow.py
    deps: [first.out, slow.py]
    outs: [second.out]
"""
SLOW = """\
import sys, time
from refit.__main__ import die_with_parent
die_with_parent()
open("started", "a").write("x")
for name in ("second.out", "late"):
    time.sleep({seconds})
    open(name, "w").write(open("first.out").read() * 2)
"""
RUN = """\
import sys
from pathlib import Path
from refit.pipeline import open_pipeline
with open_pipeline(Path.cwd(), wait=float(sys.argv[1])) as pipeline:
    for stage in pipeline.stages():
        print(stage, pipeline.run(stage, on_output=print).outcome, flush=True)
"""


class Repository:
    """A Git and DVC repository."""

    def __init__(self, root: Path, seconds: float = 0.05) -> None:
        self.root = root
        (root / "data").mkdir(parents=True)
        (root / ".venv").symlink_to(sys.prefix)
        (root / "dvc.yaml").write_text(STAGES)
        (root / "slow.py").write_text(SLOW.format(seconds=seconds))
        (root / "data/rows").write_text("1\n")
        self.params(1)
        subprocess.run(["git", "init", "-q"], cwd=root, check=True)
        self.dvc("init", "-q")
        self.dvc("add", "-q", "data/rows")

    def params(self, a: int) -> None:
        (self.root / "params.yaml").write_text(f"a: {a}\n")

    def dvc(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.root / ".venv/bin/dvc"), *arguments],
            cwd=self.root,
            env={**os.environ, "DVC_NO_ANALYTICS": "1"},
            text=True,
            capture_output=True,
            check=check,
            timeout=60,
        )

    def start(self, wait: float = 30) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", RUN, str(wait)],
            cwd=self.root,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *, force: bool = False) -> dict[str, str]:
        with open_pipeline(self.root, wait=5) as pipeline:
            return {
                stage: str(pipeline.run(stage, on_output=lambda _: None, force=force).outcome)
                for stage in pipeline.stages()
            }

    def lock(self) -> bytes:
        return (self.root / "dvc.lock").read_bytes()

    def await_start(self, times: int = 1) -> None:
        started = self.root / "started"
        deadline = time.monotonic() + 20
        while not (started.exists() and len(started.read_text()) >= times):
            assert time.monotonic() < deadline, "the stage did not start"
            time.sleep(0.01)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


BOTH = {"first": "Cached", "second": "Cached"}


def test_both_doors_leave_the_same_lock_and_find_the_others_results(tmp_path: Path) -> None:
    """After one door the other has nothing to do, and dvc.lock has the same bytes."""
    one, two = Repository(tmp_path / "one"), Repository(tmp_path / "two")
    one.dvc("repro")
    assert two.run() == {"first": "Completed", "second": "Completed"}
    assert one.lock() == two.lock()
    assert one.run() == BOTH
    assert "Data and pipelines are up to date" in two.dvc("repro").stdout
    assert one.lock() == two.lock()


def test_a_deleted_output_and_an_earlier_parameter_are_restored(repository: Repository) -> None:
    """What DVC has in its cache is put back, not computed; reasons name what changed."""
    repository.run()
    kept = repository.lock()
    (repository.root / "second.out").unlink()
    assert repository.run() == {"first": "Cached", "second": "Restored"}
    repository.params(2)
    with open_pipeline(repository.root) as pipeline:
        assert pipeline.changes() == {"first": ("modified params.yaml: a",)}
        result = pipeline.run("first", on_output=lambda _: None)
        assert (result.outcome, result.reason) == (Outcome.COMPLETED, "modified params.yaml: a")
        pipeline.run("second", on_output=lambda _: None)
        assert not pipeline.changes()
    repository.params(1)
    assert repository.run() == {"first": "Restored", "second": "Restored"}
    assert repository.lock() == kept


def test_force_runs_what_is_cached(repository: Repository) -> None:
    """A forced run computes every stage and leaves the lock as it was."""
    repository.run()
    kept = repository.lock()
    assert repository.run(force=True) == {"first": "Completed", "second": "Completed"}
    assert repository.lock() == kept


def test_changed_tracked_data_is_noted_as_dvc_does(tmp_path: Path) -> None:
    """Changed rows rerun what depends on them, and the .dvc file follows, whichever the door."""
    files = []
    for name in ("one", "two"):
        repository = Repository(tmp_path / name)
        repository.run()
        (repository.root / "data/rows").write_text("2\n")
        if name == "one":
            repository.run()
        else:
            repository.dvc("repro")
        files.append((repository.lock(), (repository.root / "data/rows.dvc").read_bytes()))
    assert files[0] == files[1]


def test_output_arrives_line_by_line(repository: Repository) -> None:
    """What a stage prints on either stream is handed over."""
    lines: list[str] = []
    with open_pipeline(repository.root) as pipeline:
        pipeline.run("first", on_output=lines.append)
    assert lines == ["out", "err"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("echo noise; echo 'refit: the paragraph.' >&2; exit 1", "failed: the paragraph."),
        ("echo the last line; exit 3", "failed: the last line"),
        ("true", r"failed: .*first\.out.*does not exist"),
    ],
)
def test_a_failed_stage_says_why(repository: Repository, command: str, said: str) -> None:
    """The stage's own paragraph, else its last lines, else DVC's reason; then it can be mended."""
    good = (repository.root / "dvc.yaml").read_text()
    bad = good.replace(
        "echo out; echo err >&2; cat data/rows params.yaml > first.out", json.dumps(command)
    )
    (repository.root / "dvc.yaml").write_text(bad)
    with pytest.raises(PipelineError, match=said):
        repository.run()
    assert not (repository.root / "dvc.lock").exists()
    (repository.root / "dvc.yaml").write_text(good)
    assert repository.run() == {"first": "Completed", "second": "Completed"}


def test_two_runs_at_once(tmp_path: Path) -> None:
    """The second run is refused with the first one's number, or waits and finds all cached."""
    repository = Repository(tmp_path / "repository", seconds=1)
    first = repository.start()
    repository.await_start()
    with (
        pytest.raises(PipelineError, match=f"process {first.pid}"),
        open_pipeline(repository.root, wait=0),
    ):
        pass
    second = repository.start()
    assert second.communicate(timeout=60)[0].split() == [*["first", "Cached", "second", "Cached"]]
    assert "second Completed" in first.communicate(timeout=60)[0]


def test_a_dvc_repro_at_work_is_waited_for(tmp_path: Path) -> None:
    """While the other door is at work, a run waits; DVC in its turn refuses without harm."""
    repository = Repository(tmp_path / "repository", seconds=1)
    program = str(repository.root / ".venv/bin/dvc")
    other = subprocess.Popen([program, "repro"], cwd=repository.root, stdout=subprocess.DEVNULL)
    repository.await_start()
    with open_pipeline(repository.root, wait=30) as pipeline:
        result = pipeline.run("second", on_output=lambda _: None)
    assert other.wait(30) == 0
    assert result.outcome == Outcome.CACHED
    assert repository.run() == BOTH
    repository.params(7)
    ours = repository.start()
    repository.await_start(times=2)
    repository.dvc("repro", check=False)
    assert "second Completed" in ours.communicate(timeout=60)[0]
    assert repository.run() == BOTH


def kill_ours(repository: Repository) -> int:
    process = repository.start()
    repository.await_start()
    process.kill()
    return process.wait()


def kill_dvc(repository: Repository) -> int:
    program = str(repository.root / ".venv/bin/dvc")
    process = subprocess.Popen([program, "repro"], cwd=repository.root, stdout=subprocess.DEVNULL)
    repository.await_start()
    process.kill()
    return process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.1, 0.6])
@pytest.mark.parametrize("kill", [kill_ours, kill_dvc])
@pytest.mark.parametrize("door", ["ours", "dvc"])
def test_after_a_kill_the_next_run_just_works(
    tmp_path: Path, kill: Callable[[Repository], int], door: str, moment: float
) -> None:
    """Kill -9 in the middle of a stage: the stage dies as well, and either door goes on."""
    repository = Repository(tmp_path / "repository", seconds=0.4)
    original = Repository.await_start

    def later(self: Repository, times: int = 1) -> None:
        original(self, times)
        time.sleep(moment)

    Repository.await_start = later  # type: ignore[method-assign]
    try:
        assert kill(repository) == -signal.SIGKILL
    finally:
        Repository.await_start = original  # type: ignore[method-assign]
    late = repository.root / "late"
    had = late.exists()
    time.sleep(1)
    assert late.exists() == had, "the orphaned stage went on writing"
    if door == "ours":
        assert repository.run() == {"first": "Cached", "second": "Completed"}
    else:
        repository.dvc("repro")
    assert repository.run() == BOTH


def entry(pid: int, command: str) -> str:
    return json.dumps({"write": {"x": {"pid": pid, "cmd": command}}, "read": {}})


def test_leftovers_are_swept_only_when_dead(tmp_path: Path) -> None:
    """A cut file, a dead process and a reused number are swept; a living process is not."""
    path = tmp_path / "rwlock"
    assert not leftovers.clear_rwlock(path)
    dead = subprocess.Popen(["true"])
    dead.wait()
    for text in ('{"write": {', "[]", entry(dead.pid, "dvc repro"), entry(os.getpid(), "dvc x y")):
        path.write_text(text)
        assert leftovers.clear_rwlock(path), text
        assert not path.exists()
    living = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)", "repro"])
    try:
        path.write_text(entry(living.pid, "/somewhere/dvc repro"))
        assert not leftovers.clear_rwlock(path)
        os.utime(path, (1, 1))
        assert leftovers.clear_rwlock(path), "the process began after the file was written"
    finally:
        living.kill()
        living.wait()


def test_tracking_says_whether_it_changed(repository: Repository) -> None:
    """Adding the same file again is no change; adding another content is."""
    with open_pipeline(repository.root) as pipeline:
        assert not pipeline.track(repository.root / "data/rows")
        (repository.root / "data/rows").write_text("3\n")
        assert pipeline.track(repository.root / "data/rows")


@pytest.mark.parametrize(("missing", "said"), [(".git", "no Git"), (".dvc", "no DVC")])
def test_missing_repositories_are_said(repository: Repository, missing: str, said: str) -> None:
    """Without Git or DVC the error says which, and how to get it."""
    (repository.root / missing).rename(repository.root / "away")
    with pytest.raises(PipelineError, match=said), open_pipeline(repository.root):
        pass


def test_a_broken_definition_is_said(repository: Repository) -> None:
    """A dvc.yaml that cannot be read is one paragraph."""
    (repository.root / "dvc.yaml").write_text("stages: [")
    with pytest.raises(PipelineError, match=r"dvc\.yaml"):
        repository.run()


def test_ctrl_c_ends_run_and_stage(tmp_path: Path) -> None:
    """Ctrl-C, which a terminal sends to both, ends the run with 130's cause and the stage with it."""
    repository = Repository(tmp_path / "repository", seconds=3)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "5"],
        cwd=repository.root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    repository.await_start()
    os.killpg(process.pid, signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=10)[1]
    time.sleep(3.5)
    assert not (repository.root / "second.out").exists()
    (repository.root / "slow.py").write_text(SLOW.format(seconds=0.05))
    assert repository.run() == {"first": "Cached", "second": "Completed"}
