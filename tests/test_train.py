"""Training: the same bytes each time, also after a kill, and a clear word when it breaks down."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refit import checkpoint, fingerprint, train
from refit.core.errors import ConfigError, DataError, TrainingError
from refit.core.files import digest
from refit.prepared import Arrays
from refit.train import TrainParams

SETTINGS: dict[str, Any] = {
    "seed": 3,
    "epochs": 4,
    "patience": 4,
    "batch_size": 32,
    "learning_rate": 0.01,
    "warmup_share": 0.1,
    "weight_decay": 0.1,
    "clip_norm": 1.0,
    "hidden_width": 16,
    "hidden_layers": 2,
    "embedding_width": 2,
    "bins": 4,
    "dropout": 0.2,
}


def arrays(rows: int = 320, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    numeric = rng.normal(size=(rows, 3)).astype(np.float32)
    categorical = rng.integers(0, 4, (rows, 1)).astype(np.int32)
    target = (numeric[:, 0] * numeric[:, 1] > 0).astype(np.float32)
    return Arrays(numeric=numeric, categorical=categorical, target=target)


def fit(folder: Path, log: Any = lambda *_: None, **changes: Any) -> train.Trained:
    settings = TrainParams(**{**SETTINGS, **changes})
    rows = arrays()
    return train.fit(
        rows,
        arrays(seed=1),
        task="binary",
        config=train.configure(rows, "binary", (4,), 0, settings),
        settings=settings,
        checkpoints=folder,
        log=log,
    )


def weights(trained: train.Trained) -> bytes:
    state = trained.network.state_dict()
    return b"".join(state[name].numpy().tobytes() for name in sorted(state))


def test_the_same_seed_is_the_same_bytes(tmp_path: Path) -> None:
    """Two trainings with one seed end in the same weights, with another seed in others."""
    first, again = fit(tmp_path / "a"), fit(tmp_path / "b")
    assert weights(first) == weights(again)
    assert first.history == again.history
    assert weights(fit(tmp_path / "c", seed=4)) != weights(first)


class Stop(Exception):
    """Thrown in place of a kill, in the middle of an epoch."""


@pytest.mark.parametrize("step", [3, 11, 25, 39])
def test_a_resumed_training_ends_in_the_same_bytes(tmp_path: Path, step: int) -> None:
    """Stopped in any epoch and started again, training ends where an undisturbed one ends."""
    whole = fit(tmp_path / "whole")

    def stop(metrics: dict[str, float], now: int) -> None:
        if now >= step:
            raise Stop

    with pytest.raises(Stop):
        fit(tmp_path / "cut", log=stop)
    resumed = fit(tmp_path / "cut")
    assert weights(resumed) == weights(whole)
    assert resumed.history == whole.history
    assert (resumed.resumed_from > 0) == (step > 10)


def test_a_truncated_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    """Two checkpoints are kept, and when the newest is cut short the other serves."""
    whole = fit(tmp_path)
    kept = sorted(tmp_path.glob("*.safetensors"))
    assert [path.stem for path in kept] == ["epoch-00003", "epoch-00004"]
    kept[-1].write_bytes(kept[-1].read_bytes()[:1000])
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.epoch == 3
    assert weights(fit(tmp_path)) == weights(whole)


def test_the_best_epoch_is_kept_and_patience_ends(tmp_path: Path) -> None:
    """Weights are those of the best validation loss, and training stops when patience is out."""
    trained = fit(tmp_path, epochs=30, patience=2, learning_rate=0.05)
    losses = [entry["validation_loss"] for entry in trained.history]
    assert trained.best_epoch == 1 + int(np.argmin(losses))
    assert len(losses) == trained.best_epoch + 2 < 30
    assert train.evaluate(trained.network, "binary", arrays(seed=1)) == min(losses)


def test_a_breakdown_names_step_epoch_and_cause(tmp_path: Path) -> None:
    """An infinite loss stops at once and says where, with the likely cause."""
    with pytest.raises(TrainingError, match=r"epoch \d, step \d+.*likely cause.*learning_rate"):
        fit(tmp_path, learning_rate=1e30, clip_norm=1e30)


def test_fewer_rows_than_a_batch(tmp_path: Path) -> None:
    """A batch larger than the training part is refused with both numbers."""
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
    """The rate rises in a line to its peak, then falls along half a cosine."""
    settings = TrainParams(**SETTINGS)
    rates = [train._rate(step, 100, settings) for step in range(100)]
    assert rates[:10] == pytest.approx([0.001 * i for i in range(1, 11)])
    assert max(rates) == settings.learning_rate
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 1e-5


def run_stage(root: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "refit", "train"]
    return subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_killed_stage_resumes_to_the_same_bytes(projects: Any, tmp_path: Path) -> None:
    """Kill -9 of the real stage, then again: the same weights, and one MLflow run for both."""
    import shutil

    project = projects("pumps")
    root = tmp_path / "copy"
    shutil.copytree(project.root, root, symlinks=True)
    shutil.rmtree(root / ".refit")
    expected = digest(root / "data/model")
    environment = {**project.environment, "PYTHONPATH": f"{root / 'src'}:{root}"}
    folder = root / ".refit/checkpoints"
    killed = 0
    for _ in range(3):
        process = run_stage(root, environment)
        before = set(folder.rglob("*.safetensors"))
        while process.poll() is None and set(folder.rglob("*.safetensors")) <= before:
            time.sleep(0.002)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed
    assert run_stage(root, environment).wait() == 0
    assert digest(root / "data/model") == expected
    assert not list(folder.rglob("*.safetensors"))
    found = runs(root)
    assert [run.info.status for run in found] == ["FINISHED"]


def runs(root: Path) -> list[Any]:
    from refit import tracking

    client = tracking.connect(root)
    experiments = [e.experiment_id for e in client.search_experiments() if e.name == "pumps"]
    return list(client.search_runs(experiments))


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
    with (root / "src/refit/validate.py").open("a") as handle:
        handle.write("# a comment\n")
    assert key() not in {start, changed}
    (root / "src/refit/drift.py").unlink()
    with pytest.raises(ConfigError, match=r"drift\.py"):
        key()
