"""The training loop: seeded, deterministic on one CPU thread, resumable at every epoch.

AdamW with linear warm-up and cosine decay, gradient clipping, early stopping on the validation
loss. Each epoch draws its shuffle and its dropout from generators seeded by (seed, epoch), so a run
that was killed and resumed meets the same randomness as one that was not. Batches are slices of the
mapped arrays by a permutation; the last, incomplete batch is left to the next epoch's shuffle.
"""

import math
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from refit import checkpoint, model
from refit.checkpoint import Checkpoint
from refit.core.errors import DataError, TrainingError
from refit.core.params import param
from refit.dataset import Task
from refit.inference import evaluate, tensors
from refit.model import Network, NetworkConfig
from refit.prepared import Arrays

Log = Callable[[dict[str, float], int], None]
"""Takes metrics and the number of optimizer steps done."""

STEPS_PER_LOG = 10


@dataclass(frozen=True, kw_only=True)
class TrainParams:
    """Section `train` of params.yaml."""

    seed: int = param("seed of weights, shuffles and dropout", minimum=0)
    epochs: int = param("passes over the training rows, at most", minimum=1)
    patience: int = param("epochs without a better validation loss before stopping", minimum=1)
    batch_size: int = param("rows of a step", minimum=1)
    learning_rate: float = param("peak learning rate", minimum=0)
    warmup_share: float = param("share of all steps with a rising rate", minimum=0, maximum=1)
    weight_decay: float = param("AdamW's decay of matrices", minimum=0)
    clip_norm: float = param("largest norm of the whole gradient", minimum=0)
    hidden_width: int = param("units of a hidden layer", minimum=1)
    hidden_layers: int = param("hidden layers", minimum=1)
    embedding_width: int = param("numbers that stand for a category", minimum=1)
    bins: int = param("bins of the piecewise-linear encoding", minimum=1)
    dropout: float = param("share of hidden units dropped while training", minimum=0, maximum=0.95)


@dataclass
class _Progress:
    """What a run has reached; saved with every checkpoint."""

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_loss: float = math.inf
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The weights of the best epoch and how it came to them."""

    network: Network
    history: list[dict[str, float]]
    best_epoch: int
    steps: int
    resumed_from: int


def configure(
    train: Arrays, task: Task, cardinalities: tuple[int, ...], classes: int, settings: TrainParams
) -> NetworkConfig:
    """The network that fits the data's shape and the parameters."""
    return NetworkConfig(
        numeric=train.numeric.shape[1],
        cardinalities=cardinalities,
        outputs=classes if task == "multiclass" else 1,
        embedding_width=settings.embedding_width,
        bins=settings.bins,
        hidden_width=settings.hidden_width,
        hidden_layers=settings.hidden_layers,
        dropout=settings.dropout,
    )


def fit(
    train: Arrays,
    validation: Arrays,
    *,
    task: Task,
    config: NetworkConfig,
    settings: TrainParams,
    checkpoints: Path,
    log: Log,
) -> Trained:
    """Train until the epochs are done or validation stops improving; resume where one can.

    Raises:
        DataError: fewer training rows than one batch.
        TrainingError: the loss or the gradient is no longer finite.
    """
    if len(train) < settings.batch_size:
        raise DataError(
            "there are fewer training rows than one batch",
            where="params.yaml, `train.batch_size`",
            got=f"{len(train):,} rows, batches of {settings.batch_size:,}",
            do="make the batch smaller, or give training more partitions",
        )
    loop = _Loop(train, task, config, settings)
    resumed = loop.resume(checkpoints)
    while loop.more():
        started = time.monotonic()
        mean_loss = loop.epoch(log)
        seconds = time.monotonic() - started
        loop.judge(mean_loss, evaluate(loop.network, task, validation))
        loop.save(checkpoints)
        log(_epoch_metrics(loop.progress, len(train), seconds), loop.progress.step)
        print(_line(loop.progress, settings.epochs, seconds), flush=True)
    return loop.finish(resumed)


