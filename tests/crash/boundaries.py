"""The boundaries in a run at which it is killed, each recognised from outside.

A boundary is ahead, reached or passed. `Marks` holds the state at the start of a round or attempt,
because files of an earlier version prove nothing.
"""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from attempt import DOORS, STAGES, Attempt
from picture import rows

ANY = tuple(DOORS)
STARTING = "the server is starting"
WRITTEN = {
    "validate": "data/validation.json",
    "preprocess": "data/prepared/encoder.json",
    "baseline": "data/baseline/validation/linear.npy",
    "train": ".refit/checkpoints/*/step-*.safetensors",
    "evaluate": "data/bundle/model.onnx",
}
"""A file of each stage that it writes before its last one, where it writes several."""
PROMOTION = {
    "bundle": ".refit/mlartifacts/pumps/*/artifacts/bundle-*/*",
    "registered": "select * from model_versions",
    "logged": ".refit/mlartifacts/pumps/*/artifacts/decision-*.md",
    "recorded": "select * from model_version_tags where key like 'refit.decision.%'",
    "entered": "select * from model_version_tags where key = 'refit.entry'",
    "alias": "select * from registered_model_aliases",
}


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """A boundary, the doors that pass it, and the processes that may be killed there."""

    name: str
    doors: tuple[str, ...] = ANY
    targets: tuple[str, ...] = ("run",)
    reached: Callable[[Attempt, "Marks"], bool]
    passed: Callable[[Path, "Marks"], bool]


class Marks:
    """The visible state of a project at one moment."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.recorded = recorded(root)
        self.stamps = {pattern: stamp(root, pattern) for pattern in WRITTEN.values()}
        self.seen = {name: seen(root, sign) for name, sign in PROMOTION.items()}
        self._lock = (stamp(root, "dvc.lock"), self.recorded)

    def has_new_record(self, stage: str) -> bool:
        """Whether dvc.lock has another entry for the stage than before."""
        now = stamp(self.root, "dvc.lock")
        if now != self._lock[0]:
            self._lock = (now, recorded(self.root))
        return self._lock[1].get(stage) not in {None, self.recorded.get(stage)}


def recorded(root: Path) -> dict[str, str]:
    """The entry of each stage in dvc.lock; none while the file cannot be read."""
    with suppress(OSError, yaml.YAMLError, TypeError, AttributeError):
        lock: dict[str, Any] = yaml.load((root / "dvc.lock").read_text(), yaml.CSafeLoader)
        return {name: str(entry) for name, entry in lock["stages"].items()}
    return {}


def stamp(root: Path, pattern: str) -> frozenset[tuple[str, int, int]]:
    """The files of the pattern, each with inode and time."""
    stamps = set()
    for path in root.glob(pattern):
        with suppress(OSError):
            stamps.add((str(path), path.stat().st_ino, path.stat().st_mtime_ns))
    return frozenset(stamps)


def seen(root: Path, sign: str) -> object:
    """The rows of a query, or the files of a pattern."""
    if not sign.startswith("select"):
        return stamp(root, sign)
    with suppress(sqlite3.Error):
        return rows(root, sign)
    return None


def boundaries() -> tuple[Boundary, ...]:
    """All boundaries in the order of a run."""
    server, stages = ("run", "server"), [b for stage in STAGES for b in _of_stage(stage)]
    database = Boundary(
        name="MLflow's database is being made",
        targets=("run", "stage"),
        reached=lambda attempt, _: (attempt.project.root / ".refit/mlflow.db.part").exists(),
        passed=lambda root, _: (root / ".refit/mlflow.db").exists(),
    )
    begin = next(number for number, each in enumerate(stages) if each.name == "train has begun")
    stages.insert(begin + 1, database)
    return (
        Boundary(
            name=STARTING,
            doors=("flow",),
            targets=server,
            reached=lambda attempt, _: attempt.server() is not None,
            passed=lambda root, marks: bool(recorded(root) != marks.recorded),
        ),
        *stages,
        *(_of_promotion(name, sign) for name, sign in PROMOTION.items()),
    )


def _of_stage(stage: str) -> list[Boundary]:
    def passed(_: Path, marks: Marks) -> bool:
        return marks.has_new_record(stage)

    def begun(attempt: Attempt, _: Marks) -> bool:
        running = attempt.stage()
        return running is not None and running[0] == stage

    def wrote(attempt: Attempt, marks: Marks) -> bool:
        now = stamp(attempt.project.root, WRITTEN[stage])
        return bool(now - marks.stamps[WRITTEN[stage]])

    def recording(attempt: Attempt, marks: Marks) -> bool:
        """`dvc repro` has emptied dvc.lock and is about to fill it."""
        path = attempt.project.root / "dvc.lock"
        with suppress(OSError):
            return path.stat().st_size == 0 and wrote(attempt, marks)
        return False

    working = ("run", "stage", "server")
    places = [
        Boundary(name=f"{stage} has begun", targets=working, reached=begun, passed=passed),
        Boundary(name=f"{stage} has written", targets=working, reached=wrote, passed=passed),
        Boundary(
            name=f"{stage} is recorded",
            targets=("run", "server"),
            reached=lambda _, marks: marks.has_new_record(stage),
            passed=passed,
        ),
    ]
    if stage == "preprocess":  # one stage is enough: DVC does the same for each
        places.insert(
            2,
            Boundary(
                name="dvc.lock is being written", doors=("dvc",), reached=recording, passed=passed
            ),
        )
    return places


def _of_promotion(name: str, sign: str) -> Boundary:
    def changed(root: Path, marks: Marks) -> bool:
        now = seen(root, sign)
        return now is not None and now != marks.seen[name]

    return Boundary(
        name=f"promotion: {name}",
        targets=("run", "server"),
        reached=lambda attempt, marks: changed(attempt.project.root, marks),
        passed=changed,
    )
