"""Kill -9 at every boundary and at random moments: the end is that of an undisturbed run.

A round begins with a copy of a project that never ran, or of one with a champion and changed
parameters. It is started through a random door, killed, started again and killed again; the last
run is undisturbed. REFIT_KILLS is the number of kills (`make crash-test`: 200).
"""

import os
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from attempt import DOORS, Attempt, stop
from boundaries import STARTING, Boundary, Marks, boundaries
from picture import damaged, differences, picture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("REFIT_KILLS", "50"))
SEED = int(os.environ.get("REFIT_CRASH_SEED", "2013"))
RANDOM_KILLS = 5
"""In each round, in addition to those at boundaries."""
IGNORED = (ROOT / "data/.gitignore").read_text()
DRAWN_DOORS = ("dvc", "dvc", "plain", "plain", "flow")
"""The doors with their frequency; starting a server takes longer than everything else."""
CUT = "a kill had cut dvc.lock short"
CHANGES = {
    "validate": {"listed_examples": 4},
    "preprocess": {"quantiles": 41},
    "baseline": {"boosting_rounds": 15},
    "train": {"seed": 7},
    "network": {"epochs": 4},
    "evaluate": {"resamples": 120},
}
"""A change that makes every stage run again."""


@dataclass(frozen=True)
class Start:
    """A project at the start of a round, and its picture after an undisturbed run."""

    name: str
    folder: Path
    expected: dict[str, Any]


@dataclass
class Tally:
    """What was killed and where."""

    targets: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    stuck: Counter[str] = field(default_factory=Counter)
    """Messages of a `dvc repro` that needed a refit command to go on."""
    repaired: int = 0
    """Times that a refit command repaired a cut dvc.lock."""

    def add(self, target: str, place: str) -> None:
        self.targets[target] += 1
        self.places[place] += 1

    def kills(self) -> int:
        return self.targets.total()

    def text(self) -> str:
        lines = [f"{self.kills()} kills in {self.finished} rounds, seed {SEED}"]
        lines += [f"  {n:4} {name}" for name, n in sorted(self.targets.items())]
        lines += [f"  {n:4} {name}" for name, n in sorted(self.places.items())]
        lines += [f"  {self.repaired:4} times dvc.lock was cut short and repaired"]
        lines += [f"  {n:4} times stuck without refit: {text}" for text, n in self.stuck.items()]
        return "\n".join(lines)


@pytest.fixture(scope="module")
def starts(
    new_project: Callable[[Path, str], Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, list[Start]]]:
    """The project's one folder (paths are part of MLflow's state), and both beginnings of a round."""
    base = tmp_path_factory.mktemp("crash")
    project = new_project(base / "pumps", "pumps")
    # As in every clone. `dvc repro` removes what it has added to it when a later stage fails.
    (project.root / "data/.gitignore").write_text(IGNORED)
    fresh = base / "fresh"
    shutil.copytree(project.root, fresh, symlinks=True)
    finish(project, "dvc")
    first = Start("never ran", fresh, picture(project.root))
    for section, values in CHANGES.items():
        project.change(section, **values)
    champion = base / "champion"
    shutil.copytree(project.root, champion, symlinks=True)
    finish(project, "plain")
    yield project, [first, Start("has a champion", champion, picture(project.root))]
    stop(project.root)


def finish(project: Any, door: str) -> None:
    """Run undisturbed."""
    log = project.root / ".refit/crash.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w+") as output:
        status = Attempt(project, door, output).wait()
    assert status == 0, f"through {door}: {log.read_text()[-3000:]}"


def test_the_end_is_the_same_whatever_was_killed(
    starts: tuple[Any, list[Start]], capsys: pytest.CaptureFixture[str]
) -> None:
    """After kills of any process at any moment the next run ends like an undisturbed one."""
    project, folders = starts
    tally = Tally()
    number = 0
    while not enough(tally):
        assert number < KILLS, f"never reached: {missing(tally)}\n{tally.text()}"
        start = folders[number % 2]
        shutil.rmtree(project.root)
        shutil.copytree(start.folder, project.root, symlinks=True)
        Round(project, start, number, tally).run()
        number += 1
    with capsys.disabled():
        print(f"\n{tally.text()}")
    assert {name.split()[0] for name in tally.targets} == {"run", "stage", "server"}
    assert {name.split()[-1] for name in tally.targets} >= set(DOORS)


def missing(tally: Tally) -> list[str]:
    return [each.name for each in boundaries() if not tally.places[each.name]]


def enough(tally: Tally) -> bool:
    return tally.kills() >= KILLS and not missing(tally)


