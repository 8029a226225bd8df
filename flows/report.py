"""The report of a run. Prefect shows it as an artifact."""

from refit.workflow.step_result import StepResult


def report(results: list[StepResult], error: str = "") -> str:
    """The run as Markdown: a row for each step, then the decision or the error."""
    rows = [
        f"| {r.name} | {r.outcome} | {r.seconds:.1f} | {r.reason or 'nothing had changed'} |"
        for r in results
    ]
    table = ["| Step | State | Seconds | Why |", "| --- | --- | ---: | --- |", *rows]
    end = f"**Failed.**\n\n```\n{error}\n```\n" if error else results[-1].report
    return "\n".join([*table, "", end])
