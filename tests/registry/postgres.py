"""A temporary PostgreSQL server: its own folder, a loopback port, never as root."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 240.0
"""Seconds within which the server must answer."""
ACCOUNTS = ("postgres", "nobody")
"""Accounts that run the server if this process is root: PostgreSQL refuses root."""


def programs() -> Path | None:
    """The folder of initdb and postgres; on Debian it is not on the path."""
    initdb = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    candidates = (
        [Path(initdb).resolve().parent]
        if initdb
        else [f for f in folders if (f / "initdb").exists()]
    )
    return candidates[0] if candidates else None


@contextmanager
def server() -> Iterator[str]:
    """The address of an empty database, as SQLAlchemy expects it."""
    folder = programs()
    assert folder is not None
    home = Path(tempfile.mkdtemp(prefix="refit-postgres-"))
    account = _account()
    if account is not None:
        os.chown(home, account.pw_uid, account.pw_gid)
    identity = {"user": account.pw_uid, "group": account.pw_gid} if account else {}
    data, password, port = home / "data", secrets.token_hex(16), _free_port()
    secret = home / "password"
    secret.write_text(password)
    secret.chmod(0o644)
    make = (folder / "initdb", "-D", data, "-U", "refit", "-A", "scram-sha-256", "-N")
    make = (*make, f"--pwfile={secret}", "-E", "UTF8", "--locale=C")
    serve = (folder / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", str(home))
    serve = (*serve, "-c", "fsync=off", "-c", "max_connections=200")
    process = None
    try:
        with (home / "log").open("w") as log:
            options: dict[str, Any] = {"cwd": home, "stdout": log, "stderr": log, **identity}
            subprocess.run(make, check=True, **options)
            process = subprocess.Popen(serve, **options)
        _wait(folder, process, port, home / "log")
        yield f"postgresql://refit:{password}@127.0.0.1:{port}/postgres"
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # fast shutdown: clients are disconnected
            process.wait(120)
        shutil.rmtree(home, ignore_errors=True)


def _account() -> pwd.struct_passwd | None:
    """Another account, if this process is root."""
    if os.geteuid():
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next(known[name] for name in ACCOUNTS if name in known)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(folder: Path, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    ask = [folder / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ask, check=False).returncode:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
