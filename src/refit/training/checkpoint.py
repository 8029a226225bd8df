"""Checkpoints: everything that training needs to continue after any step, in one safetensors file.

A file is named step-STEP.DIGEST.safetensors by the digest of its bytes, so a file that a power
failure has truncated is recognised before it is read. It is written atomically and never changed.
The newest two files of a stage's fingerprint are kept, and the newest three fingerprints.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from refit.core import files

VERSION = 3
"""Of the format; a checkpoint of another version is skipped."""
KEPT = 2
KEPT_KEYS = 3
PATTERN = "step-*.safetensors"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state after `step` optimizer steps."""

    step: int
    model: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    """The weights of the best epoch; empty during the first."""
    optimizer: Mapping[str, Tensor]
    randomness: Tensor
    """Of torch's generator, uint8."""
    progress: dict[str, Any]
    """Plain values: epoch, history, losses of the epoch so far, best epoch and its loss."""


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Add a checkpoint to the folder, then drop all but the newest two."""
    state = {"version": VERSION, "step": checkpoint.step, "progress": checkpoint.progress}
    text = json.dumps(state, sort_keys=True, allow_nan=False).encode()
    tensors = {
        **_prefixed("model", checkpoint.model),
        **_prefixed("best", checkpoint.best),
        **_prefixed("optimizer", checkpoint.optimizer),
        "randomness": checkpoint.randomness,
        "state": torch.frombuffer(bytearray(text), dtype=torch.uint8),
    }
    data = save({name: tensor.detach().contiguous() for name, tensor in tensors.items()})
    name = f"step-{checkpoint.step:010d}.{_digest(data)}.safetensors"
    files.write_bytes(folder / name, data)
    for old in sorted(folder.glob(PATTERN))[:-KEPT]:
        old.unlink()


def newest(folder: Path, fits: Callable[[Checkpoint], bool]) -> Checkpoint | None:
    """The newest checkpoint that is complete, of this format, and fits.

    The others are deleted, so that they do not count among the newest two.
    """
    for partial in folder.glob(".*.part"):
        partial.unlink()
    for path in sorted(folder.glob(PATTERN), reverse=True):
        checkpoint = _read(path)
        if checkpoint is not None and fits(checkpoint):
            return checkpoint
        path.unlink()
    return None


def sweep(folder: Path) -> None:
    """Remove the folders of old fingerprints; this one and the newest two others stay."""
    others = [path for path in folder.parent.glob("*") if path.is_dir() and path != folder]
    by_age = sorted(others, key=lambda path: path.stat().st_mtime_ns)
    for old in by_age[: 1 - KEPT_KEYS]:
        shutil.rmtree(old, ignore_errors=True)


def _read(path: Path) -> Checkpoint | None:
    """The checkpoint; None if it is not complete or of another version."""
    try:
        data = path.read_bytes()
        if not path.name.endswith(f".{_digest(data)}.safetensors"):
            return None
        tensors = load(data)
        state = json.loads(tensors.pop("state").numpy().tobytes())
        if state["version"] != VERSION:
            return None
        return Checkpoint(
            step=state["step"],
            model=_without("model", tensors),
            best=_without("best", tensors),
            optimizer=_without("optimizer", tensors),
            randomness=tensors["randomness"],
            progress=state["progress"],
        )
    except (OSError, SafetensorError, KeyError, ValueError):
        return None


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _without(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }
