"""Checkpoints: everything that training needs to go on, in one safetensors file an epoch.

A checkpoint is written whole or not at all and never overwritten; the newest two are kept, so that
one that a power failure truncated has another before it. Randomness needs no state here: every
epoch seeds its own generators from the seed and its number (see refit.train).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from refit.core import files

KEPT = 2


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state after `epoch` whole epochs."""

    epoch: int
    model: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    progress: dict[str, Any]
    """Plain values: history, best epoch, best validation loss, steps."""


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Add a checkpoint to the folder, then drop all but the newest two."""
    progress = json.dumps(checkpoint.progress, sort_keys=True).encode()
    tensors = {
        **_prefixed("model", checkpoint.model),
        **_prefixed("best", checkpoint.best),
        **_prefixed("optimizer", checkpoint.optimizer),
        "progress": torch.frombuffer(bytearray(progress), dtype=torch.uint8),
    }
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    files.write_bytes(folder / f"epoch-{checkpoint.epoch:05d}.safetensors", save(contiguous))
    for old in sorted(folder.glob("epoch-*.safetensors"))[:-KEPT]:
        old.unlink()


def newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole; a broken one is passed over."""
    for path in sorted(folder.glob("epoch-*.safetensors"), reverse=True):
        try:
            tensors = load(path.read_bytes())
            progress = json.loads(bytes(tensors.pop("progress").tolist()))
        except (SafetensorError, KeyError, ValueError):
            continue
        return Checkpoint(
            epoch=int(path.stem.removeprefix("epoch-")),
            model=_without("model", tensors),
            best=_without("best", tensors),
            optimizer=_without("optimizer", tensors),
            progress=progress,
        )
    return None


def flatten(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """An optimizer's state (its tensors by parameter number) as one flat dictionary."""
    return {
        f"{number}.{name}": tensor
        for number, entry in state["state"].items()
        for name, tensor in entry.items()
    }


def unflatten(flat: Mapping[str, Tensor], state: Mapping[str, Any]) -> dict[str, Any]:
    """The flat tensors put back into the shape of `state`, an optimizer's `state_dict`."""
    entries: dict[int, dict[str, Tensor]] = {}
    for key, tensor in flat.items():
        number, name = key.split(".", 1)
        entries.setdefault(int(number), {})[name] = tensor
    return {"state": entries, "param_groups": state["param_groups"]}


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _without(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }
