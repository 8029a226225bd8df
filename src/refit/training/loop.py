"""The training loop: seeded, deterministic on one CPU thread, resumable after every step.

AdamW with linear warm-up and cosine decay, gradient clipping, early stopping on the validation
loss. Each epoch draws its shuffle and its dropout from generators seeded by (seed, epoch). A
checkpoint holds the state of dropout's generator and the epoch's losses so far, and the shuffle is
remade from its seed, so a run that was killed and resumed ends in the bytes of one that was not.
Batches are slices of the mapped arrays by a permutation; the last, incomplete batch is left to the
next epoch's shuffle.
"""

import math
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from refit.core.errors import DataError, TrainingError
from refit.core.params import param
from refit.core.run_record import StageStopped
from refit.data.prepared import Arrays
from refit.dataset import Task
from refit.models import network
from refit.models.network import Network, NetworkConfig
from refit.training import checkpoint
from refit.training.checkpoint import Checkpoint
from refit.training.inference import evaluate, tensors
from refit.training.stop_signals import Stop

Log = Callable[[dict[str, float], int], None]
"""Takes metrics and the number of optimizer steps done."""

STEPS_PER_LOG = 10
CHECKPOINT_SECONDS = 30.0
"""A kill within an epoch costs no more work than this."""


class Stopped(StageStopped):
    """Training was told to stop and left a checkpoint."""

    def __init__(self, by: Signals, step: int) -> None:
        super().__init__(
            f"training was stopped by {by.name}; the next run goes on from step {step:,}",
            status=128 + by,
        )


@dataclass(frozen=True, kw_only=True)
class TrainParams:
    """Section `train` of params.yaml."""

    seed: int = param("seed of weights, shuffles and dropout", minimum=0)
    epochs: int = param("passes over the training rows, at most", minimum=1)
    patience: int = param("epochs without a better validation loss before stopping", minimum=1)
    batch_size: int = param("rows of a step", minimum=1, maximum=32_767)
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
    best_loss: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """Of the epoch's steps so far."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The weights of the best epoch and how it came to them."""

    network: Network
    history: list[dict[str, float]]
    best_epoch: int
    steps: int
    resumed_from: int
    """The step that the last checkpoint stood at, 0 without one."""


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
    stop: Stop = lambda: None,
) -> Trained:
    """Train until the epochs are done or validation stops improving; resume where one can.

    Raises:
        DataError: fewer training rows than one batch.
        TrainingError: the loss or the gradient is no longer finite.
        Stopped: a signal asked for it; the checkpoint of the last step is written.
    """
    if len(train) < settings.batch_size:
        raise DataError(
            "there are fewer training rows than one batch",
            where="params.yaml, `train.batch_size`",
            got=f"{len(train):,} rows, batches of {settings.batch_size:,}",
            do="make the batch smaller, or give training more partitions",
        )
    loop = _Loop(train, task, config, settings, checkpoints)
    resumed = loop.resume()
    while loop.more():
        started, first = time.monotonic(), loop.progress.step
        loop.epoch(log, stop)
        seconds = time.monotonic() - started
        loop.judge(evaluate(loop.network, task, validation))
        loop.save()
        rows = (loop.progress.step - first) * settings.batch_size
        log(_epoch_metrics(loop.progress, rows, seconds), loop.progress.step)
        print(_line(loop.progress, settings.epochs, seconds), flush=True)
        loop.heed(stop)
    return loop.finish(resumed)


