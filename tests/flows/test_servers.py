"""Local servers: one of each kind, found again by id and start time, and all stopped."""

import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from refit.core.errors import SetupError
from refit.workspace import servers
from refit.workspace.ports import reserved

ENSURE = """\
import sys
from pathlib import Path
from refit.workspace import servers
server = servers.ensure(Path(sys.argv[1]), "prefect")
print(server.pid, server.port)
"""
LISTEN = ("http.server", "0", "--bind", "127.0.0.1")
"""The command of a program that runs until it is stopped."""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    servers.stop(tmp_path)


@pytest.mark.slow
def test_simultaneous_starts_give_one_server(root: Path) -> None:
    """Two commands that need a server share one, on a free port, with all files in the project."""
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        environment = os.environ | {"PREFECT_SERVER_API_PORT": str(taken)}
        starting = [
            subprocess.Popen(
                [sys.executable, "-c", ENSURE, str(root)],
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
            )
            for _ in range(2)
        ]
        one, two = (process.communicate(timeout=240)[0].split() for process in starting)
    server = servers.running(root)["prefect"]
    assert one == two == [str(server.pid), str(server.port)]
    assert server.port != taken
    profiles = tomllib.loads((root / ".refit/prefect/profiles.toml").read_text())
    assert profiles["profiles"][profiles["active"]] == {"PREFECT_API_URL": f"{server.url}/api"}
    with closing(sqlite3.connect(root / ".refit/prefect/prefect.db")) as database:
        assert database.execute("select count(*) from flow_run").fetchone() == (0,)
    assert {path.name for path in root.iterdir()} == {".refit"}


def test_two_projects_never_get_one_port() -> None:
    """A port is another's from its reservation on, and free again when the server has ended."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        preferred = probe.getsockname()[1]
    with reserved(preferred) as first, reserved(preferred) as second:
        assert first.port == preferred != second.port
        command = [sys.executable, "-c", "input()"]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(first.descriptor,))
    with reserved(preferred) as third:
        assert third.port not in {preferred, 0}
    server.communicate(b"end\n")
    with reserved(preferred) as fourth:
        assert fourth.port == preferred


def test_a_second_of_a_kind_is_refused(root: Path) -> None:
    """A program that runs already is named, not started a second time."""
    first = servers.launch(root, "worker", LISTEN, {})
    with pytest.raises(SetupError, match=f"process {first.pid}"):
        servers.launch(root, "worker", LISTEN, {})
    assert servers.running(root) == {"worker": first}


def test_stopping_is_fast_and_complete(root: Path) -> None:
    """Servers of another command end fast, even while they are zombies of that command."""
    names = ("mlflow", "prefect", "worker")
    launched = [servers.launch(root, name, LISTEN, {}) for name in names]
    stop = "from pathlib import Path; from refit.workspace import servers; print(servers.stop(Path.cwd()))"
    output = subprocess.check_output([sys.executable, "-c", stop], cwd=root, text=True)
    assert output == "('worker', 'mlflow', 'prefect')\n"
    assert not any(server.alive() for server in launched)
    assert servers.dead(root) == ()


def test_a_dead_server_differs_from_a_stopped_one(root: Path) -> None:
    """A killed server is dead, a stopped one is not; a new one can then be started."""
    server = servers.launch(root, "worker", LISTEN, {})
    assert servers.dead(root) == ()
    psutil.Process(server.pid).kill()
    while server.alive():
        time.sleep(0.01)
    assert servers.dead(root) == ("worker",)
    assert servers.launch(root, "worker", LISTEN, {}).pid != server.pid


def test_another_program_on_the_port_is_not_the_server(root: Path) -> None:
    """While another program has the port, the server does not answer; the error shows the log."""
    (root / "api").mkdir()
    (root / "api/health").write_text("healthy")
    other = servers.launch(root, "mlflow", LISTEN, {})
    ours = servers.launch(root, "worker", LISTEN, {})
    ports: list[int] = []
    while not ports:
        found = psutil.Process(other.pid).net_connections("tcp4")
        ports = [connection.laddr.port for connection in found]
    log = root / ".refit/logs/prefect.log"
    log.write_text("address already in use\n")
    theirs = replace(ours, name="prefect", port=ports[0])
    threading.Timer(1, psutil.Process(ours.pid).kill).start()
    with pytest.raises(SetupError, match="address already in use"):
        servers.wait(root, theirs)
    servers.wait(root, replace(other, name="prefect", port=ports[0]))


def test_a_server_that_cannot_start_is_reported(root: Path) -> None:
    """The error ends in the last lines of the log."""
    server = servers.launch(root, "prefect", ("no_such_program",), {})
    with pytest.raises(SetupError, match="No module named no_such_program"):
        servers.wait(root, server)
