"""The checks of `refit doctor`: what is wrong with the environment, and how to mend it."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from refit.core import determinism, params, paths
from refit.core.errors import RefitError
from refit.pipeline import stage_deps
from refit.pipeline.dvc import open_pipeline
from refit.promotion import approval
from refit.tracking.client import connect
from refit.workspace import constraints, servers

NEEDED_GIB = 2


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    found: str
    mend: str = ""


def examine(root: Path) -> Iterator[Check]:
    """Look at everything, one check after another; none of them changes anything."""
    yield _python()
    yield _pins(root)
    yield _venv(root)
    yield _processor()
    yield _disk(root)
    yield _asked("params.yaml", lambda: f"dataset {params.dataset_name(root / paths.PARAMS)}")
    yield _asked("Git and DVC", lambda: _pipeline(root))
    yield _determinism(root)
    yield _dependencies(root)
    yield _remote(root)
    yield _asked("MLflow", lambda: _mlflow(root))
    yield _ledger(root)
    yield _servers(root)


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return Check(
        name="Python",
        ok=sys.version_info >= (3, 11),
        found=found,
        mend="install Python 3.11 or later, delete .venv and run `make run`",
    )


def _pins(root: Path) -> Check:
    """Installed versions against constraints.txt; a local label such as +cpu does not count."""
    wrong = constraints.differing(root / paths.CONSTRAINTS)
    return Check(
        name="pinned packages",
        ok=not wrong,
        found="; ".join(wrong[:5]) or "as constraints.txt says",
        mend="run `make setup`, which installs exactly the tested set",
    )


def _venv(root: Path) -> Check:
    own = root / ".venv"
    return Check(
        name="virtual environment",
        ok=own.exists() and Path(sys.prefix).resolve() == own.resolve(),
        found=sys.prefix,
        mend="call .venv/bin/refit: the stages run in .venv, so this program must as well",
    )


def _processor() -> Check:
    missing = determinism.missing_flags()
    return Check(
        name="processor",
        ok=not missing,
        found=f"no {', '.join(missing)}" if missing else "AVX2 and FMA",
        mend="train on an x86-64 processor of 2013 or later",
    )


def _disk(root: Path) -> Check:
    free = shutil.disk_usage(root).free / 2**30
    return Check(
        name="disk",
        ok=free >= NEEDED_GIB,
        found=f"{free:.0f} GiB free",
        mend=f"free at least {NEEDED_GIB} GiB; `dvc gc --workspace` drops old results",
    )


def _determinism(root: Path) -> Check:
    """Two results of one stage from the same inputs prove that it is not deterministic."""
    try:
        with open_pipeline(root, wait=2) as pipeline:
            several = pipeline.several()
    except RefitError as error:
        return Check(name="determinism", ok=False, found=str(error))
    return Check(
        name="determinism",
        ok=not several,
        found="; ".join(map(str, several)) or "one result of each computation",
        mend="find what is random in the stage: `refit reproduce` shows what differs",
    )


def _dependencies(root: Path) -> Check:
    return _faultless(
        "dvc.yaml",
        lambda: stage_deps.check(root),
        well="names the code that each stage imports",
        mend="run `refit deps --fix`",
    )


def _remote(root: Path) -> Check:
    """No remote is no fault: results then live on this machine alone."""
    text = (root / ".dvc/config").read_text(encoding="utf-8") if (root / ".dvc").exists() else ""
    found = "set" if "[remote" in text or "['remote" in text else "none: results stay here"
    return Check(name="DVC remote", ok=True, found=found)


def _servers(root: Path) -> Check:
    found = [f"{name} {server.url}" for name, server in servers.running(root).items()]
    return Check(name="servers", ok=True, found=", ".join(found) or "none is up")


def _pipeline(root: Path) -> str:
    with open_pipeline(root, wait=2) as pipeline:
        return f"{len(pipeline.stages())} stages, {len(pipeline.changes())} changed"


def _mlflow(root: Path) -> str:
    connect(root)
    return os.environ.get("MLFLOW_TRACKING_URI") or str(paths.MLFLOW)


def _ledger(root: Path) -> Check:
    """Decisions that were changed or taken away, and aliases that somebody moved."""
    return _faultless(
        "ledger",
        lambda: approval.verify(root),
        well="whole, and the aliases are as it says",
        mend="`refit history --verify` lists all; `refit rollback --to V --why ...` mends a broken"
        " ledger, the next run an alias",
    )


def _faultless(name: str, find: Callable[[], list[str]], *, well: str, mend: str) -> Check:
    """A check that all is well where nothing is found; of many faults the first three are shown."""
    try:
        wrong = find()
    except RefitError as error:
        wrong = [str(error)]
    return Check(name=name, ok=not wrong, found="; ".join(wrong[:3]) or well, mend=mend)


def _asked(name: str, ask: Callable[[], str]) -> Check:
    """A check whose error already says how to mend it."""
    try:
        return Check(name=name, ok=True, found=ask())
    except RefitError as error:
        return Check(name=name, ok=False, found=str(error))
