"""A user's module is tried on one batch first, and each kind of mistake has its own error."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from refit.core.errors import ConfigError, TrainingError
from refit.data.prepared import Arrays
from refit.models import catalog, module, module_checks
from refit.models.model import Data, Session, Shape
from refit.models.module import Wrapped
from refit.tasks.catalog import find as find_task
from refit.training import loop
from refit.training.loop_params import LoopParams

SETTINGS = LoopParams(
    epochs=1,
    patience=1,
    batch_size=64,
    learning_rate=0.01,
    warmup_share=0.1,
    weight_decay=0.1,
    clip_norm=1.0,
)


def arrays(rows: int) -> Arrays:
    rng = np.random.default_rng(rows)
    numeric = rng.normal(size=(rows, 3)).astype(np.float32)
    target = (numeric[:, 0] > 0).astype(np.float32)
    numeric[rng.random(numeric.shape) < 0.1] = np.nan
    return Arrays(
        numeric=numeric,
        categorical=rng.integers(0, 5, size=(rows, 2)).astype(np.int32),
        target=target,
    )


DATA = Data(
    task=find_task("binary"),
    train=arrays(256),
    validation=arrays(128),
    cardinalities=(5, 5),
    classes=0,
)


class Good(nn.Module):
    """What every broken module below is a variation of."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.table = nn.Embedding(shape.cardinalities[0], 4)
        self.first = nn.Linear(shape.numeric + 4, 8)
        self.last = nn.Linear(8, shape.outputs)

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        joined = torch.cat([torch.nan_to_num(numeric), self.table(categorical[:, 0])], dim=1)
        outputs: Tensor = self.last(torch.relu(self.first(joined)))
        return outputs


class Flat(Good):
    """Outputs (B,) instead of (B, 1)."""

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        return super().forward(numeric, categorical).squeeze(1)


class Unfilled(Good):
    """Lets NaN through."""

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        return super().forward(numeric, categorical) + 0 * numeric.sum(dim=1, keepdim=True)


class Unreached(Good):
    """Has a layer that `forward` does not use."""

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape)
        self.spare = nn.Linear(2, 2)


class Detached(Good):
    """Cuts the gradient off before the last layer."""

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        joined = torch.cat([torch.nan_to_num(numeric), self.table(categorical[:, 0])], dim=1)
        outputs: Tensor = self.last(torch.relu(self.first(joined)).detach())
        return outputs


class Climbing(Good):
    """Turns its gradient round, so each step makes the loss larger."""

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        outputs = super().forward(numeric, categorical)
        return 2 * outputs.detach() - outputs


class Mixing(Good):
    """A row's outputs depend on the batch."""

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        outputs = super().forward(numeric, categorical)
        return outputs - outputs.mean()


class Branching(Good):
    """Takes another path for small batches, which tracing does not see."""

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        outputs = super().forward(numeric, categorical)
        return outputs + 1 if numeric[0, 0] > 0 else outputs


class Unknown(Good):
    """Uses an operation that ONNX lacks."""

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        outputs = super().forward(numeric, categorical)
        return torch.special.i1e(outputs)


@torch.jit.script  # type: ignore[untyped-decorator]
def running_sum(outputs: Tensor) -> Tensor:
    """A loop that the exporter keeps."""
    total = outputs * 0
    for _ in range(outputs.size(0)):
        total = total + outputs
    return outputs + total * 0


class Looping(Good):
    """Exports a loop."""

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        outputs: Tensor = running_sum(super().forward(numeric, categorical))
        return outputs


class Raising(Good):
    """Asks for a column that is not there."""

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        return super().forward(numeric, categorical) + numeric[:, [99]]


