"""Where the ledger lies: the versions of a second registered model, NAME-ledger, are its entries.

MLflow gives each version the number after the highest (deleted ones count) and writes it with its
tags in one transaction, on every database, so an entry is there whole or not at all, and two of one
number cannot be. Whoever loses that race inside MLflow three times is told so, and asks again.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from refit.core.errors import RegistryError
from refit.registry.ledger import Entry
from refit.tracking import errors as faults

if TYPE_CHECKING:
    from mlflow import MlflowClient

SUFFIX = "-ledger"
ENTRY = "refit.entry"
"""Tag that holds an entry's text."""
SOURCE = "refit:/ledger"
"""Stands where another version names its artifacts; an entry has none. A server takes
absolute paths only."""
SAID = "The decisions about {name}, one a version, written by Refit: `refit history` prints them."
PAGE = 5000


class LedgerStore:
    """The entries of the registered model `name`."""

    def __init__(self, client: "MlflowClient", name: str) -> None:
        self._client, self._of, self.name = client, name, f"{name}{SUFFIX}"

    def texts(self) -> Iterator[tuple[int, str]]:
        """Every number with its text, in order."""
        token = None
        while True:
            with faults.said("the ledger cannot be read", self.name):
                page = self._client.search_model_versions(
                    f"name = '{self.name}'",
                    max_results=PAGE,
                    order_by=["version_number ASC"],
                    page_token=token,
                )
            yield from ((int(found.version), found.tags.get(ENTRY, "")) for found in page)
            token = page.token
            if not token:
                return

    def add(self, entry: Entry) -> None:
        """Store the entry under the next number."""

        def write() -> None:
            try:
                self._create(entry)
            except RegistryError as error:
                if not faults.missing(error):
                    raise
                self._make()
                self._create(entry)

        faults.patiently(write)

    def _create(self, entry: Entry) -> None:
        with faults.said("the ledger cannot be written", self.name):
            self._client.create_model_version(
                self.name, SOURCE, tags={ENTRY: entry.text()}, description=_brief(entry)
            )

    def _make(self) -> None:
        try:
            with faults.said("the ledger cannot be made", self.name):
                said = SAID.format(name=self._of)
                self._client.create_registered_model(self.name, {"refit.ledger": self._of}, said)
        except RegistryError as error:
            if not faults.there(error):
                raise


def _brief(entry: Entry) -> str:
    """The entry for who looks at it in MLflow."""
    moved = "" if entry.before == entry.after else f", champion {entry.before} → {entry.after}"
    return f"{entry.kind}: version {entry.version}{moved} ({entry.who}): {entry.why}"
