"""How the command line starts a flow, with what it does shown in the terminal."""

from flows.retrain import Watch, retrain, watcher
from refit.core.errors import PipelineError


def start(watch: Watch, *, until: str | None, force: bool) -> None:
    """Run `retrain` in this process; PREFECT_API_URL must be set.

    Raises:
        PipelineError: a step failed, with its message.
    """
    token = watcher.set(watch)
    try:
        state = retrain(until=until, force=force, return_state=True)
    finally:
        watcher.reset(token)
    if not state.is_completed():
        raise PipelineError(state.message or f"the run ended as {state.name}")
