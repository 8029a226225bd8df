"""The bundle: a model as plain files that predict without Refit.

    model.onnx      from raw example columns to the prediction; the encoder is part of it
    signature.json  columns with their types and fitted ranges, output, classes, thresholds
    lineage.json    digests of the inputs that the model was made of
    twin.onnx       only beside a release fit, which has learnt the holdout: the evaluated model,
                    trained without it; the signature is of both

No file of a bundle can run code: ONNX is a graph of known operators, and JSON is data. But a graph
can ask for more than a machine has, so one from outside is tried first (refit.serving.sandbox).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from refit.core import files
from refit.core.errors import DataError
from refit.data.encoder import as_float
from refit.dataset import PREDICTION
from refit.serving import lineage_schema
from refit.serving import signature as signatures
from refit.serving.digest import LINEAGE, MODEL, SIGNATURE, TWIN, has_twin
from refit.serving.lineage_schema import NAMED
from refit.serving.onnx_session import BATCH, open_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FEW = 8
"""Up to this many rows, Python's own numbers are faster than a column at a time."""
NUMBERS: frozenset[type] = frozenset({int, float, bool, type(None)})
TEXTS: frozenset[type] = frozenset({str, type(None)})


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A model, read from the folder of its bundle."""

    folder: Path
    signature: Mapping[str, Any]
    file: str = MODEL
    """The model in it that predicts: the one that goes live, or its twin."""

    @property
    def path(self) -> Path:
        """Of the model that predicts."""
        return self.folder / self.file

    @cached_property
    def is_release(self) -> bool:
        """Whether this is a release fit, which has learnt the holdout."""
        return self.file == MODEL and has_twin(self.folder)

    @cached_property
    def evaluated(self) -> "Bundle":
        """The model that all evidence is about: the twin of a release fit, otherwise this one."""
        return replace(self, file=TWIN) if self.is_release else self

    @cached_property
    def session(self) -> "InferenceSession":
        """ONNX Runtime's session of the model."""
        try:
            return open_session(self.path)
        except Exception as error:  # ONNX Runtime's exceptions share no public base class
            raise DataError(
                "the model cannot be loaded",
                where=str(self.path),
                got=str(error).splitlines()[0],
                do="restore the bundle from the registry or with `dvc checkout`",
            ) from error

    def predict(self, rows: pl.DataFrame | Mapping[str, Any]) -> np.ndarray:
        """Predictions of raw example rows.

        Args:
            rows: N rows with at least the columns of the signature, in any order; null is missing.
                A mapping of column to value is one row.

        Returns:
            float32: with classes, probabilities (N, K); otherwise probabilities or values (N,).

        Raises:
            DataError: a column is missing or has a type that the signature does not allow.
        """
        feeds = self._few_feeds(rows)
        if feeds is not None:
            prediction: np.ndarray = self.session.run([PREDICTION], feeds)[0]
            return prediction
        frame = rows if isinstance(rows, pl.DataFrame) else _one_row(rows)
        self._require(frame)
        if frame.is_empty():  # ONNX Runtime's batched product divides by the number of rows
            classes = len(self.signature["classes"])
            return np.empty((0, classes) if classes else (0,), np.float32)
        feeds = {entry["name"]: _feed(frame[entry["name"]], entry) for entry in self._inputs}
        parts = [
            self.session.run([PREDICTION], {n: c[start : start + BATCH] for n, c in feeds.items()})[
                0
            ]
            for start in range(0, frame.height, BATCH)
        ]
        return np.concatenate(parts)

    def _few_feeds(self, rows: pl.DataFrame | Mapping[str, Any]) -> dict[str, np.ndarray] | None:
        """The graph's inputs from a row or a few, by Python's own numbers.

        None for many rows, and where a column is missing or holds something else than numbers or
        texts: then the way of many rows finds out what is wrong.
        """
        if not isinstance(rows, pl.DataFrame):
            columns = {name: (value,) for name, value in rows.items()}
        elif 0 < rows.height <= FEW:
            values = zip(*rows.rows(), strict=True)
            columns = dict(zip(rows.columns, values, strict=True))
        else:
            return None
        try:
            numbers = _plain([columns[name] for name in self._names["number"]], NUMBERS)
            words = _plain([columns[name] for name in self._names["string"]], TEXTS)
            by_column = np.array(numbers, np.float64)  # None becomes NaN
        except (KeyError, TypeError, OverflowError):
            return None
        by_column[~np.isfinite(by_column)] = np.nan
        texts = ([value or "" for value in column] for column in words)
        return {
            **dict(zip(self._names["number"], by_column, strict=True)),
            **{n: np.array(t, object) for n, t in zip(self._names["string"], texts, strict=True)},
        }

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        """The names of the inputs by type."""
        return {
            kind: [entry["name"] for entry in self._inputs if entry["type"] == kind]
            for kind in ("number", "string")
        }

    @property
    def model(self) -> str:
        """The name of the model that was exported, from lineage.json."""
        return str(lineage_schema.read(self.folder / LINEAGE, NAMED)["model"]["name"])

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
    folder: Path,
    model: bytes,
    signature: Mapping[str, Any],
    lineage: Mapping[str, Any],
    *,
    twin: bytes | None = None,
) -> None:
    """Write the files of a bundle; a twin where the model is a release fit."""
    files.write_bytes(folder / MODEL, model)
    if twin is not None:
        files.write_bytes(folder / TWIN, twin)
    files.write_json(folder / SIGNATURE, signature)
    files.write_json(folder / LINEAGE, lineage)


def load(folder: Path) -> Bundle:
    """Read a bundle; ONNX Runtime loads the model at the first prediction.

    Raises:
        DataError: a file is missing, or signature.json is no signature.
    """
    missing = [name for name in (MODEL, SIGNATURE) if not (folder / name).is_file()]
    if missing:
        raise DataError(
            "the bundle is incomplete",
            where=str(folder),
            got=f"no {', '.join(missing)}",
            do="run the pipeline (`refit run` or `dvc repro`), or restore it with `dvc checkout`",
        )
    return Bundle(folder=folder, signature=signatures.read(folder / SIGNATURE))


def _one_row(row: Mapping[str, Any]) -> pl.DataFrame:
    try:
        return pl.DataFrame({name: [value] for name, value in row.items()})
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise DataError(
            "the row holds something that is neither a number nor a text",
            where="row to predict",
            got=str(error).splitlines()[0],
            do="give numbers, texts and None",
        ) from error


def _plain(columns: list[tuple[Any, ...]], types: frozenset[type]) -> list[tuple[Any, ...]]:
    """The columns, which hold values of these types only.

    Raises:
        TypeError: a value has another type.
    """
    if not types.issuperset(map(type, chain.from_iterable(columns))):
        raise TypeError
    return columns


def _feed(column: pl.Series, entry: Mapping[str, Any]) -> np.ndarray:
    if entry["type"] == "number":
        return as_float(column)
    return column.cast(pl.String).fill_null("").to_numpy().astype(object)
