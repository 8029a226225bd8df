"""The reading half of the registry: what both MLflow's client and the SQLite reader can answer."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from refit.core.errors import RegistryError
from refit.registry.ledger import EntryTags, Ledger
from refit.registry.version import Place, Version
from refit.tracking import errors


class VersionReader(Protocol):
    """Reads versions."""

    def get(self, number: int) -> Version:
        """The version with this number."""

    def find(self, digest: str) -> Version | None:
        """The version whose bundle has this digest."""

    def all(self) -> list[Version]:
        """Every version, the oldest first."""

    def entry_tags(self) -> EntryTags:
        """The entry tags of each version that has any."""

    def places(self) -> Sequence[Place]:
        """Where the artifacts of each version are said to be."""


class AliasReader(Protocol):
    """Reads aliases."""

    def get(self, alias: str) -> int | None:
        """The number that an alias names, even if that version was deleted."""


class ArtifactReader(Protocol):
    """Reads what lies beside bundles."""

    def others(self, version: Version) -> Sequence[str]:
        """The names of files and folders beside the version's bundle that are not its own."""


class LedgerReader(Protocol):
    """Reads the ledger."""

    def read(self) -> Ledger:
        """The ledger as it is now."""

    def signatures(self) -> Mapping[int, str]:
        """The stored signatures of entries, by the entry's number."""


class Reader(Protocol):
    """What can be read without changing anything."""

    @property
    def versions(self) -> VersionReader:
        """The registered versions."""

    @property
    def aliases(self) -> AliasReader:
        """Their aliases."""

    @property
    def artifacts(self) -> ArtifactReader:
        """Their artifacts."""

    @property
    def ledger(self) -> LedgerReader:
        """The ledger of decisions about them."""


def whole_number(value: object, what: str) -> int:
    """A stored whole number.

    Raises:
        RegistryError: it is something else; SQLite takes anything in any column.
    """
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    if type(value) is int:
        return value
    raise RegistryError(
        f"{what} is not a whole number",
        got=f"`{value!s:.80}`",
        do="the registry's database was changed by hand: restore it from a backup",
    )


def champion(reader: Reader, ledger: Ledger, name: str) -> Version | None:
    """The champion of the registered model `name` by the ledger; None if there is none.

    Raises:
        RegistryError: its version was deleted.
    """
    if ledger.champion is None:
        return None
    try:
        return reader.versions.get(ledger.champion)
    except RegistryError as error:
        if not errors.is_missing(error):
            raise
        raise RegistryError(
            f"the champion, version {ledger.champion}, was deleted by hand",
            where=f"registered model {name}",
            got="nothing under that number",
            expected="the version that the ledger names",
            do="`refit rollback --to V --why ...` makes an earlier version champion again;"
            " `--to none` starts again against the linear baseline",
        ) from error.__cause__
