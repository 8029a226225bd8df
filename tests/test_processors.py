"""The same weights on every processor and thread count: a tiny training whose bytes are known.

The digest was taken on an AMD EPYC with AVX-512 and is the same under emulated Intel Haswell and
AMD EPYC-Milan (QEMU 7.2), where the last test repeats it. It changes with torch, NumPy, the network
or the training loop; `python tests/test_processors.py [LEVEL]` prints the new one.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

KNOWN = "243bcc0967b83327781aae04e77515201c47b914d5c0c4a71f27a3b153c46fe7"
QEMU = shutil.which("qemu-x86_64")
HOSTILE = {"OMP_NUM_THREADS": "4", "OPENBLAS_CORETYPE": "Zen", "MKL_CBWR": "AVX2"}
OPENBLAS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS")

pytestmark = pytest.mark.skipif(
    platform.machine() not in {"x86_64", "AMD64"}, reason="the promise is for x86-64"
)


def main() -> None:
    """Train three tiny networks, one for each task, and print the digest of their weights."""
    from refit.core import determinism

    level: Any = sys.argv[1] if len(sys.argv) > 1 else determinism.STRICTEST
    determinism.apply(level)
    sys.stdout, shown = sys.stderr, sys.stdout
    digest = hashlib.sha256()
    for task, outputs, batch, width in (
        ("binary", 1, 1024, 192),  # the blocks of the real network
        ("multiclass", 3, 96, 24),
        ("regression", 1, 90, 23),  # nothing is a multiple of a vector's length
    ):
        digest.update(train(task, outputs, batch, width, level))
    print(digest.hexdigest(), file=shown)


def train(task: str, outputs: int, batch: int, width: int, level: Any) -> bytes:
    """The weights after two epochs of two steps on made-up rows."""
    import torch

    from refit.core import determinism
    from refit.data.prepared import Arrays
    from refit.training import linear_layer
    from refit.training.loop import TrainParams, configure, fit

    determinism.seed_everything(1, level)
    linear_layer.use(level, determinism.threads(level))
    generator = torch.Generator().manual_seed(2)
    numeric = torch.rand(2 * batch + 7, 45, generator=generator) * 8 - 4
    numeric[numeric > 3.5] = float("nan")
    codes = torch.randint(0, 12, (2 * batch + 7, 6), generator=generator, dtype=torch.int32)
    value = numeric[:, 0].nan_to_num() + codes[:, 0]
    target = {
        "binary": (value > 6).float(),
        "multiclass": (value > 4).long() + (value > 8).long(),
        "regression": value * 10,
    }[task]
    rows = Arrays(numeric=numeric.numpy(), categorical=codes.numpy(), target=target.numpy())
    settings = TrainParams(
        seed=1,
        epochs=2,
        patience=2,
        batch_size=batch,
        learning_rate=0.002,
        warmup_share=0.1,
        weight_decay=0.1,
        clip_norm=1.0,
        hidden_width=width,
        hidden_layers=2,
        embedding_width=8,
        bins=8,
        dropout=0.25,
    )
    config = configure(rows, task, (12,) * 6, outputs, settings)
    with tempfile.TemporaryDirectory() as folder:
        trained = fit(
            rows,
            rows,
            task=task,
            config=config,
            settings=settings,
            checkpoints=Path(folder),
            log=lambda *_: None,
        )
    state = trained.network.state_dict()
    return b"".join(state[name].numpy().tobytes() for name in sorted(state))


def trained_with(*emulator: str, level: str = "any-x86", **environment: str) -> str:
    """The digest from a fresh process; the emulator's own warnings go to stderr."""
    plain = {k: v for k, v in os.environ.items() if k not in OPENBLAS}
    done = subprocess.run(
        [*emulator, sys.executable, __file__, level],
        env=plain | environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_weights_are_the_known_ones() -> None:
    """Any processor trains these very bytes, on any threads, whatever the shell's environment."""
    assert trained_with(REFIT_THREADS="1") == KNOWN
    assert trained_with(REFIT_THREADS="2", **HOSTILE) == KNOWN
    assert trained_with(REFIT_THREADS="4") == KNOWN


def test_threads_do_not_count_at_the_level_threads() -> None:
    """Fresh processes on one, two and four threads train the same bytes."""
    found = {trained_with(level="threads", REFIT_THREADS=count) for count in ("1", "2", "4")}
    assert len(found) == 1


def test_the_same_process_settings_train_the_same_at_the_level_machine() -> None:
    """Two fresh processes with as many threads train the same bytes."""
    first, second = (trained_with(level="machine", REFIT_THREADS="2") for _ in range(2))
    assert first == second


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(QEMU is None, reason="needs qemu-x86_64 (Debian: qemu-user)")
@pytest.mark.parametrize("processor", ["Haswell", "EPYC-Milan"])
def test_emulated_processors_train_the_same(processor: str) -> None:
    """An Intel and an AMD processor without AVX-512 train the known bytes, on two threads."""
    assert trained_with(str(QEMU), "-cpu", processor, REFIT_THREADS="2") == KNOWN


if __name__ == "__main__":
    main()
