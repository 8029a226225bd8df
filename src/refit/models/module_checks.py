"""What a user's module must show on one batch before the first epoch.

Each check ends in a clear error: the outputs have the right shape and are finite, rows do not
depend on each other, gradients reach every parameter, the loss of one batch falls, and the ONNX
export computes the same. Afterwards the module and torch's generator are as before, so the checks
do not change a byte of the training.
"""

import contextlib
import copy
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from refit.core.determinism import Level, at_most
from refit.core.errors import TrainingError
from refit.evaluation.predictions import largest_difference
from refit.models import module_export
from refit.models.model import Data
from refit.serving import operators
from refit.training.inference import tensors
from refit.training.loop_params import LoopParams
from refit.training.optimizer import make_optimizer
from refit.training.trainable import Trainable

LISTED = 5
"""Operators that an error lists."""
STEPS = 30
"""Steps on one batch within which its loss must fall."""
TOLERANCE = 1e-4
"""Largest difference, relative above 1, between two computations of the same outputs."""
SIZES = (1, 2, 7)
"""Sizes of batch at which the export is compared, besides the whole batch."""


@contextlib.contextmanager
def user_errors(what: str, where: str) -> Iterator[None]:
    """Turn an exception of the user's code into a TrainingError that names its line."""
    try:
        yield
    except (TrainingError, KeyboardInterrupt):
        raise
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == where]
        line = f", line {frames[-1].lineno}" if frames else ""
        raise TrainingError(
            what,
            where=f"{where}{line}",
            got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            expected="`Model(shape, settings)` and `forward(numeric, categorical)`",
            do="correct the module; docs/models.md describes what it is given",
        ) from error


