"""What becomes of a step of a run; needed wherever results are shown, so it imports little."""

from dataclasses import dataclass

from refit.pipeline.stage_output import Outcome


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What became of a step."""

    name: str
    outcome: Outcome
    reason: str
    seconds: float
    report: str = ""
    """Markdown; only from the step `promote`."""
    waiting: int | None = None
    """The version that waits for a person's answer; only from the step `promote`."""
    ask: str = ""
    """How a person can answer."""
