"""The flow on a real Prefect server: states, logs, the report, and a failure as one paragraph."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from refit.core import files
from refit.workspace import servers
from refit.workspace.servers import Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(
    projects: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A project whose pipeline is up to date; its server is stopped at the end."""
    copy = projects("pumps").copy(tmp_path_factory.mktemp("flow") / "pumps")
    yield copy
    servers.stop(copy.root)


def ask(root: Path, path: str, body: dict[str, Any]) -> Any:
    server = servers.running(root)["prefect"]
    request = urllib.request.Request(
        f"{server.url}/api/{path}",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.load(reply)


def task_states(root: Path) -> dict[str, str]:
    """The task states of the flow run that ended last."""
    ended = {"state": {"type": {"any_": ["COMPLETED", "FAILED"]}}}
    asked = {"limit": 1, "sort": "END_TIME_DESC", "flow_runs": ended}
    (run,) = ask(root, "flow_runs/filter", asked)
    chosen = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    return {task["name"]: task["state_name"] for task in ask(root, "task_runs/filter", chosen)}


def test_task_states_say_what_became_of_each_step(project: Any) -> None:
    """A changed stage is Completed, a restored one Restored, the others Cached; a report is stored."""
    first = project.call("refit", "run")
    assert "promote" in first.stdout
    project.change("evaluate", resamples=150)
    shown = project.call("refit", "run").stdout
    states = task_states(project.root)
    unchanged = dict.fromkeys(("validate", "preprocess", "baseline", "train"), "Cached")
    assert states == unchanged | {"evaluate": "Completed", "promote": "Cached"}
    assert "modified params.yaml: evaluate" in shown
    project.change("evaluate", resamples=100)
    project.call("refit", "run")
    assert task_states(project.root)["evaluate"] == "Restored"
    (report,) = ask(project.root, "artifacts/latest/filter", {"limit": 1})
    assert report["key"] == "report"
    assert "| evaluate | Restored |" in report["data"]
    assert "log_loss" in report["data"]
    logs = ask(project.root, "logs/filter", {"limit": 200})
    assert any("bundle equals the model" in entry["message"] for entry in logs)


def test_nothing_to_do_starts_no_server(project: Any) -> None:
    """When everything is up to date, no server starts."""
    project.call("refit", "run")
    project.call("refit", "down")
    shown = project.call("refit", "run").stdout
    assert shown.count("Cached") == 6
    assert not servers.running(project.root)


def test_a_failing_stage_is_a_paragraph(project: Any) -> None:
    """The terminal shows the stage's error without a traceback; the task is Failed."""
    project.change("network", batch_size=30_000)
    failed = project.call("refit", "run", check=False)
    project.change("network", batch_size=64)
    assert failed.returncode == 1
    assert "fewer training rows than one batch" in failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    assert task_states(project.root)["train"] == "Failed"
    assert project.call("refit", "run").returncode == 0


def test_up_serves_the_deployment_and_stops_cleanly(project: Any) -> None:
    """`refit up` runs a deployment through its worker; after Ctrl-C no process is left."""
    project.call("refit", "down")
    environment = project.environment
    process = subprocess.Popen(
        [sys.executable, "-m", "refit.cli.app", "up"],
        cwd=project.root,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("MLflow"):
                break
        found = servers.running(project.root)
        assert found.keys() == {"prefect", "worker", "mlflow"}
        api = {"PREFECT_API_URL": f"{found['prefect'].url}/api"}
        done = subprocess.run(
            [
                *(sys.executable, "-m", "prefect", "deployment", "run", "retrain/retrain"),
                *("--param", "until=null", "--watch"),
            ],
            cwd=project.root,
            env={**environment, **api},
            text=True,
            capture_output=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert set(task_states(project.root).values()) == {"Cached"}
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(240)
    assert not servers.running(project.root)
    assert not [server.pid for server in found.values() if psutil.pid_exists(server.pid)]


def test_a_server_is_known_by_more_than_its_process_id(tmp_path: Path) -> None:
    """A program that has got the process id of a server is not that server."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        created = psutil.Process(child.pid).create_time()
        path = tmp_path / ".refit/servers.json"
        for started, known in ((created, True), (created - 3600, False)):
            server = Server(name="prefect", pid=child.pid, created=started, port=1)
            files.write_json(path, {"prefect": asdict(server)})
            assert bool(servers.running(tmp_path)) == known
        assert servers.stop(tmp_path) == ()
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
