"""Ports that no two servers of this machine take at the same moment.

A server listens seconds after its start, so a port that looks free may be another server's already.
A reservation is a lock on a file of the port. The server inherits the open file, so the lock lasts
as long as the server. (filelock cannot do this: its lock ends with the process that took it.)
"""

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from refit.core.errors import SetupError

HOST = "127.0.0.1"
TRIES = 20


@dataclass(frozen=True)
class Reservation:
    """A free port, and the open file that keeps it for the process that inherits it."""

    port: int
    descriptor: int


@contextmanager
def reserved(preferred: int) -> Iterator[Reservation]:
    """The preferred port, or any free one where another program has it or is about to take it.

    Raises:
        SetupError: no port is free.
    """
    for port in (preferred, *(0 for _ in range(TRIES))):
        reservation = _reserve(port)
        if reservation is not None:
            try:
                yield reservation
            finally:
                os.close(reservation.descriptor)
            return
    raise SetupError("no port is free", where=HOST)


def _reserve(port: int) -> Reservation | None:
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        number = int(probe.getsockname()[1])
        path = Path(tempfile.gettempdir(), f"refit-port-{number}.lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return Reservation(number, descriptor)
    return None
