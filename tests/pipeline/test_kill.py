"""Kill -9 in the middle of a stage: the stage dies too, and the next run works."""

import ctypes
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

WORK = """\
import os, pathlib, time
from refit.core.orphans import die_with_parent
{before}
die_with_parent()
def mark(name):
    pathlib.Path(name).touch()
    time.sleep({pause} if name != "{hold}" else 600)
pathlib.Path("pid").write_text(str(os.getpid()))
mark("begun")
text = pathlib.Path("first.out").read_text()
with open("second.out", "w") as out:
    out.write(text)
    out.flush()
    mark("half")
    out.write(text)
mark("whole")
pathlib.Path("late").touch()
with open("ran", "a") as ran:
    ran.write("second ")
"""
STAGES = """\
stages:
  first:
    cmd: echo first >> ran; cat data/rows/*.csv params.yaml > first.out
    deps: [data/rows]
    params: [a]
    outs: [first.out]
  second:
    cmd: exec .venv/bin/python -c "$(cat work.py)"
    deps: [first.out]
    outs: [second.out]
"""
UNTIL_THE_PARENT_DIES = """\
pathlib.Path("loading").touch()
parent = os.getppid()
while os.getppid() == parent:
    time.sleep(0.005)
"""
PR_SET_CHILD_SUBREAPER = 36


def define(repository: Any, *, pause: float = 0, hold: str = "", before: str = "") -> None:
    """The same stages and the same lock for any pause: work.py is not a dependency."""
    repository.define(STAGES)
    repository.write("work.py", WORK.format(pause=pause, hold=hold, before=before))


@pytest.fixture(scope="module")
def undisturbed() -> list[bytes]:
    """The dvc.lock of the first undisturbed run."""
    return []


def expected(make_repository: Callable[[str], Any], undisturbed: list[bytes]) -> bytes:
    if not undisturbed:
        repository = make_repository("undisturbed")
        define(repository)
        repository.run()
        undisturbed.append(repository.lock())
    return undisturbed[0]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("killed", "moment", "door"),
    [
        ("refit", "begun", "refit"),
        ("refit", "begun", "dvc"),
        ("refit", "half", "refit"),
        ("refit", "half", "dvc"),
        ("refit", "whole", "refit"),
        ("refit", "whole", "dvc"),
        ("dvc", "half", "refit"),
        ("dvc", "half", "dvc"),
    ],
)
def test_a_kill_ends_the_stage_and_the_next_run_works(
    make_repository: Callable[[str], Any],
    undisturbed: list[bytes],
    wait_until: Callable[[Callable[[], bool], str], None],
    killed: str,
    moment: str,
    door: str,
) -> None:
    """Only the parent is killed; its stage ends too, and either door finishes the work."""
    lock = expected(make_repository, undisturbed)
    repository = make_repository("repository")
    define(repository, hold=moment)
    process = repository.start(killed)
    repository.await_file(moment)
    stage = int(repository.read("pid"))
    assert psutil.Process(stage).ppid() == process.pid, "`exec` leaves no shell between the two"
    process.kill()
    assert process.wait() == -signal.SIGKILL
    wait_until(lambda: not alive(stage), "the stage outlived its parent")
    assert not (repository.root / "late").exists()
    assert b"second:" not in repository.lock()
    assert repository.ran() == ["first"]

    define(repository)
    repository.through(door)
    assert repository.ran() == ["second"], "a finished stage does not run again"
    assert repository.read("second.out") == "1\n2\na: 1\n" * 2
    assert repository.lock() == lock
    assert repository.run() == {"first": "Cached", "second": "Cached"}


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.02, 0.04])
def test_a_kill_while_the_result_is_recorded(
    make_repository: Callable[[str], Any], undisturbed: list[bytes], delay: float
) -> None:
    """After a kill just when the stage has ended, the result is in the lock or is made again."""
    lock = expected(make_repository, undisturbed)
    repository = make_repository("repository")
    define(repository)
    process = repository.start("refit")
    repository.await_file("late")
    time.sleep(delay)
    process.kill()
    process.wait()
    assert repository.run()["first"] == "Cached"
    assert repository.lock() == lock
    assert repository.run() == {"first": "Cached", "second": "Cached"}


