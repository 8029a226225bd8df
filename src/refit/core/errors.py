"""The errors that a user can cause or fix.

    RefitError
    ├── ConfigError      params.yaml or dvc.yaml says something impossible
    ├── DataError        a raw table, a partition or the examples are not what they must be
    ├── TrainingError    the optimisation failed (NaN, infinity)
    ├── PipelineError    Git, DVC, the lock, or a stage that failed
    ├── DiskError        a file cannot be written: the disk is full, or the folder read-only
    ├── ServerLostError  Prefect's server stopped during a run
    ├── RegistryError    MLflow cannot be reached or holds something unexpected
    └── SetupError       the environment: packages, processor, ports, servers

Each prints as one paragraph that says what is wrong, where, what was got, what was expected and
what to do. The command line prints that paragraph and nothing else.
"""

import errno
from pathlib import Path

from refit.core.printable import printable


class RefitError(Exception):
    """An error: what is wrong, where, what was got, what was expected, and how to fix it.

    Its message quotes what was found, so it is made printable here, for every terminal and log.
    """

    def __init__(
        self, what: str, *, where: str = "", got: str = "", expected: str = "", do: str = ""
    ) -> None:
        parts = [_sentence(f"{where}: {what}" if where else what)]
        if got:
            parts.append(_sentence(f"Got {got}"))
        if expected:
            parts.append(_sentence(f"Expected {expected}"))
        if do:
            parts.append(_sentence(f"To fix it: {do}"))
        super().__init__(printable(" ".join(parts)))


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else text + "."


class ConfigError(RefitError):
    """params.yaml or dvc.yaml says something impossible."""


class DataError(RefitError):
    """A raw table, a partition or the examples are not what they must be."""


class TrainingError(RefitError):
    """The optimisation failed."""


class PipelineError(RefitError):
    """Git, DVC, the lock, or a stage that failed."""


class DiskError(RefitError):
    """A file cannot be written: the disk is full, or the folder read-only."""

    REASONS = frozenset({errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.EPERM, errno.EROFS})

    def __init__(self, error: OSError, where: str) -> None:
        super().__init__(
            "the file cannot be written",
            where=where,
            got=error.strerror or str(error),
            do="free space on the disk, or make the folder writable, then run this again; finished"
            " work is kept",
        )

    @classmethod
    def of(cls, error: OSError) -> "DiskError":
        """What to tell of an OSError; raises it again where it has another reason."""
        if error.errno not in cls.REASONS:
            raise error
        return cls(error, str(error.filename or Path.cwd()))


class ServerLostError(RefitError):
    """Prefect's server stopped during a run. What was not yet sent to it is lost."""


class RegistryError(RefitError):
    """MLflow cannot be reached or holds something unexpected."""


class SetupError(RefitError):
    """The environment: packages, processor, ports, servers."""
