"""A real Git and DVC repository for each test; its shell stages record when they ran.

The empty repository is made once and copied, because `dvc init` takes a second. DVC's state (the
hashes that it has computed) is in the test's folder too, so that nothing stays in /var/tmp.
"""

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from refit.pipeline.dvc import StageResult, open_pipeline

PATIENCE = 180.0
"""Seconds after which a test that waits fails."""

RUN = """\
import sys
from pathlib import Path
from refit.core.errors import PipelineError
from refit.pipeline.dvc import open_pipeline
try:
    with open_pipeline(Path.cwd(), wait=float(sys.argv[1])) as pipeline:
        for stage in pipeline.stages():
            print(stage, pipeline.run(stage, on_output=lambda _: None).outcome, flush=True)
except PipelineError as error:
    sys.exit(f"refit: {error}")
"""


@dataclass(frozen=True)
class Repository:
    """A Git and DVC repository, the processes started in it, and both doors."""

    root: Path
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self, name: str) -> str:
        return (self.root / name).read_text()

    def define(self, stages: str) -> None:
        self.write("dvc.yaml", stages)

    def params(self, a: int) -> None:
        self.write("params.yaml", f"a: {a}\n")

    def lock(self) -> bytes:
        return (self.root / "dvc.lock").read_bytes()

    def ran(self) -> list[str]:
        """The stages that ran since the last call, as they recorded it."""
        path = self.root / "ran"
        names = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return names

    def dvc(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(self.root / ".venv/bin/dvc"), *arguments],
            cwd=self.root,
            text=True,
            capture_output=True,
            check=check,
            timeout=PATIENCE,
        )

    def results(self, *, force: bool = False, wait: float = 5) -> list[StageResult]:
        """Every stage through the Python door, in this process."""
        with open_pipeline(self.root, wait=wait) as pipeline:
            return [
                pipeline.run(stage, on_output=lambda _: None, force=force)
                for stage in pipeline.stages()
            ]

    def run(self, *, force: bool = False, wait: float = 5) -> dict[str, str]:
        """The outcomes of `results` by stage."""
        return {r.stage: str(r.outcome) for r in self.results(force=force, wait=wait)}

    def through(self, door: str) -> None:
        """Bring every stage up to date through one of the doors."""
        if door == "refit":
            self.run()
        else:
            self.dvc("repro")

    def start(self, door: str, *, wait: float = PATIENCE) -> "subprocess.Popen[str]":
        """Start a process, in its own group, that runs every stage through one of the doors."""
        commands = {
            "refit": [str(self.root / ".venv/bin/python"), "-c", RUN, str(wait)],
            "dvc": [str(self.root / ".venv/bin/dvc"), "repro"],
        }
        process = subprocess.Popen(
            commands[door],
            cwd=self.root,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def await_file(self, name: str) -> None:
        """Wait until a stage has made the file."""
        await_true((self.root / name).exists, f"no {name}")


def await_true(condition: Callable[[], bool], message: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.005)


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with tracked rows and one parameter; to be copied."""
    root = tmp_path_factory.mktemp("empty")
    repository = Repository(root)
    (root / ".venv").symlink_to(sys.prefix)
    repository.write("data/rows/one.csv", "1\n")
    repository.write("data/rows/two.csv", "2\n")
    repository.params(1)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_NO_ANALYTICS", "1")
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("state")))
        repository.dvc("init", "-q")
        repository.dvc("config", "core.analytics", "false")
        repository.dvc("add", "-q", "data/rows")
    return root


@pytest.fixture(autouse=True)
def _state_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "state"))


@pytest.fixture
def make_repository(empty: Path, tmp_path: Path) -> Iterator[Callable[[str], Repository]]:
    """Makes fresh repositories by name; kills what a failed test left running in them."""
    made: list[Repository] = []

    def make(name: str) -> Repository:
        shutil.copytree(empty, tmp_path / name, symlinks=True)
        made.append(Repository(tmp_path / name))
        return made[-1]

    yield make
    for process in [process for repository in made for process in repository.started]:
        if process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                children = psutil.Process(process.pid).children(recursive=True)
                for each in [*children, process]:
                    each.kill()
        process.communicate()


@pytest.fixture
def repository(make_repository: Callable[[str], Repository]) -> Repository:
    """One fresh repository without stages."""
    return make_repository("repository")


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool], str], None]:
    """Waits until a condition is true, or fails with the given words."""
    return await_true
