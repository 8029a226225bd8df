"""A figure with its interval, the value that every table and drawing of the review shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its interval; None where it is not defined."""

    value: float | None
    lower: float | None = None
    upper: float | None = None


def from_json(stored: Mapping[str, Any] | None) -> Estimate:
    """An estimate as metrics.json and slices.json store it; undefined where there is none."""
    return Estimate(**stored) if stored else Estimate(value=None)
