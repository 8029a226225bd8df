"""The training loop for any module: seeded, deterministic, resumable after every step.

AdamW with linear warm-up and cosine decay, gradient clipping, early stopping on the validation
loss. Each epoch draws its shuffle and its dropout from generators seeded by (seed, epoch). A
checkpoint holds the state of the global generator and the epoch's losses so far, and the shuffle is
computed again from its seed, so a run that was killed and resumed ends in the bytes of one that was
not. Batches are slices of the mapped arrays by a permutation.
"""

import math
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from refit.core.errors import DataError, TrainingError
from refit.data.prepared import Arrays
from refit.tasks.task import Task
from refit.training import checkpoint
from refit.training.checkpoint import Checkpoint
from refit.training.inference import mean_loss, tensors
from refit.training.loop_params import LoopParams
from refit.training.optimizer import make_optimizer
from refit.training.progress import Log, Progress, epoch_line, epoch_metrics
from refit.training.schedule import batches, epoch_seed, learning_rate
from refit.training.stop_signals import Stop, Stopped
from refit.training.trainable import Trainable
from refit.training.trained import Trained

STEPS_PER_LOG = 10
CHECKPOINT_SECONDS = 30.0
"""A kill within an epoch costs no more work than this."""


def train(
    module: Trainable,
    training: Arrays,
    validation: Arrays,
    *,
    task: Task,
    settings: LoopParams,
    seed: int,
    checkpoints: Path,
    log: Log,
    stop: Stop = lambda: None,
    length: int | None = None,
) -> Trained:
    """Train the module in place until the epochs are done or validation stops improving.

    With a length, train for so many epochs of the same schedule, and leave validation alone.

    Raises:
        DataError: fewer training rows than one batch.
        TrainingError: the loss or the gradient is not finite.
        Stopped: a signal asked for it; the checkpoint of the last step is written.
    """
    if len(training) < settings.batch_size:
        raise DataError(
            "there are fewer training rows than one batch",
            where="params.yaml, `batch_size` of the model's section",
            got=f"{len(training):,} rows, batches of {settings.batch_size:,}",
            do="make the batch smaller, or give training more partitions",
        )
    loop = _Loop(
        module,
        training,
        task=task,
        settings=settings,
        seed=seed,
        checkpoints=checkpoints,
        length=length,
    )
    resumed_from = loop.resume()
    while loop.more():
        started, first = time.monotonic(), loop.progress.step
        loop.epoch(log, stop)
        seconds = time.monotonic() - started
        loop.close_epoch(mean_loss(module, task, validation) if length is None else None)
        loop.save()
        rows = (loop.progress.step - first) * settings.batch_size
        log(epoch_metrics(loop.progress, rows, seconds), loop.progress.step)
        print(epoch_line(loop.progress, settings.epochs, seconds), flush=True)
        loop.save_or_stop(stop)
    return loop.finish(resumed_from)


