"""Translates MLflow's errors, tells them apart, and retries writes that other writers disturbed."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from refit.core.errors import RegistryError
from refit.tracking.client import short

RETRY_SECONDS = 120.0
"""How long a write is retried while other writers are in the way."""
RACES = (
    "Giving up after",
    "duplicate key",
    "UNIQUE constraint",
    "Duplicate entry",
    "were matched",
)
"""Parts of the messages of MLflow and its databases to the second of two writers of one row."""


@contextmanager
def translated(problem: str, name: str) -> Iterator[None]:
    """Turn an error of MLflow into a RegistryError.

    Args:
        problem: what it means when the call fails, such as "versions cannot be listed".
        name: of the registered model.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError, ValueError) as error:  # ValueError: an address of no use
        raise RegistryError(
            problem,
            where=f"registered model {name}",
            got=short(error),
            do="check that the MLflow server is up and its disk is not full, then run this again:"
            " finished steps are kept",
        ) from error


def is_missing(error: RegistryError) -> bool:
    """Whether MLflow does not know what was asked for."""
    return _code(error) == "RESOURCE_DOES_NOT_EXIST"


def already_exists(error: RegistryError) -> bool:
    """Whether MLflow has already what was to be created."""
    return _code(error) == "RESOURCE_ALREADY_EXISTS"


def is_race(error: RegistryError) -> bool:
    """Whether other writers were in the way, so that the same call may succeed later."""
    text = str(error.__cause__)
    return _code(error) == "TEMPORARILY_UNAVAILABLE" or any(part in text for part in RACES)


def retry(write: Callable[[], None]) -> None:
    """Call `write`, again while other writers are in the way."""
    deadline = time.monotonic() + RETRY_SECONDS
    while True:
        try:
            write()
        except RegistryError as error:
            if not is_race(error) or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.02, 0.3))  # noqa: S311 - so that two writers do not meet again
        else:
            return


def _code(error: RegistryError) -> str:
    """MLflow's error code; empty if there is none."""
    return str(getattr(error.__cause__, "error_code", ""))