def check(kind: Callable[[Shape], nn.Module]) -> str:
    torch.manual_seed(1)
    wrapped = Wrapped(kind(DATA.shape))
    return module_checks.check(wrapped, DATA, SETTINGS, level="any-x86", where=__file__)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Looping, r"holds what a bundle may not\. Got the operator Loop"),
        (Flat, r"wrong shape\. Got \(64,\)\. Expected \(64, 1\)"),
        (Unfilled, r"not finite\. Got NaN or infinity in \d+ of 64 rows.*nan_to_num"),
        (Unreached, r"no gradient reaches 2 .* Got spare\.weight, spare\.bias"),
        (Detached, r"no gradient reaches 3 .* Got table\.weight, first\.weight, first\.bias"),
        (Climbing, r"the loss of one batch does not fall\. Got 0\.\d+ before"),
        (Mixing, r"a row's outputs depend on the other rows"),
        (Branching, r"the exported module computes something else"),
        (Unknown, r"cannot be exported to ONNX"),
        (Raising, r"test_module_checks\.py, line \d+: the module fails on a batch.*IndexError"),
    ],
)
def test_each_mistake_has_its_error(kind: type[Good], message: str) -> None:
    """What is wrong, what was got, what was expected, and how to fix it, before any epoch."""
    with pytest.raises(TrainingError, match=message) as caught:
        check(kind)
    assert "To " in str(caught.value)


def test_a_sound_module_is_left_as_it_was() -> None:
    """The checks change neither the weights nor the state of torch's generator."""
    torch.manual_seed(1)
    wrapped = Wrapped(Good(DATA.shape))
    before = {name: tensor.clone() for name, tensor in wrapped.state_dict().items()}
    state = torch.get_rng_state()
    module_checks.check(wrapped, DATA, SETTINGS, level="any-x86", where=__file__)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], t) for name, t in wrapped.state_dict().items())


@pytest.mark.parametrize(
    ("asked", "promised"),
    [("any-x86", "threads"), ("threads", "threads"), ("machine", "machine")],
)
def test_no_more_is_promised_than_holds(asked: str, promised: str) -> None:
    """The processor may matter to a user's operations, so `any-x86` is never promised."""
    torch.manual_seed(1)
    wrapped = Wrapped(Good(DATA.shape))
    level = module_checks.check(wrapped, DATA, SETTINGS, level=asked, where=__file__)  # type: ignore[arg-type]
    assert level == promised


def test_bits_that_depend_on_threads_lower_the_level(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A module whose gradients differ between one and four threads gets the level `machine`."""

    class Uneven(Good):
        def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
            scale = 1 + torch.get_num_threads() / 1000
            return super().forward(numeric, categorical) * scale

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        wrapped = Wrapped(Uneven(DATA.shape))
        level = module_checks.check(wrapped, DATA, SETTINGS, level="threads", where=__file__)
    finally:
        torch.set_num_threads(threads)
    assert level == "machine"
    assert "depend on the number of threads" in capsys.readouterr().out


def of_file(**content: object) -> ModuleType:
    file = ModuleType("own.model")
    file.__file__ = "src/own/model.py"
    vars(file).update(content)
    return file


def test_a_file_must_define_a_module() -> None:
    """`Model` must be there and be a torch module; `Params`, where it is, the loop's parameters."""
    with pytest.raises(ConfigError, match=r"src/own/model\.py: .* must define Model.*Module"):
        module.UserModel("model", of_file())
    with pytest.raises(ConfigError, match=r"must define Params\. Got .*int"):
        module.UserModel("model", of_file(Model=Good, Params=int))


def test_an_unknown_model_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error lists what `train.model` may be."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"`train\.model`.*Got boosting.*network, boosted, or"):
        catalog.find("boosting", "own")
    sys.modules.pop("own", None)


def test_a_user_model_is_saved_and_loaded(tmp_path: Path) -> None:
    """After a round trip through its files, the model predicts the same bytes."""

    class Model(Good):
        def __init__(self, shape: Shape, settings: LoopParams) -> None:
            super().__init__(shape)
            self.rate = settings.learning_rate

    user = module.UserModel("model", of_file(Model=Model))
    session = Session(
        seed=3,
        level="any-x86",
        threads=1,
        checkpoints=tmp_path / "checkpoints",
        log=lambda *_: None,
        stop=lambda: None,
        train=loop.train,
    )
    fitted = user.fit(DATA, SETTINGS, session)
    fitted.save(tmp_path)
    described = fitted.describe()
    again = user.load(tmp_path, DATA.task, described)
    assert again.predict(DATA.validation).tobytes() == fitted.predict(DATA.validation).tobytes()
    assert again.describe() == fitted.describe()
