"""DVC's locks held by another process, and its files complete at every moment."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from refit.core.errors import PipelineError
from refit.core.paths import RWLOCK
from refit.pipeline.dvc import open_pipeline
from refit.workspace.lock import only_one

STAGES = """\
stages:
  only:
    cmd: cat data/rows/* > out
    deps: [data/rows]
    outs: [out]
"""
HOLD = """\
import sys, time, zc.lockfile
lock = zc.lockfile.LockFile(sys.argv[1])
print("held", flush=True)
time.sleep(600)
"""
HOLD_OURS = """\
import sys, time
from pathlib import Path
from refit.workspace.lock import only_one
with only_one(Path(sys.argv[1]), wait=0):
    print("held", flush=True)
    time.sleep(600)
"""
WATCH = """\
least = None
print("watching", flush=True)
while not open("stop").read():
    size = len(open("dvc.lock").read())
    least = size if least is None else min(least, size)
print(least)
"""


@contextlib.contextmanager
def program(repository: Any, code: str, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
    """A Python program at work in the repository once it has printed a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=repository.root,
        text=True,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_run_waits_for_dvc_no_longer_than_asked(repository: Any) -> None:
    """While a DVC process holds its lock, a run fails in time, and works afterwards."""
    repository.define(STAGES)
    with (
        program(repository, HOLD, str(repository.root / ".dvc/tmp/lock")),
        pytest.raises(PipelineError, match="another DVC process is at work"),
        open_pipeline(repository.root, wait=0.5) as pipeline,
    ):
        pipeline.changes()
    assert repository.run() == {"only": "Completed"}


def test_a_file_that_dvc_is_writing_is_not_deleted(repository: Any) -> None:
    """A cut rwlock is deleted only under the lock that guards it; a writer keeps its file."""
    repository.define(STAGES)
    repository.write(str(RWLOCK), '{"write": {')
    with (
        program(repository, HOLD, str(repository.root / ".dvc/tmp/rwlock.lock")),
        pytest.raises(PipelineError, match="another DVC process is at work"),
        open_pipeline(repository.root, wait=0),
    ):
        pass
    assert repository.read(str(RWLOCK)) == '{"write": {'
    assert repository.run() == {"only": "Completed"}


def test_dvc_lock_is_complete_at_every_moment(repository: Any) -> None:
    """A reader (or the run after a kill) finds the old dvc.lock or the new one, never a part."""
    names = [f"data/more/{number}" for number in range(150)]
    repository.define(STAGES.replace("data/rows]", f"{', '.join(names)}]"))
    for name in names:
        repository.write(name, name)
    repository.run()
    whole = len(repository.lock())
    repository.write("stop", "")
    with program(repository, WATCH) as watcher:
        for _ in range(4):
            repository.run(force=True)
        repository.write("stop", "now")
        assert watcher.communicate(timeout=180)[0] == f"{whole}\n"
    assert not list((repository.root / ".dvc/tmp").glob("*.part"))


def test_a_lock_names_its_holder_and_is_free_after_a_kill(repository: Any) -> None:
    """Refit's lock names the process that holds it; the kernel frees it when that is killed."""
    path = repository.root / "folder/lock"
    with program(repository, HOLD_OURS, str(path)) as holder:
        started = time.monotonic()
        with (
            pytest.raises(PipelineError, match=rf"it is busy\. Got process {holder.pid}\."),
            only_one(path, 0.4, poll=0.1, busy="it is busy"),
        ):
            pass
        assert time.monotonic() - started >= 0.4
        holder.kill()
        holder.wait()
        with only_one(path, 0):
            assert path.read_text() == str(os.getpid())
    with only_one(path, 0):
        pass
