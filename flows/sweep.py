"""Runs that Prefect still calls Running though their process has died.

A killed worker or a reboot leaves them so, and with them the one slot of the deployment: every
later run would be cancelled. They are set to Crashed when no run holds the project's lock.
"""

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.states import Crashed

ALIVE = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


def sweep() -> int:
    """Set every run that claims to be alive to Crashed; returns how many."""
    chosen = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ALIVE)))
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=chosen)
        for run in runs:
            lost: State[None] = Crashed(
                message="its process had died before the servers were started again"
            )
            client.set_flow_run_state(run.id, lost, force=True)
    return len(runs)
