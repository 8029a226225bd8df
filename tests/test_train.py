"""Training: the same bytes each time, also when resumed, and a clear error when it fails."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any

import numpy as np
import pytest
import torch

from refit.core.errors import ConfigError, DataError, TrainingError
from refit.data.prepared import Arrays
from refit.models.model import Shape
from refit.models.network import Network, NetworkParams
from refit.tasks.catalog import find as find_task
from refit.training import checkpoint, fingerprint, loop
from refit.training.inference import mean_loss
from refit.training.schedule import learning_rate
from refit.training.stop_signals import Stop, Stopped
from refit.training.trained import Trained

BINARY = find_task("binary")
SETTINGS: dict[str, Any] = {
    "epochs": 4,
    "patience": 4,
    "batch_size": 32,
    "learning_rate": 0.01,
    "warmup_share": 0.1,
    "weight_decay": 0.1,
    "clip_norm": 1.0,
    "members": 2,
    "hidden_width": 16,
    "hidden_layers": 2,
    "embedding_width": 2,
    "bins": 4,
    "dropout": 0.2,
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread, as in the stage; on a busy machine, several would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def arrays(rows: int = 320, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    numeric = rng.normal(size=(rows, 3)).astype(np.float32)
    categorical = rng.integers(0, 4, (rows, 1)).astype(np.int32)
    target = (numeric[:, 0] * numeric[:, 1] > 0).astype(np.float32)
    return Arrays(numeric=numeric, categorical=categorical, target=target)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A trained network and how its training went."""

    network: Network
    trained: Trained

    def weights(self) -> bytes:
        state = self.network.state_dict()
        return b"".join(state[name].numpy().tobytes() for name in sorted(state))


def fit(
    folder: Path,
    log: Any = lambda *_: None,
    stop: Stop = lambda: None,
    seed: int = 3,
    **changes: Any,
) -> Fit:
    settings = NetworkParams(**{**SETTINGS, **changes})
    network = Network(Shape(numeric=3, cardinalities=(4,), outputs=1), settings, seed=seed)
    trained = loop.train(
        network,
        arrays(),
        arrays(seed=1),
        task=BINARY,
        settings=settings,
        seed=seed,
        checkpoints=folder,
        log=log,
        stop=stop,
    )
    return Fit(network=network, trained=trained)


def test_the_same_seed_is_the_same_bytes(tmp_path: Path) -> None:
    """Two trainings with one seed end in the same weights, with another seed in others."""
    first, again = fit(tmp_path / "a"), fit(tmp_path / "b")
    assert first.weights() == again.weights()
    assert first.trained.history == again.trained.history
    assert fit(tmp_path / "c", seed=4).weights() != first.weights()


def at_step(last: int, first: int = 0) -> Stop:
    """Asks to stop after that step; training asks once a step."""
    steps = iter(range(first + 1, 1000))
    return lambda: Signals.SIGTERM if next(steps) == last else None


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_a_stopped_training_ends_in_the_same_bytes(tmp_path: Path, dropout: float) -> None:
    """Stopped at steps within epochs and at their ends, training ends as an undisturbed one."""
    whole = fit(tmp_path / "whole", dropout=dropout)
    reached = 0
    for step in (1, 7, 10, 19, 25, 39, 40):
        with pytest.raises(Stopped, match=rf"SIGTERM; the next run continues from step {step}$"):
            fit(tmp_path / "cut", stop=at_step(step, reached), dropout=dropout)
        reached = step
        torch.manual_seed(99)  # a new process has not drawn what this one has
    resumed = fit(tmp_path / "cut", dropout=dropout)
    assert resumed.trained.resumed_from == 40
    assert resumed.weights() == whole.weights()
    assert resumed.trained.history == whole.trained.history


class Kill(Exception):
    """Thrown in place of a kill."""


@pytest.mark.parametrize("seconds", [0.0, 30.0])
@pytest.mark.parametrize("step", [10, 20, 30, 40])
def test_a_killed_training_ends_in_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, seconds: float
) -> None:
    """A training that is killed at any moment continues from the last checkpoint that was due."""
    whole = fit(tmp_path / "whole")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", seconds)

    def kill(metrics: dict[str, float], now: int) -> None:
        if now == step:
            raise Kill

    with pytest.raises(Kill):
        fit(tmp_path / "cut", log=kill)
    resumed = fit(tmp_path / "cut")
    assert resumed.trained.resumed_from == step - (1 if seconds == 0 else 10)
    assert resumed.weights() == whole.weights()
    assert resumed.trained.history == whole.trained.history


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def blank(path: Path) -> None:
    data = path.read_bytes()
    third = len(data) // 3
    path.write_bytes(data[:third] + bytes(third) + data[2 * third :])


def of_another_version(path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "VERSION", checkpoint.VERSION + 1)
        replace(path)


def of_another_shape(path: Path) -> None:
    replace(path, hidden_width=24)


def of_more_batches(path: Path) -> None:
    replace(path, batch_size=16)


