"""The names of the baselines, in a module that imports neither scikit-learn nor torch."""

from typing import Literal, get_args

BaselineName = Literal["linear", "boosted"]
BASELINES: tuple[BaselineName, ...] = get_args(BaselineName)


def prediction_name(baseline: str, candidate: str) -> str:
    """The name of a baseline's predictions, next to those of a candidate.

    A candidate that has the name of a baseline (`boosted`) keeps it.
    """
    return f"baseline {baseline}" if baseline == candidate else baseline
