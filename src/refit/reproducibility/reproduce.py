"""Make a version again from its commit and its raw data alone, and compare the bytes.

The commit is written into a folder of its own, its tracked data brought from the cache or the
remote, and the whole pipeline run there in fresh processes, with an empty cache, so that nothing
can be restored. What dvc.lock said of every output is what must come out. The workspace, its cache
and the registry's other versions are not touched.

A grade is what was measured, never more:

- machine: a fresh process on a processor of the same kind gave the same bytes;
- threads: so did processes that were given 1, 2 and 4 threads;
- any-x86: so did a processor of another maker, or with other instruction sets.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from refit.core import paths
from refit.core.errors import PipelineError, SetupError
from refit.pipeline.dvc import open_pipeline
from refit.reproducibility import differences
from refit.serving.digest import identity
from refit.workspace import constraints, git, machine
from refit.workspace.machine import Machine

Grade = Literal["machine", "threads", "any-x86"]
GRADES: tuple[Grade, ...] = ("machine", "threads", "any-x86")
THREADS = (1, 2, 4)
"""Thread counts that the grade `threads` asks for."""
VARIABLES = (
    "REFIT_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "POLARS_MAX_THREADS",
)
SOURCE = "refit-cache"
CONFIG = """\
[core]
    analytics = false
    remote = {name}
['remote "{name}"']
    url = {cache}
