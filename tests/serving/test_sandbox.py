"""A model that is not trusted yet runs in a child process, which may take only so much."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hostile_graphs as graphs
import numpy as np
import polars as pl
import psutil
import pytest
from hostile_graphs import ROWS, save
from onnx import ModelProto

from refit.core.errors import DataError
from refit.serving import answers, sandbox
from refit.serving.sandbox import Limits

UNCHECKED = """\
from refit.serving import operators, trial
operators.require = lambda *_: None
trial.main()
"""
"""The child without the list of operators, so that the limits alone must hold."""


def test_the_child_predicts_what_this_process_predicts(tmp_path: Path) -> None:
    """The same bits, missing values among the rows."""
    model = save(tmp_path, graphs.good())
    rows = pl.DataFrame({"x": [0.1, None, float("inf"), -3.0], "w": ["a", None, "", "ü"]})
    expected = answers.predict(model, rows)
    assert sandbox.predict(model, rows).tobytes() == expected.tobytes()


REFUSED: dict[str, tuple[Callable[[], ModelProto], str]] = {
    "an endless loop": (graphs.endless, "the operator Loop"),
    "no model": (ModelProto, "no operator"),
    "4 TB for a row": (lambda: graphs.wide(10**12), "needs too much memory for 20 rows"),
    "160 GB for a row": (lambda: graphs.wide(4 * 10**10), "needs too much memory for 20 rows"),
    "twice the rows": (graphs.twice_the_rows, r"the shape \(40,\), expected \(20,\)"),
    "an error": (graphs.raising, "the model fails on example rows: .*Reshape"),
    "another type": (graphs.not_a_graph_of_its_types, "the model cannot be loaded: .*Type"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_model_ends_in_one_error(name: str, tmp_path: Path) -> None:
    """The error says what the model does, and nothing of it reaches this process."""
    make, message = REFUSED[name]
    with pytest.raises(DataError, match=message):
        sandbox.predict(save(tmp_path, make()), ROWS)


def test_memory_that_a_batch_needs_counts(tmp_path: Path) -> None:
    """A model that fits with few rows, but not with as many as are served at a time, is refused."""
    model = save(tmp_path, graphs.wide(100_000))
    with pytest.raises(DataError, match="too much memory"):
        sandbox.predict(model, ROWS, Limits(memory=2**30))


@pytest.mark.parametrize("make", [graphs.endless, graphs.hours])
def test_what_never_ends_is_stopped(
    make: Callable[[], ModelProto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processor time of the child has a bound, which holds without the list of operators."""
    monkeypatch.setattr(sandbox, "PROGRAM", ("-c", UNCHECKED))
    model = save(tmp_path, make())
    with pytest.raises(DataError, match=r"does not finish 20 rows. Got no end after 1 s"):
        sandbox.predict(model, ROWS, Limits(seconds=1))


def test_a_child_that_only_waits_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock ends what takes no processor time either."""
    monkeypatch.setattr(sandbox, "PROGRAM", ("-c", "import signal; signal.pause()"))
    with pytest.raises(DataError, match=r"does not finish 20 rows. Got nothing after 0.1 s"):
        sandbox.predict(save(tmp_path, graphs.good()), ROWS, Limits(wait=0.1))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "status -11, no word"),
        ("raise SystemExit('lost')", "status 1, lost"),
        ("print('[' * 10 ** 6)", "ends the process"),
        ("print('{}')", "ends the process"),
    ],
)
def test_a_child_that_breaks_is_an_error(
    program: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a child does instead of answering, the error says so."""
    monkeypatch.setattr(sandbox, "PROGRAM", ("-c", program))
    with pytest.raises(DataError, match=message):
        sandbox.predict(save(tmp_path, graphs.good()), ROWS)


def test_the_child_knows_no_secrets_and_writes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables stay here, and its limit of file sizes is 0."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    program = (
        "import os, resource\n"
        "from refit.serving import trial\n"
        "trial._limit(memory=2**30, seconds=9)\n"
        "print(sorted(os.environ), resource.getrlimit(resource.RLIMIT_FSIZE))\n"
        "raise SystemExit(sorted(os.environ) + [resource.getrlimit(resource.RLIMIT_FSIZE)])\n"
    )
    monkeypatch.setattr(sandbox, "PROGRAM", ("-c", program))
    with pytest.raises(DataError, match=r"status 1, .*REFIT_PARENT.*\(0, 0\)") as error:
        sandbox.predict(save(tmp_path, graphs.good()), ROWS)
    assert "AWS" not in str(error.value)


def test_files_beside_the_model_are_not_run(tmp_path: Path) -> None:
    """A sitecustomize.py in the bundle's folder, or where this process stands, is never imported."""
    model = save(tmp_path, graphs.good())
    for name in ("sitecustomize.py", "usercustomize.py", "json.py", "numpy.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        sandbox.predict(model, ROWS)
    assert not (tmp_path / "ran").exists()


KILLED = """\
import sys
from pathlib import Path
import hostile_graphs as graphs
from refit.serving import sandbox
sandbox.PROGRAM = ("-c", sys.argv[2])
with sandbox.trying(graphs.save(Path(sys.argv[1]), graphs.endless()), graphs.ROWS) as trial:
    print(trial.process.pid, flush=True)
    trial.predictions()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="as of stages")
def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    """A kill -9 of the process that decides leaves no endless child behind."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    parent = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), UNCHECKED],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    psutil.wait_procs([child], timeout=300)
    assert not child.is_running()


def test_predictions_of_another_shape_are_one_error_here_too(tmp_path: Path) -> None:
    """What passes the trial can still answer wrongly later."""
    with pytest.raises(DataError, match=r"float32 of shape \(40,\). Expected numbers of shape"):
        answers.predict(save(tmp_path / "twice", graphs.twice_the_rows()), ROWS)
    with pytest.raises(DataError, match=r"the model fails on these rows. Got .*Reshape"):
        answers.predict(save(tmp_path / "raising", graphs.raising()), ROWS)
    assert np.array_equal(
        answers.predict(save(tmp_path / "good", graphs.good()), ROWS), ROWS["x"].cast(pl.Float32)
    )
