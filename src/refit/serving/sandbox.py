"""The first contact with a foreign model: a child process that may take only so much.

A graph is data, but a small file can ask for terabytes, or never end. So a model that comes from a
registry or a cache is checked, loaded and asked for the predictions of a few rows in a process of
its own before this process loads it. The child has limits of address space and processor time, and
a clock. It inherits no variables but those that Python needs, may write no file and dies with its
parent. The network is not cut off: nothing that a graph may hold can reach it.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from refit.core import orphans
from refit.core.errors import DataError
from refit.data.encoder import as_float
from refit.workspace import memory
from refit.workspace.memory import GIB

if TYPE_CHECKING:
    import polars as pl

    from refit.serving.bundle import Bundle

PROGRAM = ("-m", "refit.serving.trial")
"""What Python runs in the child."""
KEPT = ("LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
"""Variables that the child inherits."""
LEAST = 2 * GIB
"""Bytes of address space that a trial gets in any case; most of them are never used."""
FULL = ("bad_alloc", "MemoryError", "allocate memory")
"""What the child says last when it gets no memory."""
SHOWN = 200
"""Characters of the child's own error that an error shows."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a trial may take; generous, so that no slow machine refuses a good model."""

    seconds: int = 300
    """Of the processor."""
    wait: float = 1800.0
    """Seconds until the child is killed, whatever it does."""
    memory: int = 0
    """Bytes; 0 for what is free on this machine."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A model that is being tried."""

    where: str
    rows: int
    process: "subprocess.Popen[str]"
    limits: Limits

    def predictions(self) -> np.ndarray:
        """(N,) or (N, K) float32, the model's predictions of the rows, from the child.

        Raises:
            DataError: the model does not pass; the error says why.
        """
        try:
            output, errors = self.process.communicate(timeout=self.limits.wait)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            raise self._endless(f"nothing after {self.limits.wait:g} s") from error
        answer = _parsed(output) if self.process.returncode == 0 else {}
        if "predictions" in answer:
            return np.asarray(answer["predictions"], np.float32)
        if "error" in answer:
            raise DataError(str(answer["error"]))
        if "problem" in answer:
            raise self._error("the model does not pass its trial", got=str(answer["problem"]))
        if -self.process.returncode == signal.SIGXCPU:
            raise self._endless(f"no end after {self.limits.seconds} s of processor time")
        killed = -self.process.returncode == signal.SIGKILL
        if killed or "full" in answer or any(sign in errors for sign in FULL):
            raise self._error(
                f"the model needs too much memory for {self.rows:,} rows",
                expected=f"at most {self.limits.memory / GIB:.1f} GiB, which are free",
            )
        last = (errors.strip().splitlines() or ["no word"])[-1][:SHOWN]
        raise self._error(
            "the model ends the process that tries it",
            got=f"status {self.process.returncode}, {last}",
        )

    def _endless(self, got: str) -> DataError:
        return self._error(f"the model does not finish {self.rows:,} rows", got=got)

    def _error(self, what: str, *, got: str = "", expected: str = "") -> DataError:
        return DataError(
            what,
            where=self.where,
            got=got,
            expected=expected,
            do="restore the bundle (`dvc checkout`, or a backup of the registry), or use another",
        )


@contextmanager
def trying(model: "Bundle", rows: "pl.DataFrame", limits: Limits | None = None) -> Iterator[Trial]:
    """Start the trial of a model on some rows; it is killed at the end of the block.

    Args:
        model: not loaded yet; only its signature was read.
        rows: at least one, with the columns of the signature.
        limits: of the child; generous ones by default.
    """
    limits = limits or Limits()
    limits = replace(limits, memory=limits.memory or max(memory.free(), LEAST))
    where = str(model.path)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as request:
        json.dump(_request(model, rows, limits), request)
        request.seek(0)
        process = _start(request)
    try:
        yield Trial(where=where, rows=rows.height, process=process, limits=limits)
    finally:
        process.kill()
        process.communicate()


def predict(model: "Bundle", rows: "pl.DataFrame", limits: Limits | None = None) -> np.ndarray:
    """(N,) or (N, K) the predictions of some rows, by a model that is not trusted yet.

    Raises:
        DataError: the model does not pass; the error says why.
    """
    with trying(model, rows, limits) as trial:
        return trial.predictions()


def _start(request: IO[str]) -> "subprocess.Popen[str]":
    paths = [os.path.abspath(path) for path in sys.path if path]  # noqa: PTH100 - links stay
    return subprocess.Popen(
        [sys.executable, "-P", "-s", *PROGRAM],
        cwd="/",
        env={
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            orphans.PARENT: str(os.getpid()),
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        },
        stdin=request,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def _request(model: "Bundle", rows: "pl.DataFrame", limits: Limits) -> dict[str, Any]:
    import polars as pl

    try:
        columns = {
            each["name"]: as_float(rows[each["name"]]).tolist()
            if each["type"] == "number"
            else rows[each["name"]].cast(pl.String).fill_null("").to_list()
            for each in model.signature["inputs"]
        }
    except pl.exceptions.PolarsError as error:
        raise DataError(
            "the rows do not have the columns of the signature",
            where=str(model.folder),
            got=str(error).splitlines()[0],
        ) from error
    return {
        "model": str(model.path.resolve()),
        "signature": dict(model.signature),
        "columns": columns,
        "seconds": limits.seconds,
        "memory": limits.memory,
    }


def _parsed(output: str) -> dict[str, Any]:
    try:
        answer = json.loads(output)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
