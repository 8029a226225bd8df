"""What every model that is trained by the loop has in common: fit, predict, save and describe."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from refit.core.determinism import Level
from refit.data.prepared import Arrays
from refit.models.model import Data, Session, Shape
from refit.tasks.task import Task
from refit.training import inference, weights
from refit.training.loop_params import LoopParams
from refit.training.trainable import Trainable
from refit.training.trained import Trained

Module = TypeVar("Module", bound=Trainable)


@dataclass(frozen=True, kw_only=True)
class FittedTorch(Generic[Module]):
    """A trained module; a subclass adds `to_onnx`."""

    module: Module
    shape: Shape
    settings: LoopParams
    task: Task
    trained: Trained
    level: Level

    @property
    def length(self) -> int:
        """The best epoch."""
        return self.trained.best_epoch

    @property
    def scale(self) -> tuple[float, float]:
        """Location and spread of the training target."""
        return float(self.module.target_mean), float(self.module.target_std)

    def predict(self, arrays: Arrays) -> np.ndarray:
        """(N,) or (N, K) float32."""
        return inference.predict(self.module, self.task, arrays)

    def save(self, folder: Path) -> None:
        """Write weights.safetensors."""
        weights.save(folder, self.module)

    def describe(self) -> dict[str, Any]:
        """The module's shape, its parameters, its level, and the losses of each epoch."""
        return {
            "level": self.level,
            "shape": asdict(self.shape),
            "settings": asdict(self.settings),
            **self.trained.describe(),
        }


def train_module(
    module: Trainable,
    data: Data,
    settings: LoopParams,
    session: Session,
    length: int | None,
) -> Trained:
    """Train the module in place; resumes from the session's checkpoints."""
    return session.train(
        module,
        data.train,
        data.validation,
        task=data.task,
        settings=settings,
        seed=session.seed,
        checkpoints=session.checkpoints,
        log=session.log,
        stop=session.stop,
        length=length,
    )


def described_shape(description: Mapping[str, Any]) -> Shape:
    """The shape that `describe` gave."""
    sizes = description["shape"]
    return Shape(**{**sizes, "cardinalities": tuple(sizes["cardinalities"])})
