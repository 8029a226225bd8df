"""The checks of `refit doctor`: what is wrong with the environment, and how to fix it."""

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
from refit.promotion import history
from refit.registry import reading
from refit.registry.reader import Reader
from refit.registry.sqlite_reader import SqliteReader, UnknownError
from refit.tracking.client import connect
from refit.workflow import unchanged
from refit.workspace import constraints, servers

NEEDED_GIB = 2
LOCK_WAIT = 2
"""Seconds to wait for a run in the same folder."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of one check."""

    name: str
    ok: bool
    detail: str
    """What is wrong, or the state that is right."""
    fix: str = ""


def examine(root: Path) -> Iterator[Check]:
    """Run every check, one after another; none of them changes anything."""
    yield _python()
    yield _packages(root)
    yield _environment(root)
    yield _processor()
    yield _disk(root)
    yield _state("params.yaml", lambda: f"dataset {params.dataset_name(root / paths.PARAMS)}")
    yield _state("Git and DVC", lambda: _pipeline(root))
    yield _determinism(root)
    yield _dependencies(root)
    yield _remote(root)
    yield _state("MLflow", lambda: _mlflow(root))
    yield _ledger(root)
    yield _bundles(root)
    yield _servers(root)


def _python() -> Check:
    return Check(
        name="Python",
        ok=sys.version_info >= (3, 11),
        detail=".".join(map(str, sys.version_info[:3])),
        fix="install Python 3.11 or later, delete .venv and run `make run`",
    )


def _packages(root: Path) -> Check:
    """Installed versions against constraints.txt; a local label such as +cpu does not count."""
    return _problems(
        "pinned packages",
        lambda: constraints.differing(root / paths.CONSTRAINTS),
        right="as constraints.txt says",
        fix="run `make setup`, which installs exactly the tested set",
    )


def _environment(root: Path) -> Check:
    expected = root / ".venv"
    return Check(
        name="virtual environment",
        ok=expected.exists() and Path(sys.prefix).resolve() == expected.resolve(),
        detail=sys.prefix,
        fix="call .venv/bin/refit: the stages run in .venv, so this program must as well",
    )


def _processor() -> Check:
    return _problems(
        "processor",
        lambda: [f"no {flag}" for flag in determinism.missing_flags()],
        right="AVX2 and FMA",
        fix="train on an x86-64 processor of 2013 or later",
    )


def _disk(root: Path) -> Check:
    free = shutil.disk_usage(root).free / 2**30
    return Check(
        name="disk",
        ok=free >= NEEDED_GIB,
        detail=f"{free:.0f} GiB free",
        fix=f"free at least {NEEDED_GIB} GiB; `dvc gc --workspace` drops old results",
    )


def _determinism(root: Path) -> Check:
    """Two results of one stage from the same inputs prove that it is not deterministic."""

    def several() -> list[str]:
        if unchanged.recall(root):
            return []
        with open_pipeline(root, wait=LOCK_WAIT) as pipeline:
            return list(map(str, pipeline.several()))

    return _problems(
        "determinism",
        several,
        right="one result of each computation",
        fix="find what is random in the stage: `refit reproduce` shows what differs",
    )


def _dependencies(root: Path) -> Check:
    return _problems(
        "dvc.yaml",
        lambda: stage_deps.check(root),
        right="names the code that each stage imports",
        fix="run `refit deps --fix`",
    )


def _remote(root: Path) -> Check:
    """Having no remote is allowed: results then stay on this machine."""
    config = root / ".dvc/config"
    text = config.read_text(encoding="utf-8") if config.exists() else ""
    has_remote = "[remote" in text or "['remote" in text
    detail = "set" if has_remote else "none: results stay here"
    return Check(name="DVC remote", ok=True, detail=detail)


def _ledger(root: Path) -> Check:
    """Ledger entries that were changed or deleted, and aliases that were moved by hand."""
    return _problems(
        "ledger",
        lambda: history.verify(root),
        right="complete, and the aliases agree with it",
        fix="`refit history --verify` lists all; `refit rollback --to V --why ...` repairs a broken"
        " ledger, the next run an alias",
    )


def _bundles(root: Path) -> Check:
    """Files beside the bundles of the champion and of the version that waits."""

    def others(registry: Reader) -> list[str]:
        ledger = registry.ledger.read()
        numbers = dict.fromkeys(n for n in (ledger.champion, ledger.waiting) if n is not None)
        return [
            f"version {number}: {name} is not part of the bundle"
            for number in numbers
            for name in registry.artifacts.others(registry.versions.get(number))
        ]

    return _problems(
        "bundles",
        lambda: reading.ask(root, others),
        right="no files beside the bundles that are live or wait",
        fix="delete these files in the artifact store; Refit never loads them, other programs may",
    )


def _servers(root: Path) -> Check:
    addresses = [f"{name} {server.url}" for name, server in servers.running(root).items()]
    return Check(name="servers", ok=True, detail=", ".join(addresses) or "none is up")


def _pipeline(root: Path) -> str:
    recalled = unchanged.recall(root)
    if recalled:
        return f"{len(recalled) - 1} stages, 0 changed"
    with open_pipeline(root, wait=LOCK_WAIT) as pipeline:
        return f"{len(pipeline.stages())} stages, {len(pipeline.changes())} changed"


def _mlflow(root: Path) -> str:
    """Where it is, when it answers; its import takes seconds, so the own database is read first."""
    try:
        SqliteReader.open(root, params.dataset_name(root / paths.PARAMS)).versions.all()
    except UnknownError:
        connect(root)
    return os.environ.get("MLFLOW_TRACKING_URI") or str(paths.MLFLOW)


def _problems(
    name: str, find: Callable[[], list[str] | tuple[str, ...]], *, right: str, fix: str
) -> Check:
    """A check that passes when no problem is found; it shows the first five problems."""
    try:
        problems = find()
    except RefitError as error:
        problems = [str(error)]
    return Check(name=name, ok=not problems, detail="; ".join(problems[:5]) or right, fix=fix)


def _state(name: str, describe: Callable[[], str]) -> Check:
    """A check whose error already says how to fix it."""
    try:
        return Check(name=name, ok=True, detail=describe())
    except RefitError as error:
        return Check(name=name, ok=False, detail=str(error))
