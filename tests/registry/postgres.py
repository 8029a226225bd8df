"""A PostgreSQL server of one's own: on a temporary folder and a loopback port, never as root."""

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

PATIENCE = 60.0
"""Seconds until it must answer."""
ACCOUNTS = ("postgres", "nobody")
"""Whom root lets run it: PostgreSQL refuses to run as root."""


def programs() -> Path | None:
    """The folder of initdb and postgres; Debian keeps it off the path."""
    found = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    candidates = (
        [Path(found).resolve().parent] if found else [f for f in folders if (f / "initdb").exists()]
    )
    return candidates[0] if candidates else None


@contextmanager
def server() -> Iterator[str]:
    """The address of an empty database, as SQLAlchemy takes it."""
    folder = programs()
    assert folder is not None
    home = Path(tempfile.mkdtemp(prefix="refit-postgres-"))
    account = _account()
    if account is not None:
        os.chown(home, account.pw_uid, account.pw_gid)
    as_whom = {"user": account.pw_uid, "group": account.pw_gid} if account else {}
    data, password, port = home / "data", secrets.token_hex(16), _free_port()
    secret = home / "password"
    secret.write_text(password)
    secret.chmod(0o644)
    process = None
    make = (folder / "initdb", "-D", data, "-U", "refit", "-A", "scram-sha-256", "-N")
    make = (*make, f"--pwfile={secret}", "-E", "UTF8", "--locale=C")
    serve = (folder / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", str(home))
    serve = (*serve, "-c", "fsync=off", "-c", "max_connections=200")
    process = None
    try:
        with (home / "log").open("w") as log:
            told: dict[str, Any] = {"cwd": home, "stdout": log, "stderr": log, **as_whom}
            subprocess.run(make, check=True, **told)
            process = subprocess.Popen(serve, **told)
        _wait(folder, process, port, home / "log")
        yield f"postgresql://refit:{password}@127.0.0.1:{port}/postgres"
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # its fast way: clients are cut off
            process.wait(20)
        shutil.rmtree(home, ignore_errors=True)


def _account() -> pwd.struct_passwd | None:
    """Somebody else, where this is root."""
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
