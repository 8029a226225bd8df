"""Section `promote` of params.yaml: the policy that every candidate is judged by.

Every metric is a loss of single rows, so lower is always better. Tolerances without a unit are
shares of the other model's loss, so that they suit any task and any scale.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from refit.core import params, paths
from refit.core.params import param
from refit.evaluation.baselines import BASELINES, BaselineName
from refit.tasks.catalog import ROW_LOSSES

SIGNED = "signed"


@dataclass(frozen=True, kw_only=True)
class PromoteParams:
    """Section `promote` of params.yaml: the policy."""

    metric: str = param("row-wise loss that decides; lower is better", choices=ROW_LOSSES)
    minimum_effect: float = param("smallest gain in that loss that matters", minimum=0)
    confidence: float = param("confidence of the interval", minimum=0.5, maximum=0.999)
    resamples: int = param("bootstrap samples", minimum=100, maximum=100_000)
    seed: int = param("seed of the bootstrap", minimum=0)
    neighbours: int = param("successive blocks that are drawn together", minimum=1, maximum=10_000)
    seed_deviation: float = param(
        "standard deviation of the loss between retrains that differ by their seed", minimum=0
    )
    baselines: tuple[str, ...] = param("baselines that must be beaten", choices=BASELINES)
    linear_deficit: float = param("share of its loss allowed behind linear", minimum=0, maximum=10)
    boosted_deficit: float = param(
        "share of its loss allowed behind boosted", minimum=0, maximum=10
    )
    calibration_limit: float = param("largest expected calibration error", minimum=0, maximum=1)
    slice_tolerance: float = param("share of its loss that a slice may lose", minimum=0, maximum=10)
    smallest_slice: int = param("rows that a slice needs to be judged by itself", minimum=1)
    found_slices: int = param("slices searched for on the validation part", minimum=0, maximum=20)
    groups: tuple[str, ...] = param("columns whose groups must be served about equally well")
    group_tolerance: float = param(
        "share of the others' loss that a group may lie above it", minimum=0, maximum=10
    )
    latency_ratio: float = param(
        "longest answer, as multiple of the champion's", minimum=1, maximum=1e6
    )
    size_ratio: float = param(
        "largest model, as multiple of the champion's", minimum=1, maximum=1e6
    )
    champion_days: int = param(
        "days after which a champion may be replaced by its equal; 0: never",
        minimum=0,
        maximum=36_500,
    )
    holdout_decisions: int = param("decisions that one holdout may take", minimum=1)
    approval: str = param(
        "who makes a candidate champion that passed: the policy alone, a person, or a person who"
        " signs",
        choices=("none", "person", SIGNED),
    )
    accept_several_results: bool = param(
        "decide even when the same inputs have given different results"
    )

    @property
    def asks_a_person(self) -> bool:
        """Whether a person answers before a candidate becomes champion."""
        return self.approval != "none"

    @property
    def asks_for_a_signature(self) -> bool:
        """Whether what a person enters in the ledger must be signed."""
        return self.approval == SIGNED

    @property
    def alpha(self) -> float:
        """The chance of a false proof in one direction."""
        return (1 - self.confidence) / 2

    def deficit(self, baseline: BaselineName) -> float:
        """The share of the baseline's loss that a candidate may stay behind it."""
        share: float = getattr(self, f"{baseline}_deficit")
        return share

    def overdue(self, since: datetime, now: datetime | None = None) -> int | None:
        """Days that a champion has been champion, where these are more than `champion_days`."""
        if not self.champion_days:
            return None
        days = ((now or datetime.now(UTC)) - since).days
        return days if days > self.champion_days else None


def read(root: Path) -> PromoteParams:
    """The policy of the project."""
    return params.read(PromoteParams, "promote", root / paths.PARAMS)
