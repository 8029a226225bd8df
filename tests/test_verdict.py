"""The sentence of a decision: the comparison, on how many rows, and why it is no promotion."""

from typing import Any

import pytest

from refit.promotion import report
from refit.promotion.gate import Outcome

EVIDENCE: dict[str, Any] = {
    "metric": "log_loss",
    "rival": "version 1",
    "difference": -0.003,
    "lower": -0.007,
    "upper": 0.0005,
    "rows": 1500,
    "blocks": 30,
    "minimum_effect": 0.001,
    "minimum_detectable": 0.006,
    "approval": "none",
    "gates": [],
}
WORSE = "log_loss worse by 0.00300 [-0.00050, 0.00700] than version 1 on 1,500 rows in 30 blocks"
BETTER = "log_loss better by 0.00300 [-0.00050, 0.00700] than version 1 on 1,500 rows in 30 blocks"
GAIN = {"difference": 0.003, "lower": -0.0005, "upper": 0.007}
NOT_IMPROVED = {"gates": [{"name": "improvement", "result": "fail", "binding": True}]}


@pytest.mark.parametrize(
    ("outcome", "changed", "sentence"),
    [
        (
            "not proven",
            {},
            f"Version 2 is not proven better: {WORSE}; a difference of 0.00600 could have been proven.",
        ),
        (
            "reject",
            NOT_IMPROVED,
            f"Version 2 is rejected: {WORSE}, short of the minimum effect 0.001.",
        ),
        ("promote", GAIN, f"Version 2 is promoted to champion: {BETTER}."),
        (
            "promote",
            GAIN | {"approval": "person"},
            f"Version 2 has earned promotion and waits for a person: {BETTER}.",
        ),
        (
            "reject",
            {"difference": None},
            "Version 2 is rejected: it could not be compared with version 1.",
        ),
    ],
)
def test_the_sentence(outcome: Outcome, changed: dict[str, Any], sentence: str) -> None:
    """A loss is stated as a loss: the bounds of its interval change their sign and their order."""
    assert report.sentence(outcome, 2, EVIDENCE | changed) == sentence
