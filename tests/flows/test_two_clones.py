"""Two clones on one machine: each has its own Prefect server, runs and registry."""

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from refit.core import files, paths
from refit.registry.sqlite_reader import SqliteReader
from refit.workspace import servers


@pytest.fixture
def clones(projects: Callable[[str], Any], tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """Two copies of a project whose stages are up to date, both without versions."""
    with ExitStack() as stack:
        copies = [projects("pumps").copy(tmp_path / name / "pumps") for name in ("one", "two")]
        for copy in copies:
            stack.callback(servers.stop, copy.root)
        yield copies[0], copies[1]


def run(project: Any, **variables: str) -> str:
    """`refit run`, in a shell that has these variables."""
    done = subprocess.run(
        [str(project.root / ".venv/bin/refit"), "run", "--quiet"],
        cwd=project.root,
        env=project.environment | variables,
        text=True,
        capture_output=True,
        check=True,
        timeout=600,
    )
    return str(done.stdout)


def flow_runs(root: Path) -> int:
    """How many runs the project's own server knows."""
    request = urllib.request.Request(
        f"{servers.running(root)['prefect'].url}/api/flow_runs/count",
        data=b"{}",
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as reply:
        return int(json.load(reply))


def places(root: Path) -> list[str]:
    return [place.runs for place in SqliteReader.open(root, "pumps").versions.places()]


@pytest.mark.heavy
def test_two_clones_never_talk_to_each_other(clones: tuple[Any, Any]) -> None:
    """Not even where the shell's variables name the server and the home of the other clone."""
    one, two = clones
    one.change("evaluate", resamples=150)
    run(one)
    two.change("evaluate", resamples=150)
    before = files.digest(one.root / paths.MLFLOW)
    api = servers.prefect_environment(servers.running(one.root)["prefect"])
    run(two, **api, PREFECT_HOME=str(one.root / paths.PREFECT), PREFECT_PROFILE="refit")
    assert servers.running(one.root)["prefect"].port != servers.running(two.root)["prefect"].port
    assert (flow_runs(one.root), flow_runs(two.root)) == (1, 1)
    assert files.digest(one.root / paths.MLFLOW) == before
    for clone in (one, two):
        assert places(clone.root) == [f"file://{clone.root / paths.ARTIFACTS / 'pumps'}"]
