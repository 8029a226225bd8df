"""The report of a run, which Prefect shows as an artifact. It needs no Prefect to be made."""

from refit.workflow.steps import StepResult


def report(results: list[StepResult], fault: str = "") -> str:
    """The run as Markdown: a row for each step, then the decision, or what failed."""
    rows = [
        f"| {r.name} | {r.outcome} | {r.seconds:.1f} | {r.reason or 'nothing had changed'} |"
        for r in results
    ]
    table = ["| Step | State | Seconds | Why |", "| --- | --- | ---: | --- |", *rows]
    end = f"**Failed.**\n\n```\n{fault}\n```\n" if fault else results[-1].report
    return "\n".join([*table, "", end])
