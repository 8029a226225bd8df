"""A person's answer in Prefect: the run is suspended with a form and continues with the answer.

A suspended run has no process. The answer starts one, even after a restart of server and worker.
The new process begins at the top of the flow, which skips to the answer. The ledger decides which
answer counts: the run ends as Overtaken when its version was answered elsewhere or replaced by a
newer one.
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
from refit.core.printable import markdown
from refit.promotion import approval
from refit.workspace.project import find_root

KEY = "version-"
"""Begins the key of a suspension; the number of the version that waits follows."""
OVERTAKEN = "Overtaken"
UNKNOWN = "unknown, in Prefect"
FORM = """\
**Shall version {number} become champion?**

{sentence}

`refit approve {number}` or `refit reject {number} --why ...` answer as well. The first one stands.
"""


class Answer(RunInput):
    """The form that Prefect shows. The name in it is not verified."""

    answer: Literal["approve", "reject"]
    why: str = Field(default="", description="The reason, kept in the ledger for good.")
    who: str = Field(default="", description="Who answers, as the ledger is to name them.")


def deployed() -> bool:
    """Whether a deployment started this run; other runs cannot be suspended."""
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.deployment_id)


def asked() -> int | None:
    """The version that this run asked about before it was suspended; None if it did not."""
    context = FlowRunContext.get()
    keys = context.flow_run.empirical_policy.pause_keys if context and context.flow_run else None
    numbers = [int(key.removeprefix(KEY)) for key in keys or () if key.startswith(KEY)]
    return numbers[0] if numbers else None


def ask(number: int, sentence: str) -> State:
    """Suspend this run until a person answers, then carry the answer out.

    The first call ends the process. The process that continues calls it again and gets the state
    that the answer leads to.
    """
    form = Answer.with_initial_data(
        description=FORM.format(number=number, sentence=markdown(sentence))
    )
    answer = suspend_flow_run(wait_for_input=form, key=f"{KEY}{number}")
    root = find_root()
    earlier = approval.answered(root, number)
    if earlier:
        return Completed(name=OVERTAKEN, message=earlier)
    who = answer.who.strip() or UNKNOWN
    try:
        if answer.answer == "approve":
            move = approval.approve(root, number, why=answer.why, who=who, in_form=True)
        else:
            move = approval.reject(root, number, why=answer.why, who=who, in_form=True)
    except RefitError as error:
        return Failed(message=str(error))
    return Completed(message=move.sentence)


def end_overtaken() -> int:
    """End the suspended runs whose version no longer waits; returns how many.

    If the server cannot be reached, the next run of a deployment does it.
    """
    try:
        return _end_overtaken()
    except httpx.HTTPError:
        return 0


def _end_overtaken() -> int:
    paused = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED]))
    ended = 0
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(state=paused)):
            key = str(run.state.state_details.pause_key) if run.state else ""
            number = key.removeprefix(KEY)
            answer = approval.answered(find_root(), int(number)) if number.isdigit() else ""
            if answer:
                state: State[None] = Completed(name=OVERTAKEN, message=answer)
                client.set_flow_run_state(run.id, state, force=True)
                ended += 1
    return ended
