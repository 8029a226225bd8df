"""Asks for memory before it is taken: a program that takes too much is killed without a word."""

import psutil

from refit.core.errors import ConfigError

GIB = 2**30


def require(needed: int, what: str, *, where: str, do: str) -> None:
    """Raise ConfigError unless so much memory is free.

    Args:
        needed: bytes.
        what: needs it, as the subject of a sentence.
        where: the parameters that decide.
        do: how to need less.
    """
    available = free()
    if needed > available:
        raise ConfigError(
            f"{what} needs more memory than is free",
            where=where,
            got=f"{needed / GIB:,.1f} GiB needed",
            expected=f"at most {available / GIB:,.1f} GiB",
            do=do,
        )


def free() -> int:
    """Bytes that programs can take without swapping."""
    return int(psutil.virtual_memory().available)
