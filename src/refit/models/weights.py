"""The trained network on disk: safetensors for the weights, JSON for everything else."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from refit.core import files
from refit.core.errors import DataError
from refit.models.network import Network, NetworkConfig


def write(folder: Path, network: Network, training: Mapping[str, Any]) -> None:
    """Write weights.safetensors and training.json.

    No metadata goes into the safetensors file: several keys make its bytes vary.
    """
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    files.write_bytes(folder / "weights.safetensors", save(state))
    described = {**training, "network": asdict(network.config)}
    files.write_json(folder / "training.json", described)


def read(folder: Path) -> tuple[Network, dict[str, Any]]:
    """The network, ready to predict, and training.json."""
    training: dict[str, Any] = files.read_json(folder / "training.json")
    described = training["network"]
    config = NetworkConfig(**{**described, "cardinalities": tuple(described["cardinalities"])})
    network = Network(config)
    path = folder / "weights.safetensors"
    try:
        network.load_state_dict(load(path.read_bytes()))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise DataError(
            "the weights cannot be read",
            where=str(path),
            got=str(error).splitlines()[0],
            do="restore them with `dvc checkout`, or train again",
        ) from error
    network.eval()
    return network, training
