"""A user's own model: one file in the dataset package, chosen by its name in `train.model`.

The file defines `Model`, a `torch.nn.Module`, and, if it wants, `Params`, a frozen dataclass that
extends `LoopParams` with hyperparameters of its own:

    @dataclass(frozen=True, kw_only=True)
    class Params(LoopParams):
        width: int = param("units of the hidden layer", minimum=1)

    class Model(nn.Module):
        def __init__(self, shape: Shape, settings: Params) -> None: ...

        def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
            # (B, F) float32 with NaN for missing, (B, C) int32 codes -> (B, shape.outputs)

The section of params.yaml that has the file's name holds the parameters. The engine gives the loop,
checkpoints, early stopping, tracking and the export. The bits of the module's operations may depend
on the processor, so no more than `threads` is promised, and that only where the threads were seen
not to matter.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from refit.core.errors import ConfigError
from refit.models import module_checks
from refit.models.fitted_torch import FittedTorch, described_shape, train_module
from refit.models.model import Data, Session, Shape
from refit.models.module_export import convert
from refit.tasks.task import Task
from refit.training import setup, weights
from refit.training.loop_params import LoopParams
from refit.training.trainable import Trainable
from refit.training.trained import Trained

if TYPE_CHECKING:
    from refit.serving.onnx_encoder import Features
    from refit.serving.onnx_graph import Graph


class Wrapped(Trainable):
    """The user's module with the scale of the target."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        """(B, F) float32, (B, C) int32 -> (B, K)."""
        outputs: Tensor = self.module(numeric, categorical)
        return outputs

    def decaying(self) -> list[nn.Parameter]:
        """Every matrix but those of embeddings."""
        tables = {
            id(parameter)
            for part in self.modules()
            if isinstance(part, nn.Embedding | nn.EmbeddingBag)
            for parameter in part.parameters()
        }
        return [p for p in self.parameters() if p.ndim >= 2 and id(p) not in tables]


class FittedModule(FittedTorch[Wrapped]):
    """A trained module of the user's."""

    def to_onnx(self, graph: "Graph", features: "Features") -> str:
        """The converted module between the encoder's features and the task's prediction."""
        from onnx import TensorProto

        inputs = {"numeric": features.numbers()}
        if self.shape.cardinalities:
            inputs["categorical"] = graph.cast(features.code_matrix(), TensorProto.INT32)
        (outputs,) = graph.embed(convert(self.module, self.shape), inputs)
        return self.task.to_onnx(graph, outputs, self.scale)


class UserModel:
    """`train.model: NAME`, where src/DATASET/NAME.py holds the module."""

    def __init__(self, name: str, file: ModuleType) -> None:
        self.name = name
        self._file = file
        self._module: type[nn.Module] = _attribute(file, "Model", nn.Module)
        self.params: type[LoopParams] = LoopParams
        if hasattr(file, "Params"):
            self.params = _attribute(file, "Params", LoopParams)

    def fit(
        self, data: Data, settings: LoopParams, session: Session, *, length: int | None = None
    ) -> FittedModule:
        """Check the module on one batch, then train it; resumes from the checkpoints."""
        setup.prepare(session.seed, session.level, session.threads)
        module = self._make(data.shape, settings)
        where = str(self._file.__file__)
        level = module_checks.check(module, data, settings, level=session.level, where=where)
        return FittedModule(
            module=module,
            shape=data.shape,
            settings=settings,
            task=data.task,
            trained=train_module(module, data, settings, session, length),
            level=level,
        )

    def load(self, folder: Path, task: Task, description: Mapping[str, Any]) -> FittedModule:
        """The module that `save` and `describe` left."""
        shape = described_shape(description)
        settings = self.params(**description["settings"])
        module = self._make(shape, settings)
        weights.load(folder, module)
        return FittedModule(
            module=module,
            shape=shape,
            settings=settings,
            task=task,
            trained=Trained.from_description(description),
            level=description["level"],
        )

    def _make(self, shape: Shape, settings: LoopParams) -> Wrapped:
        with module_checks.user_errors("the module cannot be made", str(self._file.__file__)):
            return Wrapped(self._module(shape, settings))


def find(dataset: str, name: str) -> UserModel:
    """The user's model of that name.

    Raises:
        ConfigError: there is no such file, or it defines no `Model`.
    """
    try:
        file = importlib.import_module(f"{dataset}.{name}")
    except ModuleNotFoundError as error:
        if error.name not in {dataset, f"{dataset}.{name}"}:
            raise
        raise ConfigError(
            "the model is unknown",
            where="params.yaml, `train.model`",
            got=name,
            expected="network, boosted, or a file of the dataset",
            do=f"correct the name, or write src/{dataset}/{name}.py (see docs/models.md)",
        ) from error
    return UserModel(name, file)


def _attribute(file: ModuleType, name: str, base: type) -> Any:
    attribute = getattr(file, name, None)
    if not (isinstance(attribute, type) and issubclass(attribute, base)):
        raise ConfigError(
            f"the model's file must define {name}",
            where=str(file.__file__),
            got="nothing of that name" if attribute is None else repr(attribute),
            expected=f"a class {name} that extends {base.__name__}",
            do="see docs/models.md for an example",
        )
    return attribute
