"""The reading half of the registry: what both MLflow's client and the SQLite reader can answer."""

from typing import Protocol

from refit.registry.ledger import EntryTags, Ledger
from refit.registry.version import Version


class VersionReader(Protocol):
    """Reads versions."""

    def get(self, number: int) -> Version:
        """The version with this number."""

    def find(self, digest: str) -> Version | None:
        """The version whose bundle has this digest."""

    def entry_tags(self) -> EntryTags:
        """The entry tags of each version that has any."""


class AliasReader(Protocol):
    """Reads aliases."""

    def get(self, alias: str) -> int | None:
        """The number that an alias names, even if that version was deleted."""


class LedgerReader(Protocol):
    """Reads the ledger."""

    def read(self) -> Ledger:
        """The ledger as it is now."""


class Reader(Protocol):
    """What can be read without changing anything."""

    @property
    def versions(self) -> VersionReader:
        """The registered versions."""

    @property
    def aliases(self) -> AliasReader:
        """Their aliases."""

    @property
    def ledger(self) -> LedgerReader:
        """The ledger of decisions about them."""
