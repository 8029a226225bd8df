"""The real stage, stopped by signals and killed, ends in the bytes of an uninterrupted run."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from refit.core.files import digest
from refit.tracking.client import connect
from refit.training import checkpoint, stop_signals

STEPS = 900
"""Steps of an epoch, which lasts half a second, so that a signal arrives within it."""


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.split(".")[0].removeprefix("step-"))


@dataclass(frozen=True)
class Stage:
    """The stage `train` of a project with long epochs and many checkpoints."""

    project: Any

    def model(self) -> str:
        return digest(self.project.root / "data/model")

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "refit", "train"],
            cwd=self.project.root,
            env=self.project.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def stop(self, number: signal.Signals, seconds: float) -> tuple[int, str, str]:
        """Start, send the signal `seconds` after the first line; returns status, line, stderr."""
        process = self.start()
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        time.sleep(seconds)
        process.send_signal(number)
        _, errors = process.communicate(timeout=240)
        return process.returncode, line, errors

    def kill(self, step: int, seconds: float) -> None:
        """Start, and kill -9 `seconds` after the checkpoint of that step or a later one."""
        process = self.start()
        while process.poll() is None and self.reached() < step:
            time.sleep(0.005)
        time.sleep(seconds)
        process.kill()
        process.communicate(timeout=240)
        assert process.returncode == -signal.SIGKILL

    def finish(self) -> str:
        """Run to the end; returns the output."""
        process = self.start()
        out, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
        return out

    def checkpoints(self) -> list[Path]:
        return sorted(self.project.root.glob(".refit/checkpoints/*/step-*"))

    def reached(self) -> int:
        """The step of the newest checkpoint."""
        return max((step_of(path) for path in self.checkpoints()), default=0)

    def runs(self) -> list[tuple[str, str]]:
        """Learning rate and state of each MLflow run."""
        client = connect(self.project.root)
        names = [e.experiment_id for e in client.search_experiments() if e.name == "pumps"]
        runs = client.search_runs(names)
        return sorted((run.data.params["learning_rate"], run.info.status) for run in runs)


@pytest.fixture(scope="module")
def uninterrupted(projects: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Stage, str]:
    """The stage after a run to its end, and the digest of its model."""
    copy = projects("pumps").copy(tmp_path_factory.mktemp("resume") / "pumps")
    copy.change(
        "network",
        batch_size=2,
        epochs=6,
        patience=6,
        dropout=0.2,
        hidden_width=32,
        learning_rate=0.002,
    )
    code = copy.root / "src/refit/training/loop.py"
    code.write_text(
        code.read_text().replace("CHECKPOINT_SECONDS = 30.0", "CHECKPOINT_SECONDS = 0.1")
    )
    stage = Stage(copy)
    assert "continuing from" not in stage.finish()
    return stage, stage.model()


@pytest.fixture
def stage(uninterrupted: tuple[Stage, str]) -> Stage:
    """The stage without its model and without checkpoints."""
    finished, _ = uninterrupted
    shutil.rmtree(finished.project.root / "data/model")
    shutil.rmtree(finished.project.root / ".refit/checkpoints", ignore_errors=True)
    return finished


@pytest.fixture
def expected(uninterrupted: tuple[Stage, str]) -> str:
    """The digest of the model that an uninterrupted run leaves."""
    return uninterrupted[1]


@pytest.mark.slow
def test_a_stopped_stage_resumes_to_the_same_bytes(stage: Stage, expected: str) -> None:
    """SIGTERM leaves a checkpoint that only the same computation continues from."""
    status, _, errors = stage.stop(signal.SIGTERM, 0.1)
    assert status == 143
    message = r"refit: training was stopped by SIGTERM; the next run continues from step ([\d,]+)\n"
    match = re.fullmatch(message, errors)
    assert match, errors
    step = int(match[1].replace(",", ""))
    assert step % STEPS
    assert stage.reached() == step
    assert stage.runs() == [("0.002", "KILLED")]

    stage.project.change("network", learning_rate=0.003)
    status, line, errors = stage.stop(signal.SIGINT, 0)
    assert status == 130
    assert line.startswith("epoch 1/")
    assert "stopped by SIGINT" in errors

    stage.project.change("network", learning_rate=0.002)
    assert stage.finish().startswith(f"continuing from step {step:,}\n")
    assert stage.model() == expected
    assert stage.runs() == [("0.002", "FINISHED"), ("0.003", "KILLED")]


@pytest.mark.slow
def test_a_killed_stage_resumes_to_the_same_bytes(stage: Stage, expected: str) -> None:
    """Kill -9 at any moment and a truncated checkpoint lead to the same weights, one MLflow run."""
    moments = random.Random(5)
    for step in (moments.randrange(1, 2000), moments.randrange(2500, 4000)):
        stage.kill(step, moments.uniform(0, 0.05))
    before, newest = stage.checkpoints()
    newest.write_bytes(newest.read_bytes()[:1000])
    assert stage.finish().startswith(f"continuing from step {step_of(before):,}\n")
    assert stage.model() == expected
    assert not stage.checkpoints()
    assert stage.runs().count(("0.002", "FINISHED")) == 1


def test_folders_of_abandoned_keys_are_bounded(tmp_path: Path) -> None:
    """The folders of three keys are kept: the one in use, however old, and the newest others."""
    for age, key in enumerate("abcdef"):
        (tmp_path / key).mkdir()
        (tmp_path / key / "step").touch()
        os.utime(tmp_path / key, (1000 - age, 1000 - age))
    checkpoint.sweep(tmp_path / "e")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "e"}
    checkpoint.sweep(tmp_path / "new")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}
    checkpoint.sweep(tmp_path / "none" / "yet")


@pytest.fixture
def heard() -> Any:
    """The signals that reach the previous handlers, which are restored afterwards."""
    numbers: list[int] = []
    before = {n: signal.signal(n, lambda n, _: numbers.append(n)) for n in stop_signals.STOPPING}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", stop_signals.STOPPING)
def test_a_noted_signal_is_polled(heard: list[int], number: signal.Signals) -> None:
    """Within the block a signal is only reported by `stop`; the handler is restored after it."""
    before = signal.getsignal(number)
    with pytest.raises(ZeroDivisionError), stop_signals.noted() as stop:
        assert stop() is None
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGTERM)
        assert stop() is number
        raise ZeroDivisionError
    assert signal.getsignal(number) is before
    assert heard == []


def test_a_signal_without_a_reaction_takes_its_usual_effect(heard: list[int]) -> None:
    """A signal that arrives too late for the block is raised again after it."""
    with stop_signals.noted():
        signal.raise_signal(signal.SIGINT)
    assert heard == [signal.SIGINT]


def test_an_ignored_signal_stays_ignored(heard: list[int]) -> None:
    """A program started with SIGINT ignored (nohup, a shell's `&`) is not stopped by it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stop_signals.noted() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop() is None


def test_only_the_main_thread_sets_handlers(heard: list[int]) -> None:
    """In another thread, where Python allows no handlers, nothing is noted and nothing fails."""
    before = signal.getsignal(signal.SIGTERM)
    seen: list[Callable[..., Any] | int | None] = []

    def work() -> None:
        with stop_signals.noted() as stop:
            seen.extend((signal.getsignal(signal.SIGTERM), stop()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before, None]
