"""What a killed process left in DVC's rwlock is deleted; what a living one wrote is kept."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from refit.core.paths import CUT_LOCK as CUT
from refit.core.paths import RWLOCK
from refit.pipeline.recovery import clear_rwlock

STAGES = """\
stages:
  slow:
    cmd: touch started; for i in $(seq 9000); do [ -e go ] && break; sleep 0.02; done; touch out
    deps: [data/rows]
    outs: [out]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rwlock"


@pytest.fixture(scope="module")
def living() -> Iterator[dict[str, Any]]:
    """A process that lives while the tests run, as DVC records it."""
    arguments = ["-c", "import time; time.sleep(120)", "repro", "train"]
    process = subprocess.Popen([sys.executable, *arguments])
    while not psutil.Process(process.pid).cmdline():  # for a moment a new program has none
        time.sleep(0.001)
    yield {"pid": process.pid, "cmd": "/elsewhere/bin/dvc repro train"}
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def dead() -> dict[str, Any]:
    """A process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return {"pid": process.pid, "cmd": "dvc repro"}


def rwlock(*, write: dict[str, Any] | None = None, read: dict[str, Any] | None = None) -> str:
    return json.dumps({"write": write or {}, "read": read or {}})


@pytest.mark.parametrize(
    "text", ['{"write": {"/x": {"pid": 1, "c', "", "{", "[]", "null", '{"read": 3, "write": {}}']
)
def test_a_broken_file_is_deleted(path: Path, text: str) -> None:
    """A file that was cut short or has other content is deleted."""
    path.write_text(text)
    assert clear_rwlock(path)
    assert not path.exists()


@pytest.mark.parametrize("entry", [{"pid": "x", "cmd": "dvc repro"}, {"cmd": "dvc"}, {"pid": 0}])
def test_an_entry_without_a_process_is_deleted(path: Path, entry: dict[str, Any]) -> None:
    """An entry that names no process blocks no run."""
    path.write_text(rwlock(write={"/x": entry}))
    assert clear_rwlock(path)


def test_dead_processes_are_deleted(path: Path, dead: dict[str, Any]) -> None:
    """Entries of processes that have ended are deleted, of readers and of writers."""
    path.write_text(rwlock(write={"/x": dead}, read={"/y": [dead, dead]}))
    assert clear_rwlock(path)
    assert not path.exists()


def test_a_zombie_is_deleted(path: Path) -> None:
    """A zombie holds no lock, although it still has its process id."""
    process = subprocess.Popen([sys.executable, "-c", "", "repro"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    path.write_text(rwlock(write={"/x": {"pid": process.pid, "cmd": "dvc repro"}}))
    assert clear_rwlock(path)
    process.communicate()


def test_a_reused_process_id_is_deleted(path: Path, living: dict[str, Any]) -> None:
    """An id that another program or a later process has now names no holder."""
    path.write_text(rwlock(write={"/x": living | {"cmd": "dvc repro evaluate"}}))
    assert clear_rwlock(path)
    path.write_text(rwlock(write={"/x": living}))
    os.utime(path, (1, 1))
    assert clear_rwlock(path), "the process began long after the file was written"


def test_a_living_process_is_kept(path: Path, living: dict[str, Any], dead: dict[str, Any]) -> None:
    """A file that names a living process, reading or writing, stays as it is."""
    for text in (
        rwlock(write={"/x": living}),
        rwlock(read={"/x": [living]}),
        rwlock(write={"/x": dead}, read={"/y": [dead, living]}),
    ):
        path.write_text(text)
        assert not clear_rwlock(path), text
        assert path.read_text() == text


def test_no_file_and_an_idle_file_are_left_alone(path: Path) -> None:
    """Without a file, or with a file that names no process, nothing is deleted."""
    assert not clear_rwlock(path)
    path.write_text(rwlock())
    assert not clear_rwlock(path)
    assert path.exists()


def test_dvc_is_recognised_alive_and_dead(repository: Any) -> None:
    """The file of a real `dvc repro` is kept while it lives and deleted when it was killed."""
    repository.define(STAGES)
    path = repository.root / RWLOCK
    process = repository.start("dvc")
    repository.await_file("started")
    assert f'"pid": {process.pid}' in path.read_text()
    assert not clear_rwlock(path)
    process.kill()
    process.wait()
    repository.write("go", "")
    assert clear_rwlock(path)
    assert repository.run() == {"slow": "Completed"}


@pytest.mark.parametrize("door", ["refit", "dvc"])
def test_a_run_is_not_stopped_by_leftovers(repository: Any, door: str) -> None:
    """After a cut file or a reused id, one run of Refit lets both doors work."""
    repository.define(STAGES.replace("deps", "params: [a]\n    deps"))
    repository.write("go", "")
    reused = {"pid": os.getpid(), "cmd": "dvc repro"}
    texts = ('{"write": {', rwlock(write={str(repository.root / "out"): reused}))
    for value, text in enumerate(texts):
        repository.params(value)
        repository.write(str(RWLOCK), text)
        assert repository.run(wait=0) == {"slow": "Completed"}
        repository.params(value + 10)
        repository.through(door)


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize("until", [b"", b"th: data/rows"])
def test_a_cut_lock_is_repaired(
    repository: Any, capfd: pytest.CaptureFixture[str], until: bytes, *, committed: bool
) -> None:
    """A dvc.lock that was cut short is reported, kept and repaired; nothing runs twice."""
    repository.define(STAGES.replace("deps", "params: [a]\n    deps"))
    repository.write("go", "")
    repository.run()
    if committed:
        git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run([*git, "add", "dvc.lock"], cwd=repository.root, check=True)
        subprocess.run([*git, "commit", "-qm", "lock"], cwd=repository.root, check=True)
        repository.params(2)
        repository.run()
    whole = repository.lock()
    cut = whole[: whole.index(until)]
    (repository.root / "dvc.lock").write_bytes(cut)
    (repository.root / "started").unlink()
    assert repository.dvc("repro", check=False).returncode, "DVC alone cannot read it"
    assert repository.run() == {"slow": "Restored"}
    assert "a kill had cut dvc.lock short" in capfd.readouterr().err
    assert repository.lock() == whole
    assert (repository.root / CUT).read_bytes() == cut
    assert not (repository.root / "started").exists()
    assert "up to date" in repository.dvc("repro").stdout


@pytest.mark.parametrize("side", ["write", "read"])
def test_a_living_process_is_kept_beside_a_missing_key(
    path: Path, living: dict[str, Any], side: str
) -> None:
    """DVC leaves out a key that it has emptied; the processes under the other key count."""
    path.write_text(json.dumps({side: {"/x": living if side == "write" else [living]}}))
    assert not clear_rwlock(path)
