"""`refit up`: all that scheduled retraining needs on one machine, until a signal stops it."""

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

Say = Callable[[str], None]
Handler = Callable[[int, FrameType | None], None] | signal.Handlers


def up(root: Path, say: Say, crash_dead_runs: Callable[[], int]) -> None:
    """Start servers and worker, apply the deployments, wait for a signal, stop them.

    Args:
        root: of the project.
        say: prints a line.
        crash_dead_runs: sets dead runs to Crashed, returns how many; needs the Prefect server.
    """
    _require_only_up(root)
    _on_stop(_interrupt)
    say("starting Prefect and MLflow (some 20 seconds the first time) ...")
    try:
        _serve(root, say, crash_dead_runs)
    except KeyboardInterrupt:
        say("stopping ...")
    finally:
        _on_stop(signal.SIG_IGN)
        say(f"stopped {', '.join(servers.stop(root)) or 'nothing'}")


def _serve(root: Path, say: Say, crash_dead_runs: Callable[[], int]) -> None:
    prefect = servers.ensure(root, "prefect")
    api = servers.prefect_environment(prefect)
    os.environ.update(environment(root) | api)
    _crash_dead_runs(root, say, crash_dead_runs)
    _run_prefect(root, api, "work-pool", "create", POOL, "--type", "process", "--overwrite")
    _run_prefect(root, api, "--no-prompt", "deploy", "--all")
    # The deployment has a limit, the worker none: with one, a worker of Prefect 3.8 ends by itself
    # when a suspended run is answered before the worker has seen that the run's process ended.
    worker = ("prefect", "worker", "start", "--pool", POOL, "--name", "local")
    servers.launch(root, "worker", worker, api)
    connect(root)  # makes a new database atomically; MLflow's own server does not
    mlflow = servers.ensure(root, "mlflow")
    say(f"Prefect   {prefect.url}")
    say(f"MLflow    {mlflow.url}")
    say(
        "start a run with `.venv/bin/prefect deployment run retrain/retrain`, or wait for the"
        " schedule; Ctrl-C stops all"
    )
    while _are_up(root):
        time.sleep(1)


def _require_only_up(root: Path) -> None:
    """Raise SetupError while another `refit up` works: the first to stop would end both."""
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


def _are_up(root: Path) -> bool:
    """Whether all servers run; False when `refit down` has stopped them."""
    dead = servers.dead(root)
    if dead:
        raise SetupError(
            f"{', '.join(dead)} ended by itself",
            where=str(root / paths.LOGS),
            do="read its log there, then run `refit up` again",
        )
    return {"prefect", "mlflow", "worker"} <= servers.running(root).keys()


def _crash_dead_runs(root: Path, say: Say, crash_dead_runs: Callable[[], int]) -> None:
    """Free the deployment's slot, which dead runs hold; not while a run holds the lock."""
    try:
        with open_pipeline(root, wait=0):
            count = crash_dead_runs()
    except PipelineError:
        return
    if count:
        say(f"{count} runs whose process had died are now Crashed")


def _run_prefect(root: Path, api: dict[str, str], *arguments: str) -> None:
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
