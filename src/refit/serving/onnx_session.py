"""How ONNX Runtime is used: on one thread of the CPU, a bounded number of rows at a time."""

from pathlib import Path

import onnxruntime

BATCH = 4096
"""Rows that are predicted at a time."""
ERRORS, FATAL = 3, 4
"""ONNX Runtime's levels of what it writes to stderr."""


def open_session(model: Path, log_level: int = ERRORS) -> onnxruntime.InferenceSession:
    """A session of the model, on one thread, so that sums are always in the same order."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = log_level
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
