"""A person's answer in Prefect: with a real server and worker, both restarted before the answer."""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from refit.promotion import approval, history
from refit.registry.registry import Registry
from refit.workspace import servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
RETRIED = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.NOT_FOUND}
"""Answers after which a request is repeated: the database is locked, or the form not yet written."""
PATIENCE = 300.0
"""Seconds until a run must have reached a state."""


@pytest.fixture
def project(
    projects: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A project whose pipeline has run and in which a person decides."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    copy = projects("pumps").copy(tmp_path / "pumps")
    copy.change("promote", approval="person")
    yield copy
    servers.stop(copy.root)


@contextmanager
def up(project: Any) -> Iterator[None]:
    """`refit up` runs within the block; Ctrl-C ends it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "refit.cli.app", "up"],
        cwd=project.root,
        env=project.environment | {"PREFECT_SERVER_API_PORT": "0", "MLFLOW_PORT": "0"},
        text=True,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert any(line.startswith("MLflow") for line in process.stdout)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(240)


def ask(root: Path, path: str, body: dict[str, Any] | None = None) -> Any:
    """The reply of Prefect's server; with a body the request is a POST."""
    address = f"{servers.running(root)['prefect'].url}/api/{path}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        address, data=data, headers={"content-type": "application/json"}
    )
    for can_retry in (True, True, True, False):
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return json.loads(reply.read() or b"null")
        except urllib.error.HTTPError as error:
            if error.code not in RETRIED or not can_retry:
                raise
            time.sleep(1)
    return None


def start(root: Path) -> str:
    """Start the deployment without ingesting; returns the run's id."""
    deployment = ask(root, "deployments/name/retrain/retrain")
    path = f"deployments/{deployment['id']}/create_flow_run"
    return str(ask(root, path, {"parameters": {"until": None}})["id"])


def wait(root: Path, run: str, *names: str) -> dict[str, Any]:
    """Wait until the run's state has one of these names, and return the state."""
    deadline = time.monotonic() + PATIENCE
    while True:
        state: dict[str, Any] = ask(root, f"flow_runs/{run}")["state"]
        if state["name"] in names:
            return state
        assert time.monotonic() < deadline, state
        assert state["type"] not in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}, state
        time.sleep(0.5)


def answer(root: Path, run: str, **form: str) -> Any:
    return ask(root, f"flow_runs/{run}/resume", {"run_input": form})


def test_a_run_waits_for_a_person(project: Any) -> None:
    """The run is suspended with a form, outlives its server, and carries the answer out."""
    root = project.root
    with up(project):
        run = start(root)
        state = wait(root, run, "Suspended")
        keys = state["state_details"]["run_input_keyset"]
        schema = ask(root, f"flow_runs/{run}/input/{keys['schema']}")
        assert schema["properties"]["answer"]["enum"] == ["approve", "reject"]
        shown = ask(root, f"flow_runs/{run}/input/{keys['description']}")
        assert "Version 1 has earned promotion and waits for a person" in shown
        refused = answer(root, run, answer="perhaps")
        assert refused["status"] == "REJECT"
        assert wait(root, run, "Suspended")
    with up(project):
        reply = answer(root, run, answer="approve", why="looks right", who="ann")
        assert reply["status"] == "ACCEPT"
        assert wait(root, run, "Completed")["message"] == "Version 1 is champion now."
        assert answer(root, run, answer="reject")["status"] != "ACCEPT"
    entry = history.read(root).entries[-1][1]
    assert (entry.kind, entry.who, entry.why, entry.after) == ("approve", "ann", "looks right", 1)
    assert Registry.open(root).aliases.get("champion") == 1


def test_the_first_answer_counts(project: Any) -> None:
    """A run whose version was answered elsewhere ends as Overtaken: on its answer, or immediately."""
    root = project.root
    with up(project):
        run = start(root)
        wait(root, run, "Suspended")
        approval.reject(root, 1, why="not today", who="bob")  # on another machine
        assert answer(root, run, answer="approve")["status"] == "ACCEPT"
        message = wait(root, run, "Overtaken")["message"]
        assert message == "version 1 does not wait: entry 2 of the ledger: reject by bob"
        project.change("promote", confidence=0.9)  # another policy asks again
        run = start(root)
        wait(root, run, "Suspended")
        shown = project.call("refit", "approve", "1", "--why", "now it is").stdout
        assert "the run that waited in Prefect has ended" in shown
        assert "approve by" in wait(root, run, "Overtaken")["message"]
    kinds = [entry.kind for _, entry in history.read(root).entries]
    assert kinds == ["wait", "reject", "wait", "approve"]
    assert Registry.open(root).aliases.get("champion") == 1


def test_a_plain_run_does_not_hang(project: Any) -> None:
    """It ends and says that a person is awaited and how to answer, each time."""
    for _ in range(2):
        shown = project.call("refit", "run", "--no-server").stdout
        assert "Version 1 waits for a person: `refit approve 1` or `refit reject 1" in shown
    assert "waits      version 1" in project.call("refit", "status").stdout