@pytest.fixture
def foster(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which process adopts orphans: the first one, or this one, as in a container without init."""
    adopts = request.param == "this process"
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(adopts))
    yield request.param
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0)


@pytest.mark.parametrize(
    ("door", "rwlock", "foster"),
    [
        ("refit", "there", "the first process"),
        ("refit", "there", "this process"),
        ("dvc", "there", "the first process"),
        ("dvc", "there", "this process"),
        ("dvc", "deleted", "this process"),
    ],
    indirect=["foster"],
)
def test_a_kill_while_the_stage_is_still_loading(
    repository: Any,
    wait_until: Callable[[Callable[[], bool], str], None],
    door: str,
    rwlock: str,
    foster: str,
) -> None:
    """A stage whose parent was killed while Python was starting does no work."""
    define(repository, before=UNTIL_THE_PARENT_DIES)
    process = repository.start(door)
    repository.await_file("loading")
    (stage,) = psutil.Process(process.pid).children()
    process.kill()
    process.wait()
    if rwlock == "deleted":
        (repository.root / ".dvc/tmp/rwlock").unlink()
    wait_until(lambda: not alive(stage.pid), "the stage runs on")
    assert not (repository.root / "begun").exists(), "the orphan did its work"
    if foster == "this process":
        os.waitpid(stage.pid, 0)


def test_ctrl_c_ends_run_and_stage(
    repository: Any, wait_until: Callable[[Callable[[], bool], str], None]
) -> None:
    """Ctrl-C, which a terminal sends to both, ends the run and its stage; nothing is recorded."""
    define(repository, hold="half")
    process = repository.start("refit")
    repository.await_file("half")
    stage = int(repository.read("pid"))
    for number in (stage, process.pid):
        psutil.Process(number).send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=180)[1]
    wait_until(lambda: not alive(stage), "the stage outlived its run")
    assert not (repository.root / "late").exists()
    define(repository)
    assert repository.run() == {"first": "Cached", "second": "Completed"}


def test_a_signal_that_ends_the_wait_also_ends_the_stage(
    repository: Any, wait_until: Callable[[Callable[[], bool], str], None]
) -> None:
    """A signal handler that raises, like Prefect's when a run is cancelled, ends the stage by SIGTERM."""

    class CancelledError(BaseException):
        pass

    def cancel(*_: object) -> None:
        raise CancelledError

    def signal_at_half() -> None:
        repository.await_file("half")
        os.kill(os.getpid(), signal.SIGUSR1)

    define(repository, hold="half")
    before = signal.signal(signal.SIGUSR1, cancel)
    try:
        threading.Thread(target=signal_at_half).start()
        with pytest.raises(CancelledError):
            repository.run()
    finally:
        signal.signal(signal.SIGUSR1, before)
    wait_until(lambda: not alive(int(repository.read("pid"))), "the stage outlived the wait")
    assert not (repository.root / "late").exists()
    define(repository)
    assert repository.run() == {"first": "Cached", "second": "Completed"}


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["refit", "dvc"])
@pytest.mark.parametrize("seed", range(4))
def test_after_a_kill_at_any_moment_both_doors_work(
    make_repository: Callable[[str], Any], undisturbed: list[bytes], killed: str, seed: int
) -> None:
    """Kill -9 at a random moment, also at start and while locking; the result is the undisturbed one."""
    lock = expected(make_repository, undisturbed)
    moments = random.Random(f"{killed}{seed}")
    repository = make_repository("repository")
    define(repository, pause=0.1)
    for _ in range(3):
        process = repository.start(killed)
        time.sleep(moments.uniform(0.3, 2.0))
        process.kill()
        process.wait()
    define(repository)
    # A `dvc repro` that was killed while it wrote its files needs the other door to repair them.
    repository.run()
    assert repository.read("second.out") == "1\n2\na: 1\n" * 2
    assert repository.lock() == lock
    assert "up to date" in repository.dvc("repro").stdout