class Round:
    """Kills in one project according to a plan; then its picture must be the undisturbed one."""

    def __init__(self, project: Any, start: Start, number: int, tally: Tally) -> None:
        self.project, self.start, self.tally = project, start, tally
        self.draw = random.Random(f"{SEED}-{number}")
        self.name = f"seed {SEED}, round {number} ({start.name})"
        self.marks = Marks(project.root)
        self.plan = self.draw_plan()
        self.only: str | None = None
        self.kills: list[str] = []

    def draw_plan(self) -> list[Boundary | None]:
        """Every boundary and random moments (None) between them; later what was never reached."""
        if self.tally.kills() >= KILLS:
            return [each for each in boundaries() if each.name in missing(self.tally)]
        plan: list[Boundary | None] = list(boundaries())
        for _ in range(RANDOM_KILLS):
            plan.insert(self.draw.randrange(len(plan)), None)
        return plan

    def run(self) -> None:
        for place in self.plan:
            if enough(self.tally):
                break
            if place is None or not place.passed(self.project.root, self.marks):
                self.attempt(place)
        self.finish()
        stop(self.project.root)
        wrong = differences(self.start.expected, picture(self.project.root))
        assert not wrong, self.message("\n".join(wrong))
        assert not damaged(self.project.root), self.message("DVC's cache is damaged")
        self.tally.finished += 1

    def attempt(self, place: Boundary | None) -> None:
        """Start a run and kill it at the boundary, or at a random moment, unless it ends before."""
        door = self.draw.choice([d for d in DRAWN_DOORS if place is None or d in place.doors])
        if self.only and door != self.only:
            door = self.only if place is None or self.only in place.doors else self.unblocked(door)
        if place and place.name == STARTING:
            stop(self.project.root)
        log = self.project.root / ".refit/crash.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("w+") as output:
            attempt = Attempt(self.project, door, output)
            try:
                if self.await_moment(attempt, place):
                    self.kill(
                        attempt, self.target(place), place.name if place else "at a random moment"
                    )
            finally:
                if attempt.process.poll() is None:
                    attempt.kill()
            self.judge(attempt, log.read_text())

    def await_moment(self, attempt: Attempt, place: Boundary | None) -> bool:
        """Whether the moment came before the run was over."""
        marks = Marks(self.project.root)
        until = time.monotonic() + self.draw.uniform(0.1, 5)
        while not attempt.over():
            if place.reached(attempt, marks) if place else time.monotonic() > until:
                return True
            time.sleep(0.005)
        return False

    def target(self, place: Boundary | None) -> str:
        """A random target of the boundary; the first server to start is always the target."""
        if place and place.name == STARTING and not self.tally.targets["server through flow"]:
            return "server"
        return self.draw.choice(place.targets if place else ("run", "stage", "server"))

    def kill(self, attempt: Attempt, target: str, place: str) -> None:
        """Kill the target, or the run where the target is not running."""
        if target == "stage" and (stage := attempt.kill_stage()):
            self.tally.add(f"stage through {attempt.door}", place)
            self.kills.append(f"{stage} killed through {attempt.door}: {place}")
            attempt.wait()
        elif target == "server" and attempt.door == "flow" and attempt.kill_server():
            self.tally.add("server through flow", place)
            self.kills.append(f"server killed: {place}")
            time.sleep(self.draw.uniform(0, 2))
            if not attempt.over():
                self.kill(attempt, "run", "a moment after its server")
        elif attempt.process.poll() is None:
            attempt.kill()
            self.tally.add(f"run through {attempt.door}", place)
            self.kills.append(f"run killed through {attempt.door}: {place}")

    def judge(self, attempt: Attempt, text: str) -> None:
        """Killed, finished, failed because a part was killed, or stuck on a file that was cut short."""
        assert "Traceback" not in text, self.message(text)
        self.tally.repaired += CUT in text
        self.only = None
        status = attempt.process.returncode
        if status in {0, -9} or "SIGKILL" in text or "exited with -9" in text:
            return
        if "server" in text and attempt.door == "flow":
            return
        assert attempt.door == "dvc", self.message(text)
        cut = re.search(r"dvc\.lock' validation failed|dvc\.lock', YAML|RWLock", text)
        assert cut is not None, self.message(text)
        self.tally.stuck[cut[0]] += 1
        self.only = "plain"

    def finish(self) -> None:
        """The last, undisturbed run; where `dvc repro` is stuck on a cut file, through refit."""
        door = self.only or self.draw.choice(DRAWN_DOORS)
        log = self.project.root / ".refit/crash.log"
        with log.open("w+") as output:
            attempt = Attempt(self.project, door, output)
            attempt.wait()
        self.judge(attempt, log.read_text())
        if self.only:
            finish(self.project, self.only)
        else:
            assert attempt.process.returncode == 0, self.message(log.read_text())

    def unblocked(self, door: str) -> str:
        """The door, after `refit status` has repaired what stopped `dvc repro`."""
        warnings = self.project.call("refit", "status").stderr
        self.tally.repaired += CUT in warnings
        return door

    def message(self, text: str) -> str:
        kills = "\n".join(self.kills)
        return f"{self.name}\n{kills}\n{text[-6000:]}"
