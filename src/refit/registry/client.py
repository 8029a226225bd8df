"""The connection to a registered model: MLflow's client, translated errors, retried writes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from refit.tracking import errors
from refit.tracking.client import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True, kw_only=True)
class Connection:
    """The registered model `name` of the project at `root`."""

    root: Path
    name: str
    client: "MlflowClient"

    @classmethod
    def open(cls, root: Path, name: str) -> "Connection":
        """Connect to the project's registry.

        Raises:
            RegistryError: MLflow cannot be reached.
        """
        return cls(root=root, name=name, client=connect(root))

    @contextmanager
    def reading(self, problem: str) -> Iterator["MlflowClient"]:
        """Call MLflow once; its error becomes a RegistryError.

        Args:
            problem: what it means when the call fails, such as "versions cannot be listed".
        """
        with errors.translated(problem, self.name):
            yield self.client

    def write(self, problem: str, write: Callable[["MlflowClient"], None]) -> None:
        """Call `write` with the client, again while other writers are in the way.

        Args:
            problem: what it means when the call fails.
            write: may be called several times.
        """

        def attempt() -> None:
            with errors.translated(problem, self.name):
                write(self.client)

        errors.retry(attempt)
