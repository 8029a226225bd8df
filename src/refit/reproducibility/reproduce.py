"""Reproduces a version from its commit and its raw data alone, and compares the bytes.

The commit is written to a temporary folder, its raw data is fetched from the cache or the remote,
and the whole pipeline runs there in new processes with an empty cache, so that nothing can be
restored. Every output must have the digest that dvc.lock recorded. The workspace, its cache and the
registry's other versions are not touched.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from refit.core import paths
from refit.reproducibility import differences
from refit.reproducibility.checkout import (
    Say,
    checkout,
    original_outputs,
    recorded_outputs,
    run_stages,
)
from refit.reproducibility.grade import Grade, measured_grade
from refit.reproducibility.target import Target
from refit.serving.digest import identity
from refit.workspace import machine
from refit.workspace.machine import Machine

Outputs = dict[str, dict[str, str]]
"""MD5 of each output, by stage and path."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An output with other bytes."""

    stage: str
    path: str
    lines: tuple[str, ...]
    """How it differs."""


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """The result of reproducing a target."""

    outputs: int
    """Outputs that were compared, byte for byte."""
    differences: tuple[Difference, ...]
    """Of the first stage that differs; differences of later stages follow from it."""
    digest: str
    """Of the new bundle."""
    grade: Grade | None
    """None if anything differs."""
    threads: tuple[int, ...]
    seconds: float
    machine: Machine

    def lines(self) -> list[str]:
        """The result as lines for a person."""
        if self.grade is not None:
            counts = " and ".join(map(str, self.threads))
            threads = f", with {counts} threads" if counts else ""
            graded = f"grade {self.grade}{threads}, {self.seconds:.0f} s"
            return [
                f"the same bytes: all {self.outputs} outputs, bundle {self.digest[:12]} ({graded})"
            ]
        first = self.differences[0].stage
        return [
            f"not the same: stage {first} is the first that differs",
            *(f"  {each.path}: {line}" for each in self.differences for line in each.lines),
        ]


def reproduce(
    root: Path,
    target: Target,
    say: Say,
    *,
    threads: tuple[int, ...] = (),
    own_environment: bool = False,
) -> Reproduction:
    """Reproduce the target and compare.

    Args:
        root: of the project.
        target: what to reproduce.
        say: takes lines of progress.
        threads: thread counts, one run for each; empty for one run as the stages choose.
        own_environment: install the commit's own constraints.txt into a virtual environment first.

    Raises:
        SetupError: the installed packages are not those of the commit.
        PipelineError: the commit holds no result of the pipeline, its data is nowhere, or a stage
            failed.
    """
    started = time.monotonic()
    with checkout(root, target.commit, say, own_environment=own_environment) as folder:
        expected = recorded_outputs(folder)
        for count in threads or (0,):
            say(f"running every stage{f' with {count} threads' if count else ''} ...")
            run_stages(folder, count, say)
            digest = identity(folder / paths.BUNDLE)
            differing = _differing_outputs(root, target, folder, expected, say)
            differing = differing or _differing_digest(target, digest)
            if differing:
                break
    here = machine.this()
    return Reproduction(
        outputs=sum(len(outputs) for outputs in expected.values()),
        differences=differing,
        digest=digest,
        grade=None if differing else measured_grade(target.machine, here, threads),
        threads=threads,
        seconds=time.monotonic() - started,
        machine=here,
    )


def _differing_digest(target: Target, digest: str) -> tuple[Difference, ...]:
    """The bundle, if its digest is not the registered one."""
    if target.version is None or target.version.digest == digest:
        return ()
    line = f"digest {digest[:12]}, registered {target.version.digest[:12]}"
    return (Difference(stage="evaluate", path=paths.BUNDLE.as_posix(), lines=(line,)),)


def _differing_outputs(
    root: Path, target: Target, folder: Path, expected: Outputs, say: Say
) -> tuple[Difference, ...]:
    """The differing outputs of the first stage that has any."""
    outputs = recorded_outputs(folder)
    for stage, recorded in expected.items():
        new = outputs.get(stage, {})
        changed = [path for path, md5 in recorded.items() if new.get(path) != md5]
        if changed:
            say(f"stage {stage} differs; comparing its outputs ...")
            return _compare(root, target, folder, stage, changed)
    return ()


def _compare(
    root: Path, target: Target, folder: Path, stage: str, changed: list[str]
) -> tuple[Difference, ...]:
    """How the new outputs differ from the original ones."""
    with original_outputs(root, target.commit, folder, changed) as original:
        return tuple(
            Difference(stage=stage, path=path, lines=_lines(original, folder, path))
            for path in changed
        )


def _lines(original: Path | None, folder: Path, path: str) -> tuple[str, ...]:
    if original is None:
        return ("the original is not in the cache, so only the digests were compared",)
    return tuple(differences.between(original / path, folder / path))
