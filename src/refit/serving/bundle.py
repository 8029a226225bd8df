"""The bundle: a model as plain files that need nothing of Refit to predict.

    model.onnx      raw example columns in, prediction out; the encoder is inside
    signature.json  columns with their types and fitted ranges, output, classes, threshold
    lineage.json    digests of what it was made of

No file of it can run code: ONNX is a graph of known operators, and JSON is data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import polars as pl

from refit.core import files
from refit.core.errors import DataError
from refit.data.encoder import as_float
from refit.serving.digest import LINEAGE, MODEL, SIGNATURE

BATCH = 4096


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A model read from its folder."""

    folder: Path
    signature: Mapping[str, Any]

    @cached_property
    def session(self) -> onnxruntime.InferenceSession:
        """ONNX Runtime's session, on one thread: the same sums in the same order."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(
                str(self.folder / MODEL), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise DataError(
                "the model cannot be loaded",
                where=str(self.folder / MODEL),
                got=str(error).splitlines()[0],
                do="restore the bundle from the registry or with `dvc checkout`",
            ) from error

    def predict(self, frame: pl.DataFrame) -> np.ndarray:
        """Predictions of raw example rows.

        Args:
            frame: at least the columns of the signature, in any order; null is missing.

        Returns:
            Binary: probabilities (N,); multiclass: probabilities (N, K); regression: values (N,);
            float32.

        Raises:
            DataError: a column is missing or has a type that its signature does not allow.
        """
        self._require(frame)
        feeds = {entry["name"]: _feed(frame[entry["name"]], entry) for entry in self._inputs}
        parts = [
            self.session.run(
                ["prediction"], {n: c[start : start + BATCH] for n, c in feeds.items()}
            )[0]
            for start in range(0, max(frame.height, 1), BATCH)
        ]
        return np.concatenate(parts)

    @property
    def model(self) -> str:
        """The name of the model that was exported, from lineage.json."""
        return str(files.read_json(self.folder / LINEAGE)["model"]["name"])

    @property
    def _inputs(self) -> list[dict[str, Any]]:
        inputs: list[dict[str, Any]] = self.signature["inputs"]
        return inputs

    def _require(self, frame: pl.DataFrame) -> None:
        faults, kinds = [], frame.schema
        for entry in self._inputs:
            kind = kinds.get(entry["name"])
            if kind is None:
                faults.append(f"column {entry['name']} is missing")
            elif (entry["type"] == "string") != (kind == pl.String) and kind != pl.Null:
                faults.append(f"column {entry['name']} is {kind}, expected {entry['type']}")
        if faults:
            raise DataError(
                "; ".join(faults),
                where=f"rows to predict, {len(faults)} faults",
                expected=f"the {len(self._inputs)} columns of {self.folder / SIGNATURE}",
            )


def write(
    folder: Path, model: bytes, signature: Mapping[str, Any], lineage: Mapping[str, Any]
) -> None:
    """Write the three files of a bundle."""
    files.write_bytes(folder / MODEL, model)
    files.write_json(folder / SIGNATURE, signature)
    files.write_json(folder / LINEAGE, lineage)


def load(folder: Path) -> Bundle:
    """Read a bundle; its model is loaded at the first prediction."""
    missing = [name for name in (MODEL, SIGNATURE) if not (folder / name).is_file()]
    if missing:
        raise DataError(
            "is not a whole bundle",
            where=str(folder),
            got=f"no {', '.join(missing)}",
            do="run the pipeline (`refit run` or `dvc repro`), or restore it with `dvc checkout`",
        )
    return Bundle(folder=folder, signature=files.read_json(folder / SIGNATURE))


def _feed(column: pl.Series, entry: Mapping[str, Any]) -> np.ndarray:
    if entry["type"] == "number":
        return as_float(column)
    return column.cast(pl.String).fill_null("").to_numpy().astype(object)