def check(
    module: Trainable, data: Data, settings: LoopParams, *, level: Level, where: str
) -> Level:
    """Try the module on the first batch; returns the level that may be promised for it.

    Raises:
        TrainingError: a check failed; the error says which, with what was got and expected.
    """
    state = torch.get_rng_state()
    numeric, categorical, target = tensors(data.train)
    trial = _Trial(
        module=copy.deepcopy(module),
        numeric=numeric[: settings.batch_size],
        categorical=categorical[: settings.batch_size],
        target=target[: settings.batch_size],
        data=data,
        where=where,
    )
    trial.module.learn_scale(data.task, target)
    with user_errors("the module fails on a batch", where):
        trial.require_shape()
        trial.require_independent_rows()
        trial.require_export()
        trial.require_gradients()
        promised = trial.promised(level)
        trial.require_falling_loss(settings)
    torch.set_rng_state(state)
    return promised


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """A copy of the module and one batch."""

    module: Trainable
    numeric: Tensor
    """(B, F) float32."""
    categorical: Tensor
    """(B, C) int32."""
    target: Tensor
    """(B,)"""
    data: Data
    where: str

    def require_shape(self) -> None:
        """Outputs are (B, K) and finite."""
        self.module.train()
        outputs = self.module(self.numeric, self.categorical)
        expected = (len(self.numeric), self.data.shape.outputs)
        if not isinstance(outputs, Tensor) or tuple(outputs.shape) != expected:
            shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise TrainingError(
                "the module's outputs have the wrong shape",
                where=self.where,
                got=str(shape),
                expected=f"{expected}: a row for each of the batch, `shape.outputs` columns",
                do="correct the last layer; a single output is (B, 1), not (B,)",
            )
        wrong = int((~outputs.isfinite()).any(dim=1).sum())
        if wrong:
            missing = int(self.numeric.isnan().any(dim=1).sum())
            raise TrainingError(
                "the module's outputs are not finite",
                where=self.where,
                got=f"NaN or infinity in {wrong:,} of {len(self.numeric):,} rows",
                expected="finite numbers before the first step",
                do=f"replace missing numbers, which are NaN ({missing:,} rows of this batch have"
                " some), for example with torch.nan_to_num",
            )

    def require_independent_rows(self) -> None:
        """A row gets the same outputs in any batch."""
        self.module.eval()
        with torch.no_grad():
            together = self.module(self.numeric, self.categorical)[: SIZES[-1]]
            alone = self.module(self.numeric[: SIZES[-1]], self.categorical[: SIZES[-1]])
        difference = largest_difference(alone.numpy(), together.numpy())
        if not difference <= TOLERANCE:
            raise TrainingError(
                "a row's outputs depend on the other rows of its batch",
                where=self.where,
                got=f"a largest difference of {difference:.3g} between batches of"
                f" {len(self.numeric):,} and {SIZES[-1]} rows",
                expected=f"at most {TOLERANCE:g} when the module is in evaluation mode",
                do="do not compute statistics over the batch in evaluation mode",
            )

    def require_export(self) -> None:
        """ONNX Runtime computes the same from the exported module, at several sizes of batch."""
        try:
            model = module_export.convert(self.module, self.data.shape)
        except Exception as error:  # torch's exporters raise many kinds
            raise TrainingError(
                "the module cannot be exported to ONNX",
                where=self.where,
                got=" ".join(str(error).split())[:300],
                expected="operations that torch.onnx knows (operator set 18)",
                do="replace the operation that is named",
            ) from error
        refused = operators.refused(model)
        if refused:
            raise TrainingError(
                "the exported module holds what a bundle may not",
                where=self.where,
                got="; ".join(refused[:LISTED]),
                expected="operators without loops, branches and chance; docs/models.md lists them",
                do="replace the operations of the module that become these",
            )
        for size in (*SIZES, len(self.numeric)):
            numeric, categorical = self.numeric[:size], self.categorical[:size]
            with torch.no_grad():
                expected = self.module(numeric, categorical).numpy()
            got = module_export.run(model, numeric.numpy(), categorical.numpy())
            difference = (
                largest_difference(got, expected) if got.shape == expected.shape else np.inf
            )
            if not difference <= TOLERANCE:
                raise TrainingError(
                    "the exported module computes something else",
                    where=self.where,
                    got=f"a largest difference of {difference:.3g} on a batch of {size}",
                    expected=f"at most {TOLERANCE:g}",
                    do="avoid Python conditions and loops that depend on the batch",
                )

    def require_gradients(self) -> None:
        """Every parameter gets a finite gradient."""
        self._backward()
        unreached = [name for name, p in self.module.named_parameters() if p.grad is None]
        if unreached:
            names = [name.removeprefix("module.") for name in unreached]
            raise TrainingError(
                f"no gradient reaches {len(names)} of the module's parameters",
                where=self.where,
                got=", ".join(names[:8]),
                expected="every parameter used in `forward`, and no `detach`",
                do="use the parameters, or do not register them",
            )
        wrong = [n for n, p in self.module.named_parameters() if not bool(p.grad.isfinite().all())]  # type: ignore[union-attr]
        if wrong:
            raise TrainingError(
                "the gradient of the first batch is not finite",
                where=self.where,
                got=", ".join(name.removeprefix("module.") for name in wrong[:8]),
                expected="finite numbers",
                do="look for divisions by zero, logarithms and roots of numbers that can be zero",
            )

    def require_falling_loss(self, settings: LoopParams) -> None:
        """Some steps on one batch lower its loss."""
        optimizer = make_optimizer(self.module, weight_decay=0.0)
        before = self._loss_now()
        lowest = before
        for _ in range(STEPS):
            self._backward()
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), settings.clip_norm)
            optimizer.step(settings.learning_rate)
            lowest = min(lowest, self._loss_now())
            if lowest < before:
                return
        raise TrainingError(
            "the loss of one batch does not fall",
            where=self.where,
            got=f"{before:.6g} before, {lowest:.6g} at best after {STEPS} steps on the same batch",
            expected="a lower loss: a module that cannot learn one batch learns nothing",
            do="look for a part that cuts the gradient off, or lower `learning_rate`",
        )

    def promised(self, level: Level) -> Level:
        """`threads` where a step has the same bits on 1 and 4 threads, otherwise `machine`."""
        threads = torch.get_num_threads()
        if threads == 1 or level == "machine":  # one thread always, or nothing more was asked
            return at_most(level, "threads")
        one, four = self._gradients(1), self._gradients(4)
        torch.set_num_threads(threads)
        if all(torch.equal(a, b) for a, b in zip(one, four, strict=True)):
            return at_most(level, "threads")
        print("the module's bits depend on the number of threads, so its level is `machine`")
        return "machine"

    def _gradients(self, threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self._backward()
        return [p.grad for p in self.module.parameters() if p.grad is not None]

    def _backward(self) -> None:
        self.module.train()
        self.module.zero_grad(set_to_none=True)
        self._loss().backward()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _loss_now(self) -> float:
        self.module.eval()
        return float(self._loss())

    def _loss(self) -> Tensor:
        module = self.module
        outputs = module(self.numeric, self.categorical)
        return self.data.task.loss(outputs, self.target, module.target_mean, module.target_std)