def replace(path: Path, **changes: Any) -> None:
    """Put another training's undamaged checkpoint of the same step in its place."""
    other = path.parent / "other"
    with pytest.raises(Stopped):
        fit(other, stop=at_step(number(path)), **changes)
    (replacement,) = (file for file in other.iterdir() if number(file) == number(path))
    path.unlink()
    replacement.rename(path.parent / replacement.name)


def number(path: Path) -> int:
    return int(path.name.split(".")[0].removeprefix("step-"))


@pytest.mark.parametrize(
    "damage", [cut, blank, of_another_version, of_another_shape, of_more_batches]
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """Two are kept; when the newest is unusable, the other leads to the same weights."""
    whole = fit(tmp_path / "whole")
    folder = tmp_path / "cut"
    with pytest.raises(Stopped):
        fit(folder, stop=at_step(25))
    kept = sorted(folder.iterdir())
    assert [number(path) for path in kept] == [20, 25]
    damage(kept[-1])
    (folder / ".step-0000000026.abc.safetensors.123.part").write_bytes(b"half")
    with pytest.raises(Stopped):
        fit(folder, stop=at_step(27, 20))
    left = [path for path in sorted(folder.iterdir()) if path.is_file()]
    assert [number(path) for path in left] == [20, 27]
    assert fit(folder).weights() == whole.weights()


def test_without_any_usable_checkpoint_training_starts_again(tmp_path: Path) -> None:
    """When both kept checkpoints are damaged, neither is used."""
    whole = fit(tmp_path)
    for path in tmp_path.iterdir():
        cut(path)
    again = fit(tmp_path)
    assert again.trained.resumed_from == 0
    assert again.weights() == whole.weights()


def test_no_checkpoint_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each checkpoint is written to a new file, and at most two exist at a time."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    seen: dict[str, bytes] = {}

    def look() -> None:
        files = list(tmp_path.iterdir())
        assert len(files) <= 2
        for path in files:
            assert seen.setdefault(path.name, path.read_bytes()) == path.read_bytes()

    fit(tmp_path, stop=look)
    assert sorted(number(Path(name)) for name in seen) == [*range(1, 41)]


def test_the_best_epoch_is_kept_and_patience_ends(tmp_path: Path) -> None:
    """The weights of the best validation loss are kept, and patience ends the training."""
    fitted = fit(tmp_path, epochs=30, patience=2, learning_rate=0.05)
    trained = fitted.trained
    losses = [entry["validation_loss"] for entry in trained.history]
    assert trained.best_epoch == 1 + int(np.argmin(losses))
    assert len(losses) == trained.best_epoch + 2 < 30
    assert mean_loss(fitted.network, BINARY, arrays(seed=1)) == min(losses)


def test_a_failure_names_step_epoch_and_cause(tmp_path: Path) -> None:
    """An infinite loss stops the training; the error names the step and the likely cause."""
    with pytest.raises(TrainingError, match=r"epoch \d, step \d+.*likely cause.*learning_rate"):
        fit(tmp_path, learning_rate=1e30, clip_norm=1e30)


def test_fewer_rows_than_a_batch(tmp_path: Path) -> None:
    """A batch larger than the training part is rejected with both numbers."""
    with pytest.raises(DataError, match="320 rows, batches of 1,000"):
        fit(tmp_path, batch_size=1000)


def test_metrics_are_logged_by_step_and_by_epoch(tmp_path: Path) -> None:
    """Every tenth step logs loss, gradient norm and rate; every epoch its validation loss."""
    seen: list[tuple[set[str], int]] = []
    fit(tmp_path, log=lambda metrics, step: seen.append((set(metrics), step)))
    steps = [step for names, step in seen if "gradient_norm" in names]
    epochs = [step for names, step in seen if {"validation_loss", "memory_mb"} <= names]
    assert steps == [10, 20, 30, 40]
    assert epochs == [10, 20, 30, 40]


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    """The rate rises linearly to its peak, then falls along half a cosine."""
    rates = [learning_rate(step, 100, peak=0.01, warmup_share=0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([0.001 * i for i in range(1, 11)])
    assert max(rates) == 0.01
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 1e-5


def test_the_fingerprint_follows_code_data_and_parameters(pumps: Any) -> None:
    """A changed parameter, line of code or row changes the stage's fingerprint; others do not."""
    root = pumps.root

    def key() -> str:
        with_cwd = Path.cwd()
        os.chdir(root)
        try:
            return fingerprint.stage("validate")
        finally:
            os.chdir(with_cwd)

    start = key()
    pumps.change("train", seed=99)
    assert key() == start
    pumps.change("validate", tolerated_share=0.5)
    changed = key()
    assert changed != start
    with (root / "src/refit/data/validation.py").open("a") as handle:
        handle.write("# a comment\n")
    assert key() not in {start, changed}
    (root / "src/refit/data/drift.py").unlink()
    with pytest.raises(ConfigError, match=r"drift\.py"):
        key()
