"""What a model answers: predictions of the right shape, or one clear error."""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from refit.core.errors import DataError, RefitError

if TYPE_CHECKING:
    from refit.serving.bundle import Bundle


def predict(model: "Bundle", rows: pl.DataFrame) -> np.ndarray:
    """The model's predictions of N rows, (N,) or, with K classes, (N, K).

    Raises:
        DataError: the rows do not fit the signature, or the model fails on them or gives something
            else than a number for each.
    """
    try:
        predicted = model.predict(rows)
    except RefitError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        text = str(error) or type(error).__name__
        raise _wrong(model, "the model fails on these rows", text.splitlines()[0]) from error
    classes = len(model.signature["classes"])
    expected = (rows.height, classes) if classes else (rows.height,)
    if predicted.shape != expected or predicted.dtype.kind != "f":
        got = f"{predicted.dtype} of shape {predicted.shape}"
        raise _wrong(model, "the model gives something else than predictions", got, expected)
    return predicted


def _wrong(model: "Bundle", what: str, got: str, shape: tuple[int, ...] = ()) -> DataError:
    return DataError(
        what,
        where=str(model.path),
        got=got,
        expected=f"numbers of shape {shape}" if shape else "",
        do="restore the bundle from the registry or with `dvc checkout`",
    )
