"""The same weights on every processor and thread count: a tiny training whose bytes are known.

The digest was computed on an Intel Xeon with AVX-512. The last test computes it again on an emulated
Intel Haswell and an emulated AMD EPYC-Milan (QEMU 7.2). It changes with torch, NumPy, the network
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

KNOWN = "e9d3d4dc13329c3781fbfcf9f2e1750ef18b0b30b46f7d0d6d6433c83436c600"
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
    sys.stdout, output = sys.stderr, sys.stdout
    digest = hashlib.sha256()
    for task, outputs, batch, width in (
        ("binary", 1, 512, 96),  # the blocks of the real network
        ("multiclass", 3, 96, 24),
        ("regression", 1, 90, 23),  # nothing is a multiple of a vector's length
    ):
        digest.update(train(task, outputs, batch, width, level))
    print(digest.hexdigest(), file=output)


def train(task: str, outputs: int, batch: int, width: int, level: Any) -> bytes:
    """The weights after two epochs of two steps on generated rows."""
    import torch

    from refit.core import determinism
    from refit.data.prepared import Arrays
    from refit.models.model import Shape
    from refit.models.network import Network, NetworkParams
    from refit.tasks.catalog import find as find_task
    from refit.training import loop, setup

    setup.prepare(1, level, determinism.threads(level))
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
    settings = NetworkParams(
        epochs=2,
        patience=2,
        batch_size=batch,
        learning_rate=0.004,
        warmup_share=0.1,
        weight_decay=0.1,
        clip_norm=1.0,
        members=3,
        hidden_width=width,
        hidden_layers=2,
        embedding_width=8,
        bins=8,
        dropout=0.1,
    )
    shape = Shape(numeric=45, cardinalities=(12,) * 6, outputs=outputs)
    network = Network(shape, settings, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        loop.train(
            network,
            rows,
            rows,
            task=find_task(task),
            settings=settings,
            seed=1,
            checkpoints=Path(folder),
            log=lambda *_: None,
        )
    state = network.state_dict()
    return b"".join(state[name].numpy().tobytes() for name in sorted(state))


def trained_with(*emulator: str, level: str = "any-x86", **environment: str) -> str:
    """The digest from a new process; the emulator's warnings go to stderr."""
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
    """Any processor trains these bytes, on any number of threads, in any environment."""
    assert trained_with(REFIT_THREADS="1") == KNOWN
    assert trained_with(REFIT_THREADS="2", **HOSTILE) == KNOWN
    assert trained_with(REFIT_THREADS="4") == KNOWN


def test_threads_do_not_matter_at_the_level_threads() -> None:
    """New processes on one, two and four threads train the same bytes."""
    digests = {trained_with(level="threads", REFIT_THREADS=count) for count in ("1", "2", "4")}
    assert len(digests) == 1


def test_the_same_process_settings_train_the_same_at_the_level_machine() -> None:
    """Two new processes with equally many threads train the same bytes."""
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
