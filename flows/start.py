"""How the command line starts the flow and shows the run in the terminal."""

import logging

import httpx

from flows.retrain import Watch, retrain, watcher
from refit.core.errors import PipelineError, ServerLostError


def start(watch: Watch, *, until: str | None, force: bool) -> None:
    """Run `retrain` in this process; PREFECT_API_URL must be set.

    Raises:
        PipelineError: a step failed, with its message.
        ServerLostError: the server ended during the run.
    """
    token = watcher.set(watch)
    logging.raiseExceptions = False  # Prefect would print each batch of log lines that it lost
    try:
        state = retrain(until=until, force=force, return_state=True)
    except (httpx.HTTPError, RuntimeError) as error:
        if not _is_lost_connection(error):
            raise
        raise ServerLostError(
            "the Prefect server was lost while the run was at work",
            got=str(error),
            do="run this again, or without the server (`refit run --no-server`): what was done is"
            " kept",
        ) from error
    finally:
        watcher.reset(token)
    if not state.is_completed():
        raise PipelineError(state.message or f"the run ended as {state.name}")


def _is_lost_connection(error: Exception) -> bool:
    """Prefect wraps the error of its first request in a RuntimeError."""
    return isinstance(error, httpx.HTTPError) or isinstance(error.__cause__, httpx.HTTPError)
