"""`refit run`: a fast answer when nothing changed, otherwise the flow or, without it, its steps."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from refit.workflow import unchanged
from refit.workflow.step_result import StepResult
from refit.workspace.project import environment

if TYPE_CHECKING:
    from refit.workspace.servers import Server

Watch = Callable[[str, str | StepResult], None]
"""Takes a step's name with a line of its output, or with its result."""
RETRIES = "1"
"""Times that Prefect repeats a failed call; with its default a lost server costs a minute."""
Start = Callable[[Watch, str | None, bool], None]
"""Starts the flow with `watch`, `until` and `force`."""


def run(
    root: Path,
    watch: Watch,
    *,
    until: str | None,
    force: bool,
    load_flow: Callable[[], Start] | None,
) -> "Server | None":
    """Bring everything up to date.

    Args:
        root: of the project.
        watch: takes each step's output and result.
        until: ingest up to this partition first.
        force: run every stage.
        load_flow: imports the flow, which takes seconds; None runs the steps without Prefect.

    Returns:
        The Prefect server that shows the run; None when none was needed.
    """
    if until is not None or force:
        return _run(root, watch, until=until, force=force, load_flow=load_flow)
    results = unchanged.recall(root)
    if results:
        _show(results, watch)
        return None
    from refit.pipeline.dvc import open_pipeline
    from refit.workflow.steps import nothing_to_do

    with open_pipeline(root) as pipeline:
        results = nothing_to_do(root)
        if results:
            _show(results, watch)
            return None
        pipeline.begin()  # while Prefect is imported and its server starts
        return _run(root, watch, until=None, force=False, load_flow=load_flow)


def _show(results: tuple[StepResult, ...], watch: Watch) -> None:
    for result in results:
        watch(result.name, result)


def _run(
    root: Path,
    watch: Watch,
    *,
    until: str | None,
    force: bool,
    load_flow: Callable[[], Start] | None,
) -> "Server | None":
    if load_flow is None:
        from refit.workflow.steps import steps

        for step in steps(root, until=until, force=force):
            watch(step.name, step.run(partial(watch, step.name)))
        return None
    server, start = _with_server(root, load_flow)
    start(watch, until, force)
    return server


def _with_server(root: Path, load_flow: Callable[[], Start]) -> "tuple[Server, Start]":
    """Import the flow while the server starts.

    The flow reads the server's address when it is imported, so that is set before.
    """
    from refit.workspace import servers

    os.environ.update(environment(root))
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    os.environ["PREFECT_LOGGING_INTERNAL_LEVEL"] = "CRITICAL"
    os.environ["PREFECT_CLI_PROMPT"] = "false"
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", RETRIES)
    server = servers.begin(root, "prefect")
    os.environ.update(servers.prefect_environment(server))
    start = load_flow()
    servers.wait(root, server)
    return server, start
