"""A module's weights on disk: one safetensors file, the same bytes for the same weights."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from refit.core import files
from refit.core.errors import DataError

WEIGHTS = "weights.safetensors"


def save(folder: Path, module: nn.Module) -> None:
    """Write the weights. Without metadata: several keys of it make the bytes vary."""
    state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    files.write_bytes(folder / WEIGHTS, save_tensors(state))


def load(folder: Path, module: nn.Module) -> None:
    """Read the weights into the module, which is then ready to predict.

    Raises:
        DataError: the file is missing, damaged, or of another module.
    """
    path = folder / WEIGHTS
    try:
        module.load_state_dict(load_tensors(path.read_bytes()))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise DataError(
            "the weights cannot be read",
            where=str(path),
            got=str(error).splitlines()[0],
            do="restore them with `dvc checkout`, or train again",
        ) from error
    module.eval()
