"""Section `promote` of params.yaml: the policy that every candidate is judged by."""

from dataclasses import dataclass
from pathlib import Path

from refit.core import params
from refit.core.params import param


@dataclass(frozen=True, kw_only=True)
class PromoteParams:
    """Section `promote` of params.yaml: the policy."""

    metric: str = param(
        "row-wise loss that decides",
        choices=("log_loss", "brier", "squared_error", "absolute_error"),
    )
    minimum_effect: float = param("smallest gain in that loss that matters", minimum=0)
    confidence: float = param("confidence of the interval", minimum=0.5, maximum=0.999)
    resamples: int = param("bootstrap samples", minimum=100)
    seed: int = param("seed of the bootstrap", minimum=0)
    approval: str = param(
        "who makes a candidate champion that passed: the policy alone, or a person",
        choices=("none", "person"),
    )
    accept_several_results: bool = param(
        "decide even when the same inputs have given different results"
    )


def read(root: Path) -> PromoteParams:
    """The policy of the project."""
    return params.read(PromoteParams, "promote", root / "params.yaml")
