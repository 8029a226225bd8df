"""The report of a run. Prefect shows it as an artifact."""

from refit.core.printable import markdown, printable
from refit.workflow.step_result import StepResult


def report(results: list[StepResult], error: str = "") -> str:
    """The run as Markdown: a row for each step, then the decision or the error."""
    rows = [
        f"| {r.name} | {r.outcome} | {r.seconds:.1f} |"
        f" {markdown(r.reason) or 'nothing had changed'} |"
        for r in results
    ]
    table = ["| Step | State | Seconds | Why |", "| --- | --- | ---: | --- |", *rows]
    block = printable(error).replace("```", "'''")
    end = f"**Failed.**\n\n```\n{block}\n```\n" if error else results[-1].report
    return "\n".join([*table, "", end])
