"""A person's answer inside Prefect: the run is suspended with a form, and goes on when answered.

Suspended, it has no process; the answer starts one, also after server and worker were restarted. It
begins at the top, so what it must not do again is left out. The ledger decides whose answer stands:
a run whose version was answered elsewhere, or overtaken by a newer one, ends with a state that says
so.
"""

from typing import Literal

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.states import Completed, Failed
from pydantic import Field

from refit.core.errors import RefitError
from refit.promotion import approval
from refit.workspace.project import find_root

KEY = "version-"
"""Names a suspension by the version that waits."""
OVERTAKEN = "Overtaken"
UNKNOWN = "somebody in Prefect"
FORM = """\
**Shall version {number} become champion?**

{sentence}

`refit approve {number}` or `refit reject {number} --why ...` answer as well. The first one stands.
"""


class Answer(RunInput):
    """The form that Prefect shows; nobody is asked to prove who he is."""

    answer: Literal["approve", "reject"]
    why: str = Field(default="", description="The reason, kept in the ledger for good.")
    who: str = Field(default="", description="Who answers, as the ledger is to name them.")


def deployed() -> bool:
    """Whether a deployment made this run: another one cannot be suspended."""
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.deployment_id)


def asked() -> int | None:
    """The version that this run has asked about before it was suspended; None when it has not."""
    context = FlowRunContext.get()
    keys = context.flow_run.empirical_policy.pause_keys if context and context.flow_run else None
    numbers = [int(key.removeprefix(KEY)) for key in keys or () if key.startswith(KEY)]
    return numbers[0] if numbers else None


def ask(number: int, sentence: str) -> State:
    """Suspend this run until somebody has answered, then do what was answered.

    Called again in the process that goes on, it returns the answer's outcome.
    """
    form = Answer.with_initial_data(description=FORM.format(number=number, sentence=sentence))
    given = suspend_flow_run(wait_for_input=form, key=f"{KEY}{number}")
    root = find_root()
    told = approval.answered(root, number)
    if told:
        return Completed(name=OVERTAKEN, message=told)
    who = given.who.strip() or UNKNOWN
    try:
        if given.answer == "approve":
            move = approval.approve(root, number, why=given.why, who=who)
        else:
            move = approval.reject(root, number, why=given.why, who=who)
    except RefitError as error:
        return Failed(message=str(error))
    return Completed(message=move.sentence)


def tell() -> int:
    """End the suspended runs whose version no longer waits, and say why; returns how many.

    Where the server cannot be asked, the next run of a deployment does it.
    """
    try:
        return _tell()
    except httpx.HTTPError:
        return 0


def _tell() -> int:
    paused = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED]))
    ended = 0
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(state=paused)):
            key = str(run.state.state_details.pause_key) if run.state else ""
            number = key.removeprefix(KEY)
            told = approval.answered(find_root(), int(number)) if number.isdigit() else ""
            if told:
                over: State[None] = Completed(name=OVERTAKEN, message=told)
                client.set_flow_run_state(run.id, over, force=True)
                ended += 1
    return ended
