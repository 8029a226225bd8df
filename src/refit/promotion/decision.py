"""A decision about one candidate, and the form in which it is recorded on its version."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from refit.promotion.gate import Outcome


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The outcome about a candidate, with its evidence."""

    outcome: Outcome
    version: int
    """Of the candidate."""
    champion_before: int | None
    """The champion that the candidate was compared with; None before the first."""
    sentence: str
    """The outcome with the numbers that decided it."""
    report: str
    """Sentence, gates and metrics as Markdown."""
    key: str
    """Names the decision by everything that it depends on."""
    evidence: Mapping[str, Any]
    cached: bool
    """Whether it was recorded before."""
    waits: bool = False
    """Whether the version waits for a person's answer."""
    reviewed: bool = False
    """Whether its review has been made, or cannot be made without the evidence."""

    def ask(self) -> str:
        """How a person answers; '' when the version does not wait."""
        if not self.waits:
            return ""
        answers = f"`refit approve {self.version}` or `refit reject {self.version} --why ...`"
        return f"Version {self.version} waits for a person: {answers}"

    def to_json(self) -> str:
        """What is recorded; the report is made from the evidence whenever it is read."""
        fields = ("outcome", "version", "champion_before", "sentence", "key", "evidence")
        return json.dumps({name: getattr(self, name) for name in fields}, sort_keys=True)
