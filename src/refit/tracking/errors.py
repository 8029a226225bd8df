"""MLflow's faults in words, and which of them mean that a thing is missing, there, or busy."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from refit.core.errors import RegistryError
from refit.tracking.client import short

PATIENCE = 120.0
"""Seconds for which a busy registry is asked again."""
RACES = (
    "Giving up after",
    "duplicate key",
    "UNIQUE constraint",
    "Duplicate entry",
    "were matched",
)
"""What MLflow and its databases say to the second of two who write or delete the same row."""


@contextmanager
def said(what: str, name: str) -> Iterator[None]:
    """Turn MLflow's fault into one that says what could not be done.

    Args:
        what: could not be done.
        name: of the registered model.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        raise RegistryError(
            what,
            where=f"registered model {name}",
            got=short(error),
            do="see whether the MLflow server is up and its disk is not full, then run again:"
            " what was done is kept",
        ) from error


def missing(error: RegistryError) -> bool:
    """Whether MLflow knows nothing of what it was asked for."""
    return _code(error) == "RESOURCE_DOES_NOT_EXIST"


def there(error: RegistryError) -> bool:
    """Whether what was to be made is there already."""
    return _code(error) == "RESOURCE_ALREADY_EXISTS"


def busy(error: RegistryError) -> bool:
    """Whether others were writing at that moment, so that the same may succeed in the next."""
    text = str(error.__cause__)
    return _code(error) == "TEMPORARILY_UNAVAILABLE" or any(word in text for word in RACES)


def patiently(write: Callable[[], None]) -> None:
    """Write; once more, as long as others are writing the same at the same moment."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            write()
        except RegistryError as error:
            if not busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.02, 0.3))  # noqa: S311 - so that rivals do not meet again
        else:
            return


def _code(error: RegistryError) -> str:
    """MLflow's code of what went wrong; '' where it gave none."""
    return str(getattr(error.__cause__, "error_code", ""))