class _Loop:
    """Module, optimizer and progress of one run."""

    def __init__(
        self,
        module: Trainable,
        training: Arrays,
        *,
        task: Task,
        settings: LoopParams,
        seed: int,
        checkpoints: Path,
        length: int | None = None,
    ) -> None:
        self.module, self.task, self.settings = module, task, settings
        self.seed, self.checkpoints, self.length = seed, checkpoints, length
        self.numeric, self.categorical, self.target = tensors(training)
        module.learn_scale(task, self.target)
        self.optimizer = make_optimizer(module, settings.weight_decay)
        self.best: dict[str, Tensor] = {}
        self.progress = Progress()
        self.batches = len(training) // settings.batch_size
        self.saved_at, self.saved_step = time.monotonic(), 0

    def more(self) -> bool:
        """Whether another epoch is due."""
        progress = self.progress
        if self.length is not None:
            return progress.epoch < self.length
        waited = progress.epoch - progress.best_epoch
        return progress.epoch < self.settings.epochs and waited < self.settings.patience

    def epoch(self, log: Log, stop: Stop) -> None:
        """One pass over the shuffled training rows, or the rest of it; save where due."""
        progress, settings = self.progress, self.settings
        done = len(progress.losses)
        if not done:
            torch.manual_seed(epoch_seed(self.seed, progress.epoch))
        order = batches(
            len(self.target),
            settings.batch_size,
            seed=self.seed,
            epoch=progress.epoch,
            done=done,
            members=self.module.members,
        )
        self.module.train()
        with tqdm(
            order,
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
                if len(progress.losses) < self.batches:  # the last step is saved with the epoch
                    self.save_or_stop(stop)

    def save_or_stop(self, stop: Stop) -> None:
        """Save when that is due. When told to stop, save and raise Stopped."""
        signal = stop()
        if signal is not None or time.monotonic() - self.saved_at >= CHECKPOINT_SECONDS:
            self.save()
        if signal is not None:
            raise Stopped(signal, self.progress.step)

    def _step(self, rows: Tensor, rate: float) -> tuple[float, float]:
        module = self.module
        outputs = module(self.numeric.index_select(0, rows), self.categorical.index_select(0, rows))
        target = self.target.index_select(0, rows)
        loss = self.task.loss(outputs, target, module.target_mean, module.target_std)
        module.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(module.parameters(), self.settings.clip_norm)
        value, size = float(loss.detach()), float(norm)
        if not (math.isfinite(value) and math.isfinite(size)):
            raise self._not_finite(value, size, rate)
        self.optimizer.step(rate)
        return value, size

    def _rate(self, step: int) -> float:
        settings = self.settings
        return learning_rate(
            step,
            self.batches * settings.epochs,
            peak=settings.learning_rate,
            warmup_share=settings.warmup_share,
        )

    def _not_finite(self, loss: float, norm: float, rate: float) -> TrainingError:
        bad = [n for n, p in self.module.named_parameters() if not bool(p.isfinite().all())]
        early = self.progress.step < self.batches // 10 + 1
        cause = (
            f"the weights of {', '.join(bad)} had already overflowed"
            if bad
            else "the input or the initial weights"
            if early
            else "a learning rate that is too high"
        )
        return TrainingError(
            "training failed: the loss or its gradient is not finite",
            where=f"epoch {self.progress.epoch + 1}, step {self.progress.step + 1}",
            got=f"loss {loss}, gradient norm {norm}, learning rate {rate:.3g}",
            expected="finite numbers",
            do=f"the likely cause is {cause}: lower `learning_rate` or `clip_norm` in the model's"
            " section, and look for extreme values in data/validation.json",
        )

    def close_epoch(self, validation_loss: float | None) -> None:
        """Record the epoch's losses; keep its weights when no epoch was better, or none judged."""
        progress = self.progress
        rate = self._rate(progress.step - 1)
        if validation_loss is not None and not math.isfinite(validation_loss):
            raise self._not_finite(validation_loss, math.nan, rate)
        progress.epoch += 1
        losses = {"train_loss": math.fsum(progress.losses) / len(progress.losses)}
        if validation_loss is not None:
            losses["validation_loss"] = validation_loss
        progress.history.append({"epoch": progress.epoch, **losses, "learning_rate": rate})
        progress.losses = []
        best = progress.best_loss
        if validation_loss is None or best is None or validation_loss < best:
            progress.best_loss, progress.best_epoch = validation_loss, progress.epoch
            self.best = {name: t.clone() for name, t in self.module.state_dict().items()}

    def save(self) -> None:
        """Write a checkpoint of this step, unless it has one."""
        if self.progress.step > self.saved_step:
            checkpoint.write(
                self.checkpoints,
                Checkpoint(
                    step=self.progress.step,
                    model=self.module.state_dict(),
                    best=self.best,
                    optimizer=self.optimizer.state(),
                    randomness=torch.get_rng_state(),
                    progress=vars(self.progress),
                ),
            )
        self.saved_at, self.saved_step = time.monotonic(), self.progress.step

    def resume(self) -> int:
        """Continue from the newest usable checkpoint; returns its step, 0 without one."""
        newest = checkpoint.newest(self.checkpoints, self._fits)
        if newest is None:
            return 0
        self.module.load_state_dict(dict(newest.model))
        self.optimizer.load(newest.optimizer)
        torch.set_rng_state(newest.randomness.clone())
        self.best, self.progress = dict(newest.best), Progress(**newest.progress)
        self.saved_step = newest.step
        print(f"continuing from step {newest.step:,}", flush=True)
        return newest.step

    def _fits(self, candidate: Checkpoint) -> bool:
        """Whether the checkpoint is of such a module and of this many batches."""
        module = _shapes(self.module.state_dict())
        if candidate.progress.keys() != vars(Progress()).keys():
            return False
        progress = Progress(**candidate.progress)
        step = progress.epoch * self.batches + len(progress.losses)
        return (
            _shapes(candidate.model) == module
            and (_shapes(candidate.best) == module if progress.epoch else not candidate.best)
            and progress.step == candidate.step == step
        )

    def finish(self, resumed_from: int) -> Trained:
        """Give the module the best epoch's weights."""
        self.module.load_state_dict(self.best)
        self.module.eval()
        return Trained(
            history=self.progress.history,
            best_epoch=self.progress.best_epoch,
            steps=self.progress.step,
            resumed_from=resumed_from,
        )


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
