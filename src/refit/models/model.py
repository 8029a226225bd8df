"""The model protocol: what a model must offer to be trained, evaluated, exported and registered.

A built-in model is one file in this folder and a line in `refit.models.catalog`. A user's model is
one file in the dataset package with a `torch.nn.Module`; see `refit.models.module`.

Shapes: N rows, F numeric and C categorical features, K classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from refit.core.determinism import Level
from refit.data import prepared
from refit.data.prepared import Arrays
from refit.tasks.catalog import find as find_task
from refit.tasks.task import Task

if TYPE_CHECKING:
    from refit.serving.onnx_encoder import Features
    from refit.serving.onnx_graph import Graph
    from refit.training.progress import Log
    from refit.training.stop_signals import Stop
    from refit.training.trained import Trained


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes that a model is built for."""

    numeric: int
    """F."""
    cardinalities: tuple[int, ...]
    """Codes of each of the C categorical features: 0 unknown, 1 missing, then the vocabulary."""
    outputs: int
    """1, or the number of classes."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """What a model is fitted on."""

    task: Task
    train: Arrays
    validation: Arrays
    """Stops the training; no weight is fitted on it."""
    cardinalities: tuple[int, ...]
    classes: int
    """K; 0 where the task has no classes."""

    @classmethod
    def read(cls, folder: Path) -> "Data":
        """What preprocessing left in data/prepared, mapped and not copied."""
        roles, encoder = prepared.read_description(folder)
        return cls(
            task=find_task(roles.task),
            train=prepared.map_part(folder, "train"),
            validation=prepared.map_part(folder, "validation"),
            cardinalities=encoder.cardinalities,
            classes=len(encoder.classes),
        )

    @property
    def shape(self) -> Shape:
        """The sizes that the model must have."""
        return Shape(
            numeric=self.train.numeric.shape[1],
            cardinalities=self.cardinalities,
            outputs=self.task.outputs(self.classes),
        )


@dataclass(frozen=True, kw_only=True)
class Session:
    """How a fit runs; apart from seed and level it may not change a byte."""

    seed: int
    level: Level
    threads: int
    checkpoints: Path
    """Folder of this very computation; a model without steps leaves it alone."""
    log: "Log"
    stop: "Stop"
    train: "Callable[..., Trained]"
    """The loop for torch modules, `refit.training.loop.train`.

    It is handed in, so that a stage that only loads a model does not depend on the loop.
    """


class Fitted(Protocol):
    """A fitted model."""

    @property
    def level(self) -> Level:
        """What its bytes depend on; may be less than the session's level, never more."""

    @property
    def length(self) -> int:
        """How long the training was that validation chose: epochs, or boosting rounds."""

    def predict(self, arrays: Arrays) -> np.ndarray:
        """(N,) or (N, K) float32 predictions."""

    def save(self, folder: Path) -> None:
        """Write the model as plain data, the same bytes for the same model, without pickle."""

    def to_onnx(self, graph: "Graph", features: "Features") -> str:
        """Add the model to the graph, from encoded features; returns the name of the prediction."""

    def describe(self) -> dict[str, Any]:
        """What `load` needs beside the files, and how the fit went, as plain values."""


class Model(Protocol):
    """A kind of model, as `train.model` names it."""

    @property
    def name(self) -> str:
        """As `train.model` names it."""

    @property
    def params(self) -> type[Any]:
        """The dataclass of its section in params.yaml."""

    def fit(
        self, data: Data, settings: Any, session: Session, *, length: int | None = None
    ) -> Fitted:
        """Fit on the training part.

        Args:
            data: what to fit on.
            settings: the model's parameters.
            session: how to run.
            length: of the training; None to let the validation part choose it.

        Raises:
            DataError: the data cannot be fitted.
            TrainingError: the optimisation failed.
        """

    def load(self, folder: Path, task: Task, description: Mapping[str, Any]) -> Fitted:
        """The model that `save` and `describe` left.

        Raises:
            DataError: a file is missing or damaged.
        """
