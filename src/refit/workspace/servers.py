"""Local servers as background processes: started once, found again, stopped.

`.refit/servers.json` records the process, start time and port of each server. A process id alone
proves nothing, because the system gives ids again. So a server counts as this project's only when
the process with its id began at the recorded time. Every server binds to 127.0.0.1. Whatever reads
the file and then writes it holds a lock, so two commands never start a second server.
"""

import http
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from refit.core import files, paths
from refit.core.errors import SetupError
from refit.workspace.lock import only_one
from refit.workspace.ports import HOST, reserved
from refit.workspace.project import environment, mlflow_uri

GRACE = 10.0
"""Seconds that a server may take to end after SIGTERM."""
PATIENCE = 120.0
"""Seconds that a server may take to answer, and that a command waits for another one."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server of this project."""

    name: str
    pid: int
    created: float
    port: int

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://{HOST}:{self.port}"

    def alive(self) -> bool:
        """Whether the process that was started still runs."""
        with suppress(psutil.Error):
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.created) < 1 and _is_alive(process)
        return False


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """How a server is started and asked for its health."""

    port: int
    """The preferred port; 0 means any free port."""
    health: str
    command: tuple[str, ...]


def _kinds(root: Path) -> dict[str, _Kind]:
    return {
        "prefect": _Kind(
            port=int(os.environ.get("PREFECT_SERVER_API_PORT", "4200")),
            health="/api/health",
            command=("prefect", "server", "start", "--host", HOST, "--port", "{port}"),
        ),
        "mlflow": _Kind(
            port=int(os.environ.get("MLFLOW_PORT", "5000")),
            health="/health",
            command=(
                *("mlflow", "server", "--host", HOST, "--port", "{port}", "--workers", "1"),
                *("--backend-store-uri", mlflow_uri(root)),
                *("--default-artifact-root", (root / paths.ARTIFACTS).as_uri()),
            ),
        ),
    }


def running(root: Path) -> dict[str, Server]:
    """The running servers of this project, by name."""
    return {name: server for name, server in _recorded(root).items() if server.alive()}


def dead(root: Path) -> tuple[str, ...]:
    """The servers that ended by themselves. Waits for a command that is stopping one."""
    with _locked(root):
        return tuple(name for name, server in _recorded(root).items() if not server.alive())


def _recorded(root: Path) -> dict[str, Server]:
    path = root / paths.SERVERS
    if not path.exists():
        return {}
    return {name: Server(**value) for name, value in files.read_json(path).items()}


def ensure(root: Path, name: str) -> Server:
    """The server `prefect` or `mlflow`, started in the background unless it runs already.

    Raises:
        SetupError: it does not answer in time; its log is named.
    """
    server = begin(root, name)
    wait(root, server)
    return server


def begin(root: Path, name: str) -> Server:
    """The server, started unless it runs already. It may not answer yet; see `wait`."""
    with _locked(root):
        return running(root).get(name) or _start(root, name)


def launch(root: Path, name: str, command: tuple[str, ...], extra: Mapping[str, str]) -> Server:
    """Start a program of the virtual environment with its output in .refit/logs/NAME.log.

    Raises:
        SetupError: it runs already.
    """
    with _locked(root):
        present = running(root).get(name)
        if present is not None:
            raise SetupError(
                f"the {name} runs already",
                where=str(root),
                got=f"process {present.pid}",
                do="use the one that is up, or end it with `refit down`",
            )
        return _launch(root, name, command, extra, port=0)


def _launch(
    root: Path,
    name: str,
    command: tuple[str, ...],
    extra: Mapping[str, str],
    *,
    port: int,
    inherited: tuple[int, ...] = (),
) -> Server:
    log = root / paths.LOGS / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=root,
            env={**os.environ, **environment(root), **extra},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=inherited,
        )
    created = psutil.Process(process.pid).create_time()
    server = Server(name=name, pid=process.pid, created=created, port=port)
    _write(root, running(root) | {server.name: server})
    return server


def stop(root: Path, names: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Stop the named servers of this project, or all without a name; returns those stopped."""
    with _locked(root):
        servers = running(root)
        # The worker ends first, because it reports its end to Prefect's server.
        ordered = sorted(servers, key=lambda name: name != "worker")
        stopped = [name for name in ordered if name in (names or servers)]
        for name in stopped:
            _end(servers.pop(name))
        if stopped:
            _write(root, servers)
    return tuple(stopped)


def prefect_environment(server: Server) -> dict[str, str]:
    """The variables with which a Prefect client finds the server."""
    return {"PREFECT_API_URL": f"{server.url}/api"}


def _start(root: Path, name: str) -> Server:
    kind = _kinds(root)[name]
    with reserved(kind.port) as reservation:
        port = reservation.port
        command = tuple(part.format(port=port) for part in kind.command)
        api = {"PREFECT_API_URL": f"http://{HOST}:{port}/api"} if name == "prefect" else {}
        inherited = (reservation.descriptor,)
        server = _launch(root, name, command, api, port=port, inherited=inherited)
    if name == "prefect":
        _profile(root, server)
    return server


def _profile(root: Path, server: Server) -> None:
    """Write the profile with which the command `prefect` finds the server in this project."""
    url = prefect_environment(server)["PREFECT_API_URL"]
    files.write_text(
        Path(environment(root)["PREFECT_PROFILES_PATH"]),
        f'active = "refit"\n\n[profiles.refit]\nPREFECT_API_URL = "{url}"\n',
    )


def wait(root: Path, server: Server) -> None:
    """Wait until the server answers.

    Raises:
        SetupError: it ended, or did not answer in time.
    """
    health = _kinds(root)[server.name].health
    deadline = time.monotonic() + PATIENCE
    # Another program may have taken the port meanwhile, and would answer in the server's place.
    while not (_listens(server) and _answers(server.port, health)):
        if not server.alive() or time.monotonic() > deadline:
            log = root / paths.LOGS / f"{server.name}.log"
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            raise SetupError(
                f"the {server.name} server does not answer",
                where=server.url + health,
                got=" / ".join(lines[-3:]) or "no output",
                do=f"read {log}, or work without it (`refit run --no-server`)",
            )
        time.sleep(0.2)


def _listens(server: Server) -> bool:
    """Whether the server or one of its children listens on the port."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(server.pid)
        family = [process, *process.children(recursive=True)] if server.alive() else []
        ports = {
            connection.laddr.port
            for member in family
            for connection in member.net_connections("tcp4")
            if connection.status == psutil.CONN_LISTEN
        }
        return server.port in ports
    return False


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    return False


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold the lock of `.refit/servers.json`."""
    busy = "another command starts or stops the servers"
    with only_one(root / paths.SERVERS_LOCK, PATIENCE, poll=0.05, busy=busy):
        yield


def _write(root: Path, servers: Mapping[str, Server]) -> None:
    files.write_json(root / paths.SERVERS, {name: asdict(value) for name, value in servers.items()})


def _end(server: Server) -> None:
    """End the process and its children: by SIGTERM, and by SIGKILL after GRACE seconds."""
    with suppress(psutil.Error):
        process = psutil.Process(server.pid)
        family = [process, *process.children(recursive=True)]
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        while any(map(_is_alive, family)) and time.monotonic() < deadline:
            time.sleep(0.05)
        for process in filter(_is_alive, family):
            with suppress(psutil.Error):
                process.kill()
        # Children of this process stay zombies until it collects them.
        psutil.wait_procs(family, timeout=0.1)


def _is_alive(process: psutil.Process) -> bool:
    """Whether the process runs; a zombie has ended and waits for its parent to collect it."""
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
