"""data/prepared: what stage `preprocess` writes for training and evaluation.

{train,validation,holdout}.parquet           the raw example columns of each part
{train,validation,holdout}/numeric.npy       (N, F) float32, NaN where missing
{train,validation,holdout}/categorical.npy   (N, C) int32
{train,validation,holdout}/target.npy        (N,) float32, or int64 for multiclass
encoder.json                                 the fitted encoder and the columns' roles
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from refit.core import files
from refit.data.encoder import Encoder
from refit.dataset import Roles

DESCRIPTION = "encoder.json"


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """One part as a model reads it: N rows, F numeric and C categorical features."""

    numeric: np.ndarray
    """(N, F) float32, NaN where missing."""
    categorical: np.ndarray
    """(N, C) int32 codes."""
    target: np.ndarray
    """(N,) float32, or int64 for multiclass."""

    def __len__(self) -> int:
        return len(self.target)

    def joined(self, *others: "Arrays") -> "Arrays":
        """These rows, then the others in their order."""
        return Arrays(
            **{
                name: np.concatenate([own, *(getattr(each, name) for each in others)])
                for name, own in vars(self).items()
            }
        )


def write_part(folder: Path, part: str, examples: pl.DataFrame, arrays: Arrays) -> None:
    """Write one part's examples and arrays."""
    files.write_parquet(examples, folder / f"{part}.parquet")
    for name, array in vars(arrays).items():
        files.write_array(folder / part / f"{name}.npy", array)


def map_part(folder: Path, part: str) -> Arrays:
    """Map one part's arrays from disk, without a copy."""
    return Arrays(
        **{
            name: files.map_array(folder / part / f"{name}.npy")
            for name in ("numeric", "categorical", "target")
        }
    )


def read_examples(folder: Path, part: str) -> pl.DataFrame:
    """One part's raw example columns."""
    return files.read_parquet(folder / f"{part}.parquet")


def write_description(folder: Path, roles: Roles, encoder: Encoder) -> None:
    """Write the encoder and the roles that it was fitted for."""
    files.write_json(folder / DESCRIPTION, {"roles": asdict(roles), "encoder": encoder.to_json()})


def read_description(folder: Path) -> tuple[Roles, Encoder]:
    """The roles and the encoder."""
    value: dict[str, Any] = files.read_json(folder / DESCRIPTION)
    roles: dict[str, Any] = {
        name: tuple(role) if isinstance(role, list) else role
        for name, role in value["roles"].items()
    }
    return Roles(**roles), Encoder.from_json(value["encoder"])
