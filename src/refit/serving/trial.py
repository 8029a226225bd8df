"""The program of the child process that a model is tried in: `python -m refit.serving.trial`.

It reads a request from its standard input, checks the graph, loads it, predicts the rows of the
request, and writes the predictions or the problem. It has limits of memory and processor time, may
write no file, and dies with its parent. See refit.serving.sandbox, which starts it.
"""

import json
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from refit.core.errors import DataError
from refit.core.orphans import die_with_parent
from refit.dataset import PREDICTION
from refit.serving import operators
from refit.serving.onnx_session import BATCH, FATAL, open_session

OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "allocate memory")
"""What ONNX Runtime says when it gets no memory."""


class Refused(Exception):  # noqa: N818 - it is an answer, not an error of this program
    """The model does not pass; the text says why."""


def main() -> None:
    """Answer the request on standard input."""
    die_with_parent()
    request = json.load(sys.stdin)
    _limit(memory=request["memory"], seconds=request["seconds"])
    try:
        answer: dict[str, Any] = {"predictions": _try(request)}
    except DataError as error:
        answer = {"error": str(error)}
    except Refused as problem:
        answer = {"problem": str(problem)}
    except MemoryError:
        answer = {"full": True}
    json.dump(answer, sys.stdout)


def _limit(*, memory: int, seconds: int) -> None:
    """Bound what is used from here on; what the libraries have used so far does not count."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    processor = int(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (processor, processor + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform.startswith("linux"):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        address_space = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))


def _try(request: Mapping[str, Any]) -> list[Any]:
    """The predictions of the request's rows, as lists."""
    signature = request["signature"]
    path = Path(request["model"])
    operators.require(operators.read(path), signature, str(path))
    columns = {
        each["name"]: np.array(
            request["columns"][each["name"]], np.float64 if each["type"] == "number" else object
        )
        for each in signature["inputs"]
    }
    rows = len(next(iter(columns.values())))
    with _Translated("the model cannot be loaded"):
        session = open_session(path, FATAL)
    few = _predict(session, columns, rows, len(signature["classes"]))
    many = {name: np.resize(column, BATCH) for name, column in columns.items()}
    _predict(session, many, BATCH, len(signature["classes"]))
    return list(few.tolist())


def _predict(
    session: onnxruntime.InferenceSession, columns: dict[str, np.ndarray], rows: int, classes: int
) -> np.ndarray:
    with _Translated("the model fails on example rows"):
        predicted = session.run([PREDICTION], columns)[0]
    expected = (rows, classes) if classes else (rows,)
    if not isinstance(predicted, np.ndarray) or predicted.dtype != np.float32:
        kind = getattr(predicted, "dtype", type(predicted).__name__)
        raise Refused(f"its predictions are {kind}, expected float32")
    if predicted.shape != expected:
        raise Refused(f"its predictions have the shape {predicted.shape}, expected {expected}")
    return predicted


class _Translated:
    """Turns ONNX Runtime's exceptions, which share no public base class, into an answer."""

    def __init__(self, problem: str) -> None:
        self._problem = problem

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, MemoryError):
            return
        text = str(error)
        if any(sign in text for sign in OUT_OF_MEMORY):
            raise MemoryError from error
        raise Refused(f"{self._problem}: {text.splitlines()[0][:300] if text else kind}") from error


if __name__ == "__main__":
    main()
