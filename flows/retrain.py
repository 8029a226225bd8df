"""The flow `retrain`: ingest, the stages of dvc.yaml and the promotion, as Prefect tasks.

A task's final state says what became of its step: Cached (nothing had changed), Restored (DVC had
the result) or Completed (it ran). Prefect's result cache is off: the only cache is DVC's. A run of
a deployment is suspended when a person must answer (flows.approval).
"""

from collections.abc import Callable
from contextvars import ContextVar

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows import approval
from flows.report import report
from refit.core.errors import RefitError
from refit.workflow.step_result import StepResult
from refit.workflow.steps import Step, steps
from refit.workspace.project import find_root

Watch = Callable[[str, str | StepResult], None]
"""Takes a step's name with a line of its output, or with its result."""

watcher: ContextVar[Watch | None] = ContextVar("watcher", default=None)
"""Also takes the run's output and results: the terminal, when the command line started the flow."""


@flow(name="retrain", persist_result=False)
def retrain(until: str | None = None, force: bool = False) -> State:
    """Bring the registered model up to date with its data.

    Args:
        until: ingest up to this partition first; `next` ingests one more, `latest` all.
        force: run every stage, changed or not.
    """
    waiting = approval.asked()
    if waiting is not None:
        return approval.ask(waiting, "")
    results: list[StepResult] = []
    error = _run_steps(results, until=until, force=force)
    create_markdown_artifact(report(results, error), key="report", description="What this run did")
    if error:
        return Failed(message=error)
    if approval.deployed():
        approval.end_overtaken()
        if results[-1].waiting is not None:
            return approval.ask(results[-1].waiting, results[-1].reason)
    return Completed(name=_overall(results), message=results[-1].reason)


def _run_steps(results: list[StepResult], *, until: str | None, force: bool) -> str:
    """Run the steps one after another, each as a task; returns the error, '' without one."""
    try:
        for step in steps(find_root(), until=until, force=force):
            step_task = execute.with_options(name=step.name, task_run_name=step.name)
            state = step_task(step, results, return_state=True)
            if not state.is_completed():
                message = state.message or state.name or "no message"
                is_named = message.startswith(f"stage {step.name} ")
                return message if is_named else f"{step.name}: {message}"
    except RefitError as error:
        return str(error)
    return ""


@task(cache_policy=NO_CACHE, persist_result=False)
def execute(step: Step, results: list[StepResult]) -> State:
    """Run one step; each line of its output goes to the run's log."""
    logger, watch = get_run_logger(), watcher.get()

    def on_output(line: str) -> None:
        logger.info(line)
        if watch:
            watch(step.name, line)

    try:
        result = step.run(on_output)
    except RefitError as error:
        return Failed(message=str(error))
    results.append(result)
    if watch:
        watch(step.name, result)
    return Completed(name=str(result.outcome), message=result.reason or "nothing had changed")


def _overall(results: list[StepResult]) -> str:
    return "Cached" if all(r.outcome == "Cached" for r in results) else "Completed"
