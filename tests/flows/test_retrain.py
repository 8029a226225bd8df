"""The flow when a step fails, and its report; tests/test_flows.py has the flow that succeeds."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.report import report
from refit.core.errors import SetupError
from refit.pipeline.stage_output import Outcome
from refit.workflow.step_result import StepResult
from refit.workflow.steps import steps
from refit.workspace import servers

STAGES = """\
stages:
  first:
    cmd: echo hello; echo 1 > first.out
    outs: [first.out]
  second:
    cmd: .venv/bin/python fail.py
    deps: [first.out]
    outs: [second.out]
  third:
    cmd: echo 3 > third.out
    deps: [second.out]
    outs: [third.out]
"""

FAIL = """\
import sys
from refit.core import run_record
from refit.core.run_record import RunRecord
error = "a.csv: the column `x` | `y` is missing."
run_record.send(RunRecord(stage="x", pid=1, started=0.0, ended=1.0, status=1, error=error))
sys.exit(1)
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A repository whose second stage fails."""
    (tmp_path / "fail.py").write_text(FAIL)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "dvc.yaml").write_text(STAGES)
    (tmp_path / "params.yaml").write_text("dataset: pumps\n")
    (tmp_path / ".gitignore").write_text(".refit/\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=tmp_path, check=True)
    yield tmp_path
    servers.stop(tmp_path)


def ask(root: Path, path: str) -> Any:
    request = urllib.request.Request(
        f"{servers.running(root)['prefect'].url}/api/{path}",
        data=b"{}",
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.load(reply)


@pytest.mark.slow
def test_a_failure_ends_the_run_and_is_reported_once(project: Path) -> None:
    """The stage's error is the message of task, run and report; no later stage runs."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PREFECT")
    }
    done = subprocess.run(
        [sys.executable, "-m", "refit.cli.app", "run"],
        cwd=project,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    message = "stage second failed: a.csv: the column `x` | `y` is missing."
    assert done.returncode == 1
    assert " ".join(done.stderr.split()) == f"refit: {message}"
    assert "Completed first" in done.stdout
    (run,) = ask(project, "flow_runs/filter")
    assert (run["state_name"], run["state"]["message"]) == ("Failed", message)
    tasks = {task["name"]: task["state"] for task in ask(project, "task_runs/filter")}
    assert {name: state["name"] for name, state in tasks.items()} == {
        "first": "Completed",
        "second": "Failed",
    }
    assert tasks["second"]["message"] == message
    (report,) = ask(project, "artifacts/latest/filter")
    assert "| first | Completed |" in report["data"]
    assert report["data"].endswith(f"**Failed.**\n\n```\n{message}\n```\n")
    assert "hello" in [entry["message"] for entry in ask(project, "logs/filter")]


def test_a_schedule_ingests_nothing_without_a_source(project: Path) -> None:
    """For a dataset without a source `next` does nothing; a partition's name is an error."""
    ingest = next(steps(project, until="next"))
    result = ingest.run(print)
    assert (result.name, result.outcome) == ("ingest", Outcome.CACHED)
    assert "no source" in result.reason
    with pytest.raises(SetupError, match="no source"):
        next(steps(project, until="2024-01")).run(print)


def test_the_report_ends_in_the_decision() -> None:
    """The report has a row for each step in order, then the last step's own report."""
    done = StepResult(name="train", outcome=Outcome.COMPLETED, reason="a", seconds=1.25)
    decided = StepResult(
        name="promote", outcome=Outcome.CACHED, reason="", seconds=0, report="**Promoted.**\n"
    )
    assert report([done, decided]) == (
        "| Step | State | Seconds | Why |\n"
        "| --- | --- | ---: | --- |\n"
        "| train | Completed | 1.2 | a |\n"
        "| promote | Cached | 0.0 | nothing had changed |\n"
        "\n"
        "**Promoted.**\n"
    )
