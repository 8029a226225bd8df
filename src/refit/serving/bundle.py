"""The bundle: a model as plain files that predict without Refit.

    model.onnx      from raw example columns to the prediction; the encoder is part of it
    signature.json  columns with their types and fitted ranges, output, classes, thresholds
    lineage.json    digests of the inputs that the model was made of

No file of a bundle can run code: ONNX is a graph of known operators, and JSON is data.
"""

import math
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
"""Rows that are predicted at a time."""
FEW = 8
"""Up to this many rows, Python's own numbers are faster than a column at a time."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A model, read from the folder of its bundle."""

    folder: Path
    signature: Mapping[str, Any]

    @cached_property
    def session(self) -> onnxruntime.InferenceSession:
        """ONNX Runtime's session, on one thread, so that sums are always in the same order."""
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
            float32: with classes, probabilities (N, K); otherwise probabilities or values (N,).

        Raises:
            DataError: a column is missing or has a type that the signature does not allow.
        """
        self._require(frame)
        feeds = _feeds(frame, self._inputs)
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
        errors, schema = [], frame.schema
        for entry in self._inputs:
            dtype = schema.get(entry["name"])
            if dtype is None:
                errors.append(f"column {entry['name']} is missing")
            elif (entry["type"] == "string") != (dtype == pl.String) and dtype != pl.Null:
                errors.append(f"column {entry['name']} is {dtype}, expected {entry['type']}")
        if errors:
            raise DataError(
                "; ".join(errors),
                where=f"rows to predict, {len(errors)} errors",
                expected=f"the {len(self._inputs)} columns of {self.folder / SIGNATURE}",
                do="give every column of the signature in its type",
            )


def write(
    folder: Path, model: bytes, signature: Mapping[str, Any], lineage: Mapping[str, Any]
) -> None:
    """Write the three files of a bundle."""
    files.write_bytes(folder / MODEL, model)
    files.write_json(folder / SIGNATURE, signature)
    files.write_json(folder / LINEAGE, lineage)


def load(folder: Path) -> Bundle:
    """Read a bundle; ONNX Runtime loads the model at the first prediction."""
    missing = [name for name in (MODEL, SIGNATURE) if not (folder / name).is_file()]
    if missing:
        raise DataError(
            "the bundle is incomplete",
            where=str(folder),
            got=f"no {', '.join(missing)}",
            do="run the pipeline (`refit run` or `dvc repro`), or restore it with `dvc checkout`",
        )
    return Bundle(folder=folder, signature=files.read_json(folder / SIGNATURE))


def _feeds(frame: pl.DataFrame, inputs: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The graph's inputs by name, each (N,): float64, or objects that are strings."""
    schema = frame.schema  # polars makes a new one each time
    if frame.height <= FEW and all(_is_plain(schema[entry["name"]]) for entry in inputs):
        columns = dict(zip(frame.columns, zip(*frame.rows(), strict=True), strict=False))
        return {e["name"]: _few(columns.get(e["name"], ()), e["type"]) for e in inputs}
    return {entry["name"]: _feed(frame[entry["name"]], entry) for entry in inputs}


def _is_plain(dtype: pl.DataType) -> bool:
    """Whether Python's value of such a column is a number, a text or None."""
    return dtype.is_integer() or dtype.is_float() or dtype in (pl.Boolean, pl.String, pl.Null)


def _few(values: tuple[Any, ...], kind: str) -> np.ndarray:
    """The same array as `_feed` makes of a column with these values."""
    if kind == "number":
        numbers = (math.nan if value is None else float(value) for value in values)
        return np.array([n if math.isfinite(n) else math.nan for n in numbers], np.float64)
    return np.array(["" if value is None else value for value in values], object)


def _feed(column: pl.Series, entry: Mapping[str, Any]) -> np.ndarray:
    if entry["type"] == "number":
        return as_float(column)
    return column.cast(pl.String).fill_null("").to_numpy().astype(object)
