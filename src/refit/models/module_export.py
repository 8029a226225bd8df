"""A torch module as ONNX, by torch's own exporter.

The exporter that traces (`dynamo=False`) is used: it takes a second where the newer one takes ten,
and needs no further package. It records the path of one batch, so a module whose path depends on
values would be exported wrongly; the caller compares answers at several sizes of batch, and the
stage `evaluate` compares every holdout row.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime
import torch

from refit.models.model import Shape
from refit.training.trainable import Trainable

OPSET = 18
ROWS = 5
"""Of the batch that is traced; a number that the module has no reason to treat specially."""


def convert(module: Trainable, shape: Shape) -> onnx.ModelProto:
    """Inputs `numeric` (rows, F) float and `categorical` (rows, C) int32, output (rows, K) float.

    An input that the module does not read is left out.
    """
    module.eval()
    numeric = torch.zeros(ROWS, shape.numeric)
    categorical = torch.zeros(ROWS, len(shape.cardinalities), dtype=torch.int32)
    buffer = io.BytesIO()
    with _quiet(), _plain_attention(), torch.no_grad():
        torch.onnx.export(
            module,
            (numeric, categorical),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=["numeric", "categorical"],
            output_names=["outputs"],
            dynamic_axes={name: {0: "rows"} for name in ("numeric", "categorical", "outputs")},
        )
    return onnx.load_model_from_string(buffer.getvalue())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's warnings, and the graph that it prints when it fails, out of the log."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """Use the attention that ONNX knows, and not torch's joined operation for evaluation."""
    joined = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(joined)


def run(model: onnx.ModelProto, numeric: np.ndarray, categorical: np.ndarray) -> np.ndarray:
    """(B, K) what ONNX Runtime computes from (B, F) and (B, C)."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {"numeric": numeric, "categorical": categorical}
    names = {each.name for each in session.get_inputs()}
    outputs: np.ndarray = session.run(None, {n: v for n, v in feeds.items() if n in names})[0]
    return outputs
