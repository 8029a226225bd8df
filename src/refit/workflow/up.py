"""`refit up`: all that scheduled retraining needs on one machine, until it is told to stop."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from refit.core import paths
from refit.core.errors import PipelineError, SetupError
from refit.pipeline.dvc import open_pipeline
from refit.tracking.client import connect
from refit.workspace import servers
from refit.workspace.project import environment

POOL = "local"
SETUP_SECONDS = 120

Handler = Callable[[int, FrameType | None], None] | signal.Handlers


def up(root: Path, say: Callable[[str], None], sweep: Callable[[], int]) -> None:
    """Start servers and worker, apply the deployments, say where they are, wait, stop them.

    Args:
        root: of the project.
        say: prints a line.
        sweep: sets dead runs to Crashed; called with the Prefect server up.
    """
    _refuse_a_second(root)
    _on_stop(_interrupt)
    say("starting Prefect and MLflow (some 20 seconds the first time) ...")
    try:
        _serve(root, say, sweep)
    except KeyboardInterrupt:
        say("stopping ...")
    finally:
        _on_stop(signal.SIG_IGN)
        say(f"stopped {', '.join(servers.stop(root)) or 'nothing'}")


def _serve(root: Path, say: Callable[[str], None], sweep: Callable[[], int]) -> None:
    prefect = servers.ensure(root, "prefect")
    api = servers.prefect_environment(prefect)
    os.environ.update(environment(root) | api)
    _sweep(root, say, sweep)
    _prefect(root, api, "work-pool", "create", POOL, "--type", "process", "--overwrite")
    _prefect(root, api, "--no-prompt", "deploy", "--all")
    # Without a limit, which the deployment has: a limited worker of Prefect 3.8 ends by itself when
    # a suspended run is answered before it has noticed that the run's process has ended.
    worker = ("prefect", "worker", "start", "--pool", POOL, "--name", "local")
    servers.launch(root, "worker", worker, api)
    connect(root)  # makes a new database whole, which MLflow's own server would not
    mlflow = servers.ensure(root, "mlflow")
    say(f"Prefect   {prefect.url}")
    say(f"MLflow    {mlflow.url}")
    say(
        "start a run with `.venv/bin/prefect deployment run retrain/retrain`, or wait for the"
        " schedule; Ctrl-C stops all"
    )
    while _watch(root):
        time.sleep(1)


def _refuse_a_second(root: Path) -> None:
    """Two would share the servers, and the first to stop would stop them for both."""
    worker = servers.running(root).get("worker")
    if worker is not None:
        raise SetupError(
            "`refit up` is at work already",
            where=str(root),
            got=f"a worker as process {worker.pid}",
            do="use it, or end it with Ctrl-C where it runs, or with `refit down`",
        )


def _on_stop(handler: Handler) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _watch(root: Path) -> bool:
    """Whether all are up; False when `refit down` has stopped them."""
    dead = servers.dead(root)
    if dead:
        raise SetupError(
            f"{', '.join(dead)} ended by itself",
            where=str(root / paths.LOGS),
            do="read its log there, then run `refit up` again",
        )
    return {"prefect", "mlflow", "worker"} <= servers.running(root).keys()


def _sweep(root: Path, say: Callable[[str], None], sweep: Callable[[], int]) -> None:
    """Dead runs hold the deployment's slot; while a run holds the lock, none may be swept."""
    try:
        with open_pipeline(root, wait=0):
            swept = sweep()
    except PipelineError:
        return
    if swept:
        say(f"{swept} runs whose process had died are now Crashed")


def _prefect(root: Path, api: dict[str, str], *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=root,
        env={**os.environ, **environment(root), **api},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SETUP_SECONDS,
        check=False,
    )
    if done.returncode:
        raise SetupError(
            f"`prefect {' '.join(arguments)}` failed",
            got=" / ".join((done.stdout + done.stderr).strip().splitlines()[-3:]),
            do=f"read {paths.LOGS}/prefect.log",
        )