class _Loop:
    """Network, optimizer and progress of one run."""

    def __init__(
        self,
        train: Arrays,
        task: Task,
        config: NetworkConfig,
        settings: TrainParams,
        checkpoints: Path,
    ) -> None:
        self.settings, self.task, self.checkpoints = settings, task, checkpoints
        self.numeric, self.categorical, self.target = tensors(train)
        self.network = Network(config, torch.Generator().manual_seed(settings.seed))
        if task == "regression":
            self.network.standardise(train.target)
        self.optimizer = network.optimizer(self.network, weight_decay=settings.weight_decay)
        self.best: dict[str, Tensor] = {}
        self.progress = _Progress()
        self.batches = len(train) // settings.batch_size
        self.saved_at, self.saved_step = time.monotonic(), 0

    def more(self) -> bool:
        """Whether another epoch is due."""
        progress = self.progress
        waited = progress.epoch - progress.best_epoch
        return progress.epoch < self.settings.epochs and waited < self.settings.patience

    def epoch(self, log: Log, stop: Stop) -> None:
        """One pass over the shuffled training rows, or what is left of it; save where due."""
        progress, settings = self.progress, self.settings
        done = len(progress.losses)
        if not done:
            torch.manual_seed(_epoch_seed(settings.seed, progress.epoch))
        self.network.train()
        with tqdm(
            _batches(len(self.target), settings, progress.epoch, done),
            total=self.batches,
            initial=done,
            desc=f"epoch {progress.epoch + 1}/{settings.epochs}",
            unit="batch",
            disable=None,
            leave=False,
        ) as bar:
            for rows in bar:
                rate = self._rate(progress.step)
                loss, norm = self._step(rows, rate)
                progress.losses.append(loss)
                progress.step += 1
                if progress.step % STEPS_PER_LOG == 0:
                    log({"loss": loss, "gradient_norm": norm, "learning_rate": rate}, progress.step)
                    bar.set_postfix(loss=f"{loss:.4f}")
                if len(progress.losses) < self.batches:  # the last step is saved when judged
                    self.heed(stop)

    def heed(self, stop: Stop) -> None:
        """Save when that is due; when told to stop, save and raise Stopped."""
        signal = stop()
        if signal is not None or time.monotonic() - self.saved_at >= CHECKPOINT_SECONDS:
            self.save()
        if signal is not None:
            raise Stopped(signal, self.progress.step)

    def _step(self, rows: Tensor, rate: float) -> tuple[float, float]:
        logits = self.network(self.numeric[rows], self.categorical[rows])
        loss = self.network.loss(self.task, logits, self.target[rows])
        self.network.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip_norm)
        value, size = float(loss.detach()), float(norm)
        if not (math.isfinite(value) and math.isfinite(size)):
            raise self._broken(value, size, rate)
        self.optimizer.step(rate)
        return value, size

    def _rate(self, step: int) -> float:
        return _rate(step, self.batches * self.settings.epochs, self.settings)

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

    def judge(self, validation_loss: float) -> None:
        """Close the epoch, and keep its weights when no epoch was better."""
        progress = self.progress
        rate = self._rate(progress.step - 1)
        if not math.isfinite(validation_loss):
            raise self._broken(validation_loss, math.nan, rate)
        progress.epoch += 1
        progress.history.append(
            {
                "epoch": progress.epoch,
                "train_loss": math.fsum(progress.losses) / len(progress.losses),
                "validation_loss": validation_loss,
                "learning_rate": rate,
            }
        )
        progress.losses = []
        if progress.best_loss is None or validation_loss < progress.best_loss:
            progress.best_loss, progress.best_epoch = validation_loss, progress.epoch
            self.best = {name: t.clone() for name, t in self.network.state_dict().items()}

    def save(self) -> None:
        """Write a checkpoint of this step, unless it has one."""
        if self.progress.step > self.saved_step:
            checkpoint.write(
                self.checkpoints,
                Checkpoint(
                    step=self.progress.step,
                    model=self.network.state_dict(),
                    best=self.best,
                    optimizer=self.optimizer.state(),
                    randomness=torch.get_rng_state(),
                    progress=vars(self.progress),
                ),
            )
        self.saved_at, self.saved_step = time.monotonic(), self.progress.step

    def resume(self) -> int:
        """Go on from the newest checkpoint that serves; returns its step, 0 when there is none."""
        found = checkpoint.newest(self.checkpoints, self._fits)
        if found is None:
            return 0
        self.network.load_state_dict(dict(found.model))
        self.optimizer.load(found.optimizer)
        torch.set_rng_state(found.randomness.clone())
        self.best, self.progress = dict(found.best), _Progress(**found.progress)
        self.saved_step = found.step
        print(f"going on from step {found.step:,}", flush=True)
        return found.step

    def _fits(self, found: Checkpoint) -> bool:
        """Whether the checkpoint is of such a network and of this many batches."""
        network = _shapes(self.network.state_dict())
        if found.progress.keys() != vars(_Progress()).keys():
            return False
        progress = _Progress(**found.progress)
        return (
            _shapes(found.model) == network
            and (_shapes(found.best) == network if progress.epoch else not found.best)
            and progress.step == found.step == progress.epoch * self.batches + len(progress.losses)
        )

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


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _batches(rows: int, settings: TrainParams, epoch: int, done: int) -> Iterator[Tensor]:
    """Row numbers of each whole batch after the first `done`, shuffled anew each epoch."""
    generator = torch.Generator().manual_seed(_epoch_seed(settings.seed, epoch))
    order = torch.randperm(rows, generator=generator)
    size = settings.batch_size
    for start in range(done * size, rows - size + 1, size):
        yield order[start : start + size]


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
