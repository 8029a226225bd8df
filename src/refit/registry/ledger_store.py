"""Stores the ledger in MLflow: each version of a second model, NAME-ledger, is one entry.

MLflow gives each version the number after the highest one, counting deleted versions, and writes
the number with the version's tags in one transaction. So an entry is stored completely or not at
all, and a number is never given twice. A writer that loses the race for a number three times inside
MLflow gets an error, and tries again here.
"""

from collections.abc import Callable, Iterator, Mapping

from refit.core.errors import RegistryError
from refit.registry.client import Connection
from refit.registry.entry import Entry
from refit.registry.ledger import Ledger, append_entry, read_ledger, unsigned
from refit.registry.reader import whole_number
from refit.tracking import errors

SUFFIX = "-ledger"
ENTRY = "refit.entry"
"""Tag that holds an entry's text."""
SIGNATURE = "refit.entry-signature"
"""Tag that holds the signature of an entry, if a person signed it."""
ENTRY_NUMBER = "the number of an entry"
"""What errors call it."""
SOURCE = "refit:/ledger"
"""Stands in place of a version's artifacts, of which an entry has none. A server accepts only
absolute paths."""
DESCRIPTION = (
    "The decisions about {name}, one a version, written by Refit: `refit history` prints them."
)
PAGE = 5000
"""Entries that are read at a time."""


class LedgerStore:
    """The ledger of a registered model.

    Args:
        connection: to the model that the ledger is about.
    """

    def __init__(self, connection: Connection) -> None:
        self._client = connection.client
        self._model = connection.name
        self.name = f"{connection.name}{SUFFIX}"

    def read(self) -> Ledger:
        """The ledger as it is now."""
        return read_ledger(self)

    def append(
        self,
        make: Callable[[Ledger], Entry | None],
        sign: Callable[[Ledger, Entry], str] = unsigned,
    ) -> Ledger:
        """Append the entry that `make` returns; see `append_entry`."""
        return append_entry(self, make, sign)

    def texts(self) -> Iterator[tuple[int, str]]:
        """Every number with its text, in order."""
        return ((number, tags.get(ENTRY, "")) for number, tags in self._tags())

    def signatures(self) -> dict[int, str]:
        """The stored signatures of entries, by the entry's number."""
        return {number: tags[SIGNATURE] for number, tags in self._tags() if SIGNATURE in tags}

    def _tags(self) -> Iterator[tuple[int, Mapping[str, str]]]:
        """Every number with its tags, in order."""
        token = None
        while True:
            with errors.translated("the ledger cannot be read", self.name):
                page = self._client.search_model_versions(
                    f"name = '{self.name}'",
                    max_results=PAGE,
                    order_by=["version_number ASC"],
                    page_token=token,
                )
            yield from (
                (whole_number(version.version, ENTRY_NUMBER), version.tags) for version in page
            )
            token = page.token
            if not token:
                return

    def add(self, entry: Entry, signature: str) -> None:
        """Store the entry, and its signature if it is not empty, under the next number."""
        tags = {ENTRY: entry.text()} | ({SIGNATURE: signature} if signature else {})

        def write() -> None:
            try:
                self._create(entry, tags)
            except RegistryError as error:
                if not errors.is_missing(error):
                    raise
                self._create_model()
                self._create(entry, tags)

        errors.retry(write)

    def _create(self, entry: Entry, tags: dict[str, str]) -> None:
        with errors.translated("the ledger cannot be written", self.name):
            self._client.create_model_version(
                self.name, SOURCE, tags=tags, description=_summary(entry)
            )

    def _create_model(self) -> None:
        description = DESCRIPTION.format(name=self._model)
        try:
            with errors.translated("the ledger cannot be created", self.name):
                self._client.create_registered_model(
                    self.name, {"refit.ledger": self._model}, description
                )
        except RegistryError as error:
            if not errors.already_exists(error):
                raise


def _summary(entry: Entry) -> str:
    """The entry as MLflow's pages show it."""
    change = "" if entry.before == entry.after else f", champion {entry.before} → {entry.after}"
    return f"{entry.kind}: version {entry.version}{change} ({entry.who}): {entry.why}"
