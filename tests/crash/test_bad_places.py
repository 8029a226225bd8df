"""A full or read-only disk, a locked or unreachable database, a damaged cache.

Each gives one clear paragraph and no traceback. Once it is over, the next run works and leaves what
an undisturbed run leaves.
"""

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from picture import differences, picture

from refit.workspace import servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RUN = ("refit", "run", "--no-server")
HERE = {"PREFECT_SERVER_API_PORT": "0", "PYTHONDONTWRITEBYTECODE": "1"}
"""On a full disk Python leaves compiled files cut short, and cannot read them afterwards."""
TRACKED = {"run params", "run tags", "artifacts"}
"""What is missing in MLflow after a training that was not tracked."""


@dataclass(frozen=True)
class Place:
    """One folder to which a fresh project, or the project after a run, can be restored."""

    project: Any
    base: Path
    expected: dict[str, Any]

    def restore(self, state: str) -> Any:
        """Restore the project: `fresh` or `done`."""
        if self.project.root.exists():
            shutil.rmtree(self.project.root)
        shutil.copytree(self.base / state, self.project.root, symlinks=True)
        return self.project


@pytest.fixture(scope="module")
def place(
    new_project: Callable[[Path, str], Any], tmp_path_factory: pytest.TempPathFactory
) -> Place:
    base = tmp_path_factory.mktemp("bad")
    project = new_project(base / "pumps", "pumps")
    shutil.copytree(project.root, base / "fresh", symlinks=True)
    project.call(*RUN)
    shutil.copytree(project.root, base / "done", symlinks=True)
    return Place(project, base, picture(project.root))


def paragraph(project: Any, *command: str, **environment: str) -> str:
    """The paragraph on stderr of a command that must fail, after warnings."""
    done = call(project, *command, **environment)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    *warnings, error = done.stderr.strip().splitlines()
    assert not [line for line in warnings if "warning" not in line.lower()], done.stderr
    assert error.startswith("refit: "), done.stderr
    return error


def call(project: Any, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(project.root / ".venv/bin" / command[0]), *command[1:]],
        cwd=project.root,
        env=project.environment | HERE | environment,
        stdin=subprocess.DEVNULL,
        text=True,
        capture_output=True,
        check=False,
        timeout=240,
    )


def require_equal(place: Place, *, ignored: set[str] | None = None) -> None:
    """The next run works and leaves what an undisturbed run leaves."""
    done = call(place.project, *RUN)
    assert done.returncode == 0, done.stdout + done.stderr
    present = picture(place.project.root)
    expected = {k: value for k, value in place.expected.items() if k not in (ignored or set())}
    wrong = differences(expected, present)
    assert not wrong, "\n".join(wrong)


@contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[None]:
    """A mount over the folder within the block; skips the test where mounting is not allowed."""
    done = subprocess.run(
        ["mount", *arguments, str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@pytest.mark.parametrize("free", [60, 300, 500, 1700])
def test_a_full_disk_loses_nothing(place: Place, free: int) -> None:
    """Full in the first stage, a later one, at a checkpoint, in promotion: reported, then resumed."""
    root = place.project.root
    shutil.rmtree(root)
    root.mkdir()
    with mounted(root, "-t", "tmpfs", "-o", "size=64m", "none"):
        shutil.copytree(place.base / "fresh", root, symlinks=True, dirs_exist_ok=True)
        used = shutil.disk_usage(root).used // 1024
        remount(root, f"size={used + free}k")
        error = paragraph(place.project, *RUN, "--quiet")
        assert "No space left on device" in error or "disk is full" in error, error
        remount(root, "size=64m")
        require_equal(place, ignored=TRACKED)


@pytest.mark.parametrize(
    ("below", "command"),
    [("", RUN), ("", ("refit", "run")), ("", ("refit", "status")), ("data", RUN)],
)
def test_a_read_only_place_loses_nothing(
    place: Place, below: str, command: tuple[str, ...]
) -> None:
    """On a read-only disk the first file that cannot be written is named; later all works."""
    project = place.restore("done")
    project.change("validate", listed_examples=4)
    folder = project.root / below
    with mounted(folder, "--bind", str(folder)):
        remount(folder, "ro,bind")
        error = paragraph(project, *command)
        assert "Read-only file system" in error, error
        assert str(folder) in error, error
    project.change("validate", listed_examples=5)
    require_equal(place)


def test_a_locked_database_loses_nothing(place: Place) -> None:
    """While another process holds MLflow's database, training goes on and promotion fails."""
    project = place.restore("done")
    (project.root / "dvc.lock").unlink()
    shutil.rmtree(project.root / ".dvc/cache/runs")
    project.change("promote", confidence=0.9)
    with closing(sqlite3.connect(project.root / ".refit/mlflow.db")) as database:
        database.execute("begin exclusive")
        error = paragraph(project, *RUN, "--quiet")
    assert "MLflow cannot be reached" in error
    assert "database is locked" in error
    project.change("promote", confidence=0.95)
    require_equal(place)


def test_an_unreachable_server_loses_nothing(place: Place) -> None:
    """Without a server at MLflow's address all stages run with one warning, and promotion fails."""
    project = place.restore("fresh")
    address = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    done = call(project, *RUN, **address)
    assert done.stdout.count("warning: MLflow was lost") == 1
    error = paragraph(project, *RUN, **address)
    assert "http://127.0.0.1:9: MLflow cannot be reached" in error
    assert "Completed" not in call(project, *RUN, **address).stdout, "no stage runs again"
    require_equal(place, ignored=TRACKED)


def damage(root: Path, which: str) -> None:
    """Flip a byte of an object in DVC's cache; it keeps its name and write protection."""
    objects = root / ".dvc/cache/files/md5"

    def find(name: str) -> Path:
        return objects / name[:2] / name[2:]

    stages = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    found = {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
    path = find(found["data/validation.json" if which == "file" else "data/bundle"])
    if which == "file of a folder":
        (name,) = (e["md5"] for e in json.loads(path.read_text()) if e["relpath"] == "model.onnx")
        path = find(name)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)


@pytest.mark.parametrize("which", ["file", "folder", "file of a folder"])
def test_a_damaged_cache_is_rebuilt(place: Place, which: str) -> None:
    """An output whose cached object is damaged is computed again, and the cache is intact."""
    project = place.restore("done")
    damage(project.root, which)
    shutil.rmtree(project.root / "data/bundle")
    (project.root / "data/validation.json").unlink()
    done = project.call(*RUN, "--quiet")
    assert "Completed" in done.stdout
    assert which == "folder" or "were damaged" in done.stdout
    require_equal(place)
    shutil.rmtree(project.root / "data/bundle")
    (project.root / "data/validation.json").unlink()
    assert "Completed" not in project.call(*RUN, "--quiet").stdout
    require_equal(place)


def test_a_killed_server_is_reported(place: Place) -> None:
    """A run whose Prefect server is killed ends in seconds with a paragraph; the next run works."""
    project = place.restore("fresh")
    process = subprocess.Popen(
        [str(project.root / ".venv/bin/refit"), "run", "--quiet"],
        cwd=project.root,
        env=project.environment | {"PREFECT_SERVER_API_PORT": "0", "PYTHONUNBUFFERED": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        while "validate" not in (line := process.stdout.readline()):  # the flow is at work
            assert line
        psutil.Process(servers.running(project.root)["prefect"].pid).kill()
        error = process.communicate(timeout=180)[1]
    finally:
        process.kill()
        process.wait()
        servers.stop(project.root)
    assert process.returncode == 1
    assert error.startswith("refit: the Prefect server was lost while the run was at work.")
    assert len(error.strip().splitlines()) == 1
    require_equal(place)
