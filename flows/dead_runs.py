"""Runs that Prefect still calls Running although their process has died.

A killed worker or a reboot leaves them so. Each holds the only slot of the deployment, and Prefect
would cancel every later run. They are set to Crashed when no run holds the project's lock.
"""

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.states import Crashed

ACTIVE = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


def crash_dead_runs() -> int:
    """Set every active run to Crashed; returns how many."""
    active = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=ACTIVE)))
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=active)
        for run in runs:
            crashed: State[None] = Crashed(
                message="its process had died before the servers were started again"
            )
            client.set_flow_run_state(run.id, crashed, force=True)
    return len(runs)
