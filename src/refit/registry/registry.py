"""The registry of a project: its versions, aliases, artifacts, tags and ledger, opened together."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from refit.core import params, paths
from refit.registry.aliases import Aliases
from refit.registry.anchor import Anchor
from refit.registry.artifacts import Artifacts
from refit.registry.client import Connection
from refit.registry.ledger import Ledger
from refit.registry.ledger_store import LedgerStore
from refit.registry.reader import champion
from refit.registry.tags import Tags
from refit.registry.version import Version
from refit.registry.versions import Versions
from refit.workspace.lock import only_one

LOCK_SECONDS = 300.0
"""How long to wait for another decision in the same project."""


@dataclass(frozen=True, kw_only=True)
class Registry:
    """One registered model and its ledger.

    Every call on a part raises RegistryError if MLflow cannot be reached.
    """

    root: Path
    name: str
    """Of the registered model."""
    versions: Versions
    aliases: Aliases
    artifacts: Artifacts
    tags: Tags
    ledger: LedgerStore
    anchor: Anchor
    """Of the ledger, in Git."""

    @classmethod
    def open(cls, root: Path, name: str = "") -> "Registry":
        """The registry of the project at `root`.

        Args:
            root: of the project.
            name: of the registered model; the name of the project's dataset if empty.

        Raises:
            RegistryError: MLflow cannot be reached.
        """
        connection = Connection.open(root, name or params.dataset_name(root / paths.PARAMS))
        artifacts = Artifacts(connection)
        return cls(
            root=root,
            name=connection.name,
            versions=Versions(connection, artifacts),
            aliases=Aliases(connection),
            artifacts=artifacts,
            tags=Tags(connection),
            ledger=LedgerStore(connection),
            anchor=Anchor(root, connection.name),
        )

    def champion(self, ledger: Ledger) -> Version | None:
        """The champion by the ledger; None if there is none.

        Raises:
            RegistryError: its version was deleted.
        """
        return champion(self, ledger, self.name)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process of this project at a time; entering twice waits for itself."""
        with only_one(self.root / paths.REGISTRY_LOCK, LOCK_SECONDS):
            yield
