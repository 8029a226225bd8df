"""What the training loop returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from refit.core import files


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How the module came to the weights of its best epoch."""

    history: list[dict[str, float]]
    best_epoch: int
    steps: int
    resumed_from: int = 0
    """The step of the last checkpoint, 0 without one."""

    def describe(self) -> dict[str, Any]:
        """The same for a resumed training as for one that was not stopped."""
        return {
            "best_epoch": self.best_epoch,
            "steps": self.steps,
            "history": files.rounded(self.history),
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> "Trained":
        """What `describe` gave."""
        return cls(**{key: description[key] for key in ("history", "best_epoch", "steps")})
