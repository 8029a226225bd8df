"""Kill -9 at every boundary and at random moments: the end is that of an undisturbed run.

A round begins with a copy of a project that never ran, or of one that has a champion and changed
parameters; it is started through a door drawn at random, killed, started again, killed again, and
at last left alone. REFIT_KILLS says how many kills there are (`make crash-test`: 200).
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
from picture import differences, picture, unsound

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("REFIT_KILLS", "50"))
SEED = int(os.environ.get("REFIT_CRASH_SEED", "2013"))
RANDOM_KILLS = 5
"""In each round, beside those at boundaries."""
IGNORED = (ROOT / "data/.gitignore").read_text()
OFTEN = ("dvc", "dvc", "plain", "plain", "flow")
"""How often each door is drawn: starting a server takes longer than all the rest."""
CUT = "a kill had cut dvc.lock short"
CHANGES = {
    "validate": {"listed_examples": 4},
    "preprocess": {"quantiles": 41},
    "baseline": {"boosting_rounds": 15},
    "train": {"seed": 7, "epochs": 4},
    "evaluate": {"resamples": 120},
}
"""Something for every stage to do again."""


@dataclass(frozen=True)
class Beginning:
    """A project's folder as a round finds it, and what an undisturbed run makes of it."""

    name: str
    folder: Path
    expected: dict[str, Any]


@dataclass
class Tally:
    """What was killed, and where."""

    targets: Counter[str] = field(default_factory=Counter)
    places: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    stuck: Counter[str] = field(default_factory=Counter)
    """What `dvc repro` said when it could not go on without a refit command."""
    mended: int = 0
    """Times that a refit command put a cut dvc.lock right."""

    def add(self, target: str, place: str) -> None:
        self.targets[target] += 1
        self.places[place] += 1

    def kills(self) -> int:
        return self.targets.total()

    def text(self) -> str:
        lines = [f"{self.kills()} kills in {self.finished} rounds, seed {SEED}"]
        lines += [f"  {n:4} {name}" for name, n in sorted(self.targets.items())]
        lines += [f"  {n:4} {name}" for name, n in sorted(self.places.items())]
        lines += [f"  {self.mended:4} times dvc.lock was cut short, and mended"]
        lines += [f"  {n:4} times stuck without refit: {said}" for said, n in self.stuck.items()]
        return "\n".join(lines)


@pytest.fixture(scope="module")
def beginnings(
    new_project: Callable[[Path, str], Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, list[Beginning]]]:
    """The project's one folder (paths are part of MLflow's state), and both beginnings of a round."""
    base = tmp_path_factory.mktemp("crash")
    project = new_project(base / "pumps", "pumps")
    # As in every clone. DVC's own door takes back what it has added to it when a later stage fails.
    (project.root / "data/.gitignore").write_text(IGNORED)
    fresh = base / "fresh"
    shutil.copytree(project.root, fresh, symlinks=True)
    finish(project, "dvc")
    first = Beginning("never ran", fresh, picture(project.root))
    for section, values in CHANGES.items():
        project.change(section, **values)
    reigning = base / "reigning"
    shutil.copytree(project.root, reigning, symlinks=True)
    finish(project, "plain")
    yield project, [first, Beginning("has a champion", reigning, picture(project.root))]
    stop(project.root)


def finish(project: Any, door: str) -> None:
    """An undisturbed run."""
    log = project.root / ".refit/crash.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w+") as output:
        status = Attempt(project, door, output).wait()
    assert status == 0, f"through {door}: {log.read_text()[-3000:]}"


def test_the_end_is_the_same_whatever_was_killed(
    beginnings: tuple[Any, list[Beginning]], capsys: pytest.CaptureFixture[str]
) -> None:
    """After kills of any process at any moment the next run needs no hand and ends as unbroken."""
    project, starts = beginnings
    tally = Tally()
    number = 0
    while not enough(tally):
        assert number < KILLS, f"never reached: {missing(tally)}\n{tally.text()}"
        start = starts[number % 2]
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
    """Kills in one project until its plan is through; then it must be as the undisturbed one."""

    def __init__(self, project: Any, start: Beginning, number: int, tally: Tally) -> None:
        self.project, self.start, self.tally = project, start, tally
        self.draw = random.Random(f"{SEED}-{number}")
        self.name = f"seed {SEED}, round {number} ({start.name})"
        self.began = Marks(project.root)
        self.plan = self.draw_plan()
        self.only: str | None = None
        self.told: list[str] = []

    def draw_plan(self) -> list[Boundary | None]:
        """Every boundary, with random moments (None) between; at last what was never reached."""
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
            if place is None or not place.passed(self.project.root, self.began):
                self.attempt(place)
        self.leave_alone()
        stop(self.project.root)
        wrong = differences(self.start.expected, picture(self.project.root))
        assert not wrong, self.message("\n".join(wrong))
        assert not unsound(self.project.root), self.message("DVC's cache is damaged")
        self.tally.finished += 1

    def attempt(self, place: Boundary | None) -> None:
        """Start a run and kill it at the place, or at a random moment, unless it ends before."""
        door = self.draw.choice([d for d in OFTEN if place is None or d in place.doors])
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
        """One of the place's, drawn; the first server that starts is killed, lest none ever be."""
        if place and place.name == STARTING and not self.tally.targets["server through flow"]:
            return "server"
        return self.draw.choice(place.targets if place else ("run", "stage", "server"))

    def kill(self, attempt: Attempt, target: str, place: str) -> None:
        """Kill the target, or the run itself where the target is not there."""
        if target == "stage" and (stage := attempt.kill_stage()):
            self.tally.add(f"stage through {attempt.door}", place)
            self.told.append(f"{stage} killed through {attempt.door}: {place}")
            attempt.wait()
        elif target == "server" and attempt.door == "flow" and attempt.kill_server():
            self.tally.add("server through flow", place)
            self.told.append(f"server killed: {place}")
            time.sleep(self.draw.uniform(0, 2))
            if not attempt.over():
                self.kill(attempt, "run", "a moment after its server")
        elif attempt.process.poll() is None:
            attempt.kill()
            self.tally.add(f"run through {attempt.door}", place)
            self.told.append(f"run killed through {attempt.door}: {place}")

    def judge(self, attempt: Attempt, said: str) -> None:
        """Killed, finished, failed because a part was killed, or stuck on a file that DVC cut."""
        assert "Traceback" not in said, self.message(said)
        self.tally.mended += CUT in said
        self.only = None
        status = attempt.process.returncode
        if status in {0, -9} or "SIGKILL" in said or "exited with -9" in said:
            return
        if "server" in said and attempt.door == "flow":
            return
        assert attempt.door == "dvc", self.message(said)
        cut = re.search(r"dvc\.lock' validation failed|dvc\.lock', YAML|RWLock", said)
        assert cut is not None, self.message(said)
        self.tally.stuck[cut[0]] += 1
        self.only = "plain"

    def leave_alone(self) -> None:
        """The last run, undisturbed; a `dvc repro` that is stuck on a cut file goes by refit."""
        door = self.only or self.draw.choice(OFTEN)
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
        """The door, after `refit status` has swept what stopped `dvc repro`."""
        said = self.project.call("refit", "status").stderr
        self.tally.mended += CUT in said
        return door

    def message(self, text: str) -> str:
        kills = "\n".join(self.told)
        return f"{self.name}\n{kills}\n{text[-6000:]}"