class _Loop:
    """Network, optimizer and progress of one run."""

    def __init__(
        self, train: Arrays, task: Task, config: NetworkConfig, settings: TrainParams
    ) -> None:
        self.settings, self.task = settings, task
        self.numeric, self.categorical, self.target = tensors(train)
        self.network = Network(config, torch.Generator().manual_seed(settings.seed))
        if task == "regression":
            self.network.standardise(train.target)
        self.optimizer = model.optimizer(
            self.network, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.best: dict[str, Tensor] = {}
        self.progress = _Progress()
        self.batches = len(train) // settings.batch_size

    def more(self) -> bool:
        """Whether another epoch is due."""
        progress = self.progress
        waited = progress.epoch - progress.best_epoch
        return progress.epoch < self.settings.epochs and waited < self.settings.patience

    def epoch(self, log: Log) -> float:
        """One pass over the shuffled training rows; returns the mean training loss."""
        progress, settings = self.progress, self.settings
        torch.manual_seed(_epoch_seed(settings.seed, progress.epoch))
        self.network.train()
        losses: list[float] = []
        bar = tqdm(
            _batches(len(self.target), settings, progress.epoch),
            total=self.batches,
            desc=f"epoch {progress.epoch + 1}/{settings.epochs}",
            unit="batch",
            disable=None,
            leave=False,
        )
        for rows in bar:
            rate = _rate(progress.step, self.batches * settings.epochs, settings)
            loss, norm = self._step(rows, rate)
            losses.append(loss)
            progress.step += 1
            if progress.step % STEPS_PER_LOG == 0:
                log({"loss": loss, "gradient_norm": norm, "learning_rate": rate}, progress.step)
                bar.set_postfix(loss=f"{loss:.4f}")
        progress.epoch += 1
        return math.fsum(losses) / len(losses)

    def _step(self, rows: Tensor, rate: float) -> tuple[float, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        logits = self.network(self.numeric[rows], self.categorical[rows])
        loss = self.network.loss(self.task, logits, self.target[rows])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip_norm)
        value, size = float(loss.detach()), float(norm)
        if not (math.isfinite(value) and math.isfinite(size)):
            raise self._broken(value, size, rate)
        self.optimizer.step()
        return value, size

    def _broken(self, loss: float, norm: float, rate: float) -> TrainingError:
        bad = [n for n, p in self.network.named_parameters() if not bool(p.isfinite().all())]
        early = self.progress.step < self.batches // 10 + 1
        cause = (
            f"the weights of {', '.join(bad)} had already overflowed"
            if bad
            else "the input or the initial weights"
            if early
            else "a learning rate that is too high"
        )
        return TrainingError(
            "training broke down: the loss or its gradient is not finite",
            where=f"epoch {self.progress.epoch + 1}, step {self.progress.step + 1}",
            got=f"loss {loss}, gradient norm {norm}, learning rate {rate:.3g}",
            expected="finite numbers",
            do=f"the likely cause is {cause}: lower `train.learning_rate` or `train.clip_norm`,"
            " and look for extreme values in data/validation.json",
        )

    def judge(self, train_loss: float, validation_loss: float) -> None:
        """Note the epoch, and keep its weights when no epoch was better."""
        progress = self.progress
        if not math.isfinite(validation_loss):
            raise self._broken(validation_loss, math.nan, self.optimizer.param_groups[0]["lr"])
        progress.history.append(
            {
                "epoch": progress.epoch,
                "train_loss": train_loss,
                "validation_loss": validation_loss,
                "learning_rate": self.optimizer.param_groups[0]["lr"],
            }
        )
        if validation_loss < progress.best_loss:
            progress.best_loss, progress.best_epoch = validation_loss, progress.epoch
            self.best = {name: t.clone() for name, t in self.network.state_dict().items()}

    def save(self, folder: Path) -> None:
        """Write a checkpoint of this epoch."""
        checkpoint.write(
            folder,
            Checkpoint(
                epoch=self.progress.epoch,
                model=self.network.state_dict(),
                best=self.best,
                optimizer=checkpoint.flatten(self.optimizer.state_dict()),
                progress=vars(self.progress),
            ),
        )

    def resume(self, folder: Path) -> int:
        """Go on from the newest whole checkpoint; returns its epoch, 0 when there is none."""
        found = checkpoint.newest(folder)
        if found is None:
            return 0
        self.network.load_state_dict(dict(found.model))
        state = checkpoint.unflatten(found.optimizer, self.optimizer.state_dict())
        self.optimizer.load_state_dict(state)
        self.best, self.progress = dict(found.best), _Progress(**found.progress)
        print(f"resumed after epoch {found.epoch}", flush=True)
        return found.epoch

    def finish(self, resumed: int) -> Trained:
        """The network with the best epoch's weights."""
        self.network.load_state_dict(self.best)
        self.network.eval()
        return Trained(
            network=self.network,
            history=self.progress.history,
            best_epoch=self.progress.best_epoch,
            steps=self.progress.step,
            resumed_from=resumed,
        )


def _epoch_seed(seed: int, epoch: int) -> int:
    return seed * 1_000_003 + epoch + 1


def _batches(rows: int, settings: TrainParams, epoch: int) -> Iterator[Tensor]:
    """Row numbers of each whole batch, shuffled anew each epoch."""
    generator = torch.Generator().manual_seed(_epoch_seed(settings.seed, epoch))
    order = torch.randperm(rows, generator=generator)
    for start in range(0, rows - settings.batch_size + 1, settings.batch_size):
        yield order[start : start + settings.batch_size]


def _rate(step: int, steps: int, settings: TrainParams) -> float:
    """Linear warm-up to the peak, then half a cosine down to zero."""
    warmup = max(round(settings.warmup_share * steps), 1)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(steps - warmup, 1)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _epoch_metrics(progress: _Progress, rows: int, seconds: float) -> dict[str, float]:
    last: dict[str, Any] = progress.history[-1]
    return {
        "epoch": last["epoch"],
        "train_loss": last["train_loss"],
        "validation_loss": last["validation_loss"],
        "rows_per_second": rows / seconds,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _line(progress: _Progress, epochs: int, seconds: float) -> str:
    last = progress.history[-1]
    best = " (best so far)" if progress.best_epoch == progress.epoch else ""
    return (
        f"epoch {progress.epoch}/{epochs}: train loss {last['train_loss']:.5f},"
        f" validation loss {last['validation_loss']:.5f}{best}, {seconds:.1f} s"
    )