"""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is to be made again."""

    commit: str
    digest: str | None
    """Of the registered bundle; None when only the commit is known."""
    machine: Machine | None
    """Where it was made; None when unknown."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An output that came out otherwise."""

    stage: str
    path: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What came of it."""

    outputs: int
    """Outputs that were compared, byte for byte."""
    differences: tuple[Difference, ...]
    """Of the first stage that differs; later ones follow from it."""
    digest: str
    """Of the bundle that was made."""
    grade: Grade | None
    """None when anything differs."""
    threads: tuple[int, ...]
    seconds: float
    made_on: Machine

    def lines(self) -> list[str]:
        """What came of it, as a person reads it."""
        if self.grade is not None:
            counts = f", with {' and '.join(map(str, self.threads))} threads" * bool(self.threads)
            graded = f"grade {self.grade}{counts}, {self.seconds:.0f} s"
            same = f"the same bytes: all {self.outputs} outputs, bundle {self.digest[:12]}"
            return [f"{same} ({graded})"]
        first = self.differences[0].stage
        return [
            f"not the same: stage {first} is the first that differs",
            *(f"  {found.path}: {line}" for found in self.differences for line in found.lines),
        ]


def reproduce(
    root: Path,
    target: Target,
    say: Say,
    *,
    threads: tuple[int, ...] = (),
    own_environment: bool = False,
) -> Reproduction:
    """Make the target again and compare.

    Args:
        root: of the project.
        target: what to make.
        say: takes lines of progress.
        threads: thread counts to run with, one run each; none runs once as the stages please.
        own_environment: install the commit's own constraints.txt into a virtual environment first.

    Raises:
        SetupError: the installed packages are not those of the commit.
        PipelineError: the commit holds no pipeline that has run, its data is nowhere to be found,
            or a stage failed.
    """
    started = time.monotonic()
    with _checkout(root, target.commit, say, own_environment=own_environment) as folder:
        expected = _lock(folder)
        found: tuple[Difference, ...] = ()
        for count in threads or (0,):
            say(f"running every stage{f' with {count} threads' if count else ''} ...")
            _run(folder, count, say)
            found = _compare(root, target.commit, folder, expected, say)
            digest = identity(folder / paths.BUNDLE)
            if not found and target.digest not in {None, digest}:
                line = f"digest {digest[:12]}, registered {str(target.digest)[:12]}"
                found = (Difference(stage="evaluate", path=paths.BUNDLE.as_posix(), lines=(line,)),)
            if found:
                break
    here = machine.this()
    return Reproduction(
        outputs=sum(len(outs) for outs in expected.values()),
        differences=found,
        digest=digest,
        grade=None if found else _grade(target, threads, here),
        threads=threads,
        seconds=time.monotonic() - started,
        made_on=here,
    )


def _grade(target: Target, threads: tuple[int, ...], here: Machine) -> Grade:
    if target.machine is not None and not target.machine.same_kind(here):
        return "any-x86"
    return "threads" if set(THREADS) <= set(threads) else "machine"


@contextmanager
def _checkout(root: Path, commit: str, say: Say, *, own_environment: bool) -> Iterator[Path]:
    """The commit with its data and a Python to run it, in a folder that goes away again."""
    folder = root / paths.STATE / "reproduce" / f"{commit[:12]}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        git.export(root, commit, folder)
        _environment(folder, say, own=own_environment)
        _bring(root, commit, folder, [p.as_posix() for p in _pointers(folder)])
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment(folder: Path, say: Say, *, own: bool) -> None:
    """The project's virtual environment, or one made of the commit's own pins."""
    if own:
        say("installing the commit's own packages ...")
        _call(folder, [sys.executable, "tools/setup.py"], {}, say)
        return
    wrong = constraints.differing(folder / paths.CONSTRAINTS)
    if wrong:
        raise SetupError(
            "the installed packages are not those that the version was made with",
            got=f"{'; '.join(wrong[:5])}{f' and {len(wrong) - 5} more' * (len(wrong) > 5)}",
            expected="what constraints.txt of its commit says",
            do="repeat with --own-environment, which installs them aside",
        )
    (folder / ".venv").symlink_to(sys.prefix)


def _pointers(folder: Path) -> list[Path]:
    """The .dvc files of tracked data, relative to the folder."""
    found = (p for p in sorted(folder.rglob("*.dvc")) if p.is_file() and ".venv" not in p.parts)
    return [path.relative_to(folder) for path in found]


def _bring(root: Path, commit: str, folder: Path, targets: list[str]) -> None:
    """Put tracked data in place, from the project's cache; what is missing there, from its remote.

    Raises:
        PipelineError: it is nowhere.
    """
    with open_pipeline(root) as pipeline:
        config = CONFIG.format(name=SOURCE, cache=pipeline.cache)
    (folder / ".dvc/config.local").write_text(config, encoding="utf-8")
    if not targets or _dvc(folder, "pull", "--quiet", *targets).returncode == 0:
        return
    with open_pipeline(root) as pipeline:
        pipeline.fetch_sources(commit)
    done = _dvc(folder, "pull", *targets)
    if done.returncode:
        raise PipelineError(
            f"the raw data of commit {commit[:12]} is nowhere to be found",
            got=" ".join(done.stderr.split()),
            do="`refit pull` brings it where somebody has sent it with `refit push`",
        )


def _lock(folder: Path) -> dict[str, dict[str, str]]:
    """MD5 of each output by stage, in the order of the pipeline, as dvc.lock has them."""
    path = folder / paths.DVC_LOCK
    stages = _yaml(path).get("stages", {}) if path.exists() else {}
    found = {
        name: {out["path"]: out["md5"] for out in stages[name].get("outs", []) if "md5" in out}
        for name in _yaml(folder / paths.DVC_YAML).get("stages", {})
        if name in stages
    }
    if not found:
        raise PipelineError(
            "the commit holds no result to compare with",
            where=str(path.name),
            got="no stage",
            do="name a registered version, or a commit made after a run",
        )
    return found


def _yaml(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return loaded


def _run(folder: Path, threads: int, say: Say) -> None:
    limits = dict.fromkeys(VARIABLES, str(threads)) if threads else {}
    command = [str(folder / ".venv/bin/dvc"), "repro", "--force", "--no-run-cache"]
    _call(folder, command, limits, say)


def _compare(
    root: Path, commit: str, folder: Path, expected: dict[str, dict[str, str]], say: Say
) -> tuple[Difference, ...]:
    """The outputs of the first stage that differs, each with how."""
    got = _lock(folder)
    for stage, outs in expected.items():
        changed = [path for path, md5 in outs.items() if got.get(stage, {}).get(path) != md5]
        if changed:
            say(f"stage {stage} differs; looking at how ...")
            return tuple(_explain(root, commit, folder, stage, changed))
    return ()


def _explain(
    root: Path, commit: str, folder: Path, stage: str, paths: list[str]
) -> Iterator[Difference]:
    """Bring the original outputs and compare them with those that were made."""
    original = folder.with_name(f"{folder.name}-original")
    try:
        git.export(root, commit, original)
        (original / ".venv").symlink_to(sys.prefix)
        shutil.copy(folder / ".dvc/config.local", original / ".dvc/config.local")
        there = _dvc(original, "pull", "--quiet", *paths).returncode == 0
        for path in paths:
            lines = (
                differences.between(original / path, folder / path)
                if there
                else ["the original is not in the cache, so only the digests were compared"]
            )
            yield Difference(stage=stage, path=path, lines=tuple(lines))
    finally:
        shutil.rmtree(original, ignore_errors=True)


def _dvc(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(folder / ".venv/bin/dvc"), *arguments],
        cwd=folder,
        env=_variables(folder, {}),
        text=True,
        capture_output=True,
        check=False,
    )


def _call(folder: Path, command: list[str], more: dict[str, str], say: Say) -> None:
    """Run a program in the folder and hand its lines on; PipelineError when it fails."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=_variables(folder, more),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    lines = []
    with process:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            say(lines[-1])
    if process.returncode:
        own = [line for line in lines if line.startswith("refit: ")]
        raise PipelineError(
            "the version cannot be made again: a step failed",
            where=" ".join(Path(word).name for word in command[:2]),
            got=own[-1].removeprefix("refit: ") if own else "\n".join(lines[-5:]),
        )


def _variables(folder: Path, more: dict[str, str]) -> dict[str, str]:
    """The environment without anything that ties a program to the project itself."""
    dropped = ("MLFLOW", "PREFECT", "REFIT", "PYTHONPATH", "VIRTUAL_ENV", "DVC_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    return {
        **kept,
        "PYTHONPATH": f"{folder / 'src'}{os.pathsep}{folder}",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder / paths.STATE / "dvc"),
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **more,
    }
