"""Two runs in one folder at the same time: one works, the other waits or fails; no file breaks."""

import re
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from refit.core.errors import PipelineError
from refit.pipeline.dvc import open_pipeline

# `slow` works until the test makes the file `go`, at most ten seconds.
STAGES = """\
stages:
  quick:
    cmd: echo quick >> ran; cat data/rows/*.csv params.yaml > quick.out
    deps: [data/rows]
    params: [a]
    outs: [quick.out]
  slow:
    cmd: >-
      echo slow >> ran; touch started;
      for i in $(seq 9000); do [ -e go ] && break; sleep 0.02; done;
      cat quick.out quick.out > slow.out
    deps: [quick.out]
    outs: [slow.out]
"""
CACHED = {"quick": "Cached", "slow": "Cached"}
BUSY = r"another run is at work in this folder\. Got process {pid}\."


@pytest.fixture
def slow(repository: Any) -> Any:
    repository.define(STAGES)
    return repository


@pytest.fixture
def undisturbed(make_repository: Callable[[str], Any]) -> bytes:
    """The dvc.lock of the same pipeline without a second run."""
    repository = make_repository("undisturbed")
    repository.define(STAGES)
    repository.write("go", "")
    repository.run()
    return bytes(repository.lock())


def end(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=180)
    return process.returncode, out, err


def test_the_second_run_fails_and_names_the_first(slow: Any, undisturbed: bytes) -> None:
    """Without a wait, or after it, the error names the process at work."""
    first = slow.start("refit")
    slow.await_file("started")
    code, out, err = end(slow.start("refit", wait=0))
    assert (code, out) == (1, "")
    assert re.search(BUSY.format(pid=first.pid), err), err
    started = time.monotonic()
    with (
        pytest.raises(PipelineError, match=BUSY.format(pid=first.pid)),
        open_pipeline(slow.root, wait=0.5),
    ):
        pass
    assert time.monotonic() - started >= 0.5
    slow.write("go", "")
    assert end(first) == (0, "quick Completed\nslow Completed\n", "")
    assert slow.lock() == undisturbed
    assert slow.run(wait=0) == CACHED


def test_the_second_run_waits_and_finds_everything_cached(slow: Any, undisturbed: bytes) -> None:
    """With a wait, the second run begins when the first has ended; nothing runs twice."""
    first = slow.start("refit")
    slow.await_file("started")
    second = slow.start("refit")
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(1.5)
    slow.write("go", "")
    assert end(first) == (0, "quick Completed\nslow Completed\n", "")
    assert end(second) == (0, "quick Cached\nslow Cached\n", "")
    assert slow.ran() == ["quick", "slow"]
    assert slow.lock() == undisturbed


def test_the_lock_is_free_after_an_error(slow: Any) -> None:
    """After a run that ended in an exception the next one starts immediately."""
    with pytest.raises(RuntimeError), open_pipeline(slow.root, wait=0):
        raise RuntimeError
    slow.write("go", "")
    assert slow.run(wait=0) == {"quick": "Completed", "slow": "Completed"}


def test_dvc_fails_while_a_run_is_at_work(slow: Any, undisturbed: bytes) -> None:
    """A `dvc repro` beside a run stops with DVC's message; the run and its lock are intact."""
    ours = slow.start("refit")
    slow.await_file("started")
    other = slow.dvc("repro", check=False)
    assert other.returncode != 0
    assert f"(PID {ours.pid})" in other.stderr
    slow.write("go", "")
    assert end(ours) == (0, "quick Completed\nslow Completed\n", "")
    assert slow.ran() == ["quick", "slow"]
    assert slow.lock() == undisturbed
    assert "up to date" in slow.dvc("repro").stdout


def test_a_run_waits_for_dvc_at_work(slow: Any, undisturbed: bytes) -> None:
    """A run beside `dvc repro` fails, or waits and finds everything cached."""
    other = slow.start("dvc")
    slow.await_file("started")
    with (
        open_pipeline(slow.root, wait=0) as pipeline,
        pytest.raises(PipelineError, match="another DVC process is at work in this folder"),
    ):
        pipeline.run("slow", on_output=print)
    ours = slow.start("refit")
    with pytest.raises(subprocess.TimeoutExpired):
        ours.wait(1.5)
    slow.write("go", "")
    assert end(other)[0] == 0
    assert end(ours) == (0, "quick Cached\nslow Cached\n", "")
    assert slow.ran() == ["quick", "slow"]
    assert slow.lock() == undisturbed


def test_the_error_names_the_dvc_process(slow: Any) -> None:
    """The error names the id of the DVC process that holds the lock."""
    other = slow.start("dvc")
    slow.await_file("started")
    with (
        open_pipeline(slow.root, wait=0) as pipeline,
        pytest.raises(PipelineError, match=str(other.pid)),
    ):
        pipeline.run("slow", on_output=print)


def test_many_runs_at_the_same_time_leave_one_intact_lock(slow: Any, undisturbed: bytes) -> None:
    """Three runs that start together succeed one after another, and each stage runs once."""
    slow.write("go", "")
    processes = [slow.start("refit") for _ in range(3)]
    ended = [end(process) for process in processes]
    assert [code for code, _, _ in ended] == [0, 0, 0], ended
    assert sorted(out for _, out, _ in ended) == [
        "quick Cached\nslow Cached\n",
        "quick Cached\nslow Cached\n",
        "quick Completed\nslow Completed\n",
    ]
    assert slow.ran() == ["quick", "slow"]
    assert slow.lock() == undisturbed
