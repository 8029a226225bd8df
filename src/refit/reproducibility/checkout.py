"""A commit with its raw data in a temporary folder, and the programs that run there.

Nothing is shared with the project but its cache, which serves as a remote for the raw data alone.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from refit.core import paths
from refit.core.errors import PipelineError, SetupError
from refit.pipeline.dvc import open_pipeline
from refit.workspace import constraints, git

THREAD_VARIABLES = (
    "REFIT_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "POLARS_MAX_THREADS",
)
PROJECT_VARIABLES = ("MLFLOW", "PREFECT", "REFIT", "PYTHONPATH", "VIRTUAL_ENV", "DVC_")
"""Starts of the variables that tie a program to the project."""
SOURCE = "refit-cache"
CONFIG_LOCAL = Path(".dvc/config.local")
CONFIG = """\
[core]
    analytics = false
    remote = {name}
['remote "{name}"']
    url = {cache}
"""
LISTED = 5
"""Packages or lines that an error lists."""

Say = Callable[[str], None]


@contextmanager
def checkout(root: Path, commit: str, say: Say, *, own_environment: bool) -> Iterator[Path]:
    """The commit with its raw data and a Python, in a folder that is deleted afterwards.

    Args:
        root: of the project.
        commit: to write there.
        say: takes lines of progress.
        own_environment: install the commit's own constraints.txt.
    """
    folder = root / paths.STATE / "reproduce" / f"{commit[:12]}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        git.export(root, commit, folder)
        _link_environment(folder, say, own=own_environment)
        _fetch_data(root, commit, folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def original_outputs(
    root: Path, commit: str, folder: Path, outputs: Sequence[str]
) -> Iterator[Path | None]:
    """The outputs as the commit recorded them, in a temporary folder; None if no cache has them.

    Args:
        root: of the project.
        commit: of the checkout.
        folder: of the checkout.
        outputs: to fetch.
    """
    original = folder.with_name(f"{folder.name}-original")
    try:
        git.export(root, commit, original)
        (original / ".venv").symlink_to(sys.prefix)
        shutil.copy(folder / CONFIG_LOCAL, original / CONFIG_LOCAL)
        fetched = _dvc(original, "pull", "--quiet", *outputs).returncode == 0
        yield original if fetched else None
    finally:
        shutil.rmtree(original, ignore_errors=True)


def run_stages(folder: Path, threads: int, say: Say) -> None:
    """Run every stage of a checkout, restoring nothing.

    Args:
        folder: of the checkout.
        threads: for every library; 0 leaves the number to the stages.
        say: takes lines of progress.
    """
    limits = dict.fromkeys(THREAD_VARIABLES, str(threads)) if threads else {}
    command = [str(folder / ".venv/bin/dvc"), "repro", "--force", "--no-run-cache"]
    _call(folder, command, limits, say)


def recorded_outputs(folder: Path) -> dict[str, dict[str, str]]:
    """MD5 of each output, by stage in the order of the pipeline, as dvc.lock records them.

    Raises:
        PipelineError: dvc.lock records none.
    """
    path = folder / paths.DVC_LOCK
    stages = _yaml(path).get("stages", {}) if path.exists() else {}
    outputs = {
        name: {out["path"]: out["md5"] for out in stages[name].get("outs", []) if "md5" in out}
        for name in _yaml(folder / paths.DVC_YAML).get("stages", {})
        if name in stages
    }
    if not outputs:
        raise PipelineError(
            "the commit holds no result to compare with",
            where=str(path.name),
            got="no stage",
            do="name a registered version, or a commit made after a run",
        )
    return outputs


def _link_environment(folder: Path, say: Say, *, own: bool) -> None:
    """Give the checkout the project's virtual environment, or its own with the commit's pins."""
    if own:
        say("installing the commit's own packages ...")
        _call(folder, [sys.executable, "tools/setup.py"], {}, say)
        return
    wrong = constraints.differing(folder / paths.CONSTRAINTS)
    if wrong:
        more = f" and {len(wrong) - LISTED} more" if len(wrong) > LISTED else ""
        raise SetupError(
            "the installed packages are not those that the version was made with",
            got=f"{'; '.join(wrong[:LISTED])}{more}",
            expected="what constraints.txt of its commit says",
            do="repeat with --own-environment, which installs them separately",
        )
    (folder / ".venv").symlink_to(sys.prefix)


def _fetch_data(root: Path, commit: str, folder: Path) -> None:
    """Fetch the tracked raw data from the project's cache; what it lacks, from its remote.

    Raises:
        PipelineError: neither has it.
    """
    with open_pipeline(root) as pipeline:
        config = CONFIG.format(name=SOURCE, cache=pipeline.cache)
    (folder / CONFIG_LOCAL).write_text(config, encoding="utf-8")
    pointers = _pointers(folder)
    if not pointers or _dvc(folder, "pull", "--quiet", *pointers).returncode == 0:
        return
    with open_pipeline(root) as pipeline:
        pipeline.fetch_sources(commit)
    pulled = _dvc(folder, "pull", *pointers)
    if pulled.returncode:
        raise PipelineError(
            f"the raw data of commit {commit[:12]} is neither in the cache nor in a remote",
            got=" ".join(pulled.stderr.split()),
            do="`refit pull` fetches it if it was sent with `refit push`",
        )


def _pointers(folder: Path) -> list[str]:
    """The .dvc files of tracked data, relative to the folder."""
    pointers = (path for path in sorted(folder.rglob("*.dvc")) if path.is_file())
    relative = (path.relative_to(folder) for path in pointers)
    return [path.as_posix() for path in relative if ".venv" not in path.parts]


def _yaml(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return loaded


def _dvc(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(folder / ".venv/bin/dvc"), *arguments],
        cwd=folder,
        env=_variables(folder, {}),
        text=True,
        capture_output=True,
        check=False,
    )


def _call(folder: Path, command: list[str], variables: dict[str, str], say: Say) -> None:
    """Run a program in the folder and pass its lines on.

    Raises:
        PipelineError: it failed.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=_variables(folder, variables),
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
        errors = [line for line in lines if line.startswith("refit: ")]
        raise PipelineError(
            "the version cannot be reproduced: a program failed",
            where=" ".join(Path(word).name for word in command[:2]),
            got=errors[-1].removeprefix("refit: ") if errors else "\n".join(lines[-LISTED:]),
        )


def _variables(folder: Path, more: dict[str, str]) -> dict[str, str]:
    """The environment without the variables that tie a program to the project."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(PROJECT_VARIABLES)
    }
    return {
        **kept,
        "PYTHONPATH": f"{folder / 'src'}{os.pathsep}{folder}",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder / paths.STATE / "dvc"),
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **more,
    }
