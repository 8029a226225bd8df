"""A quick look into the project's own registry, without loading MLflow.

Importing MLflow and opening its store costs more than all the rest of a run in which nothing has
changed. The project's own database is SQLite, so a few read-only queries answer whether the
decision is there already. They depend on MLflow's tables, which tests hold to MLflow's own answers;
whatever they cannot answer (another store, other tables, no database) is left to the client.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from refit.registry import ledger
from refit.registry.client import DIGEST, Version
from refit.registry.ledger import MARK, Book
from refit.registry.ledger_store import ENTRY, SUFFIX
from refit.workspace.project import mlflow_uri

PREFIX = "sqlite:///"


class UnknownError(Exception):
    """The quick look cannot answer."""


class Peek:
    """The reading half of refit.registry.client.Registry."""

    def __init__(self, root: Path, name: str) -> None:
        uri = mlflow_uri(root)
        self._path = Path(uri.removeprefix(PREFIX))
        self._name = name
        if not uri.startswith(PREFIX) or not self._path.is_file():
            raise UnknownError(uri)

    def book(self) -> Book:
        """The ledger as it stands."""
        return ledger.read(self)

    def texts(self) -> list[tuple[int, str]]:
        """Every entry of the ledger with its number, in order."""
        with self._rows() as database:
            return database.execute(
                "select v.version, coalesce(t.value, '') from model_versions v"
                " left join model_version_tags t"
                " on t.name = v.name and t.version = v.version and t.key = ?"
                " where v.name = ? and v.current_stage != 'Deleted_Internal' order by v.version",
                (ENTRY, f"{self._name}{SUFFIX}"),
            ).fetchall()

    def marks(self) -> dict[int, dict[str, str]]:
        """The marks of entries on each version, by number."""
        found: dict[int, dict[str, str]] = {}
        with self._rows() as database:
            rows = database.execute(
                "select t.version, t.key, t.value from model_version_tags t join model_versions v"
                " on t.name = v.name and t.version = v.version where t.name = ?"
                " and substr(t.key, 1, ?) = ? and v.current_stage != 'Deleted_Internal'",
                (self._name, len(MARK), MARK),
            ).fetchall()
        for number, key, value in rows:
            found.setdefault(number, {})[key] = value
        return found

    def aliased(self, alias: str) -> int | None:
        """The number that an alias names."""
        with self._rows() as database:
            found = database.execute(
                "select version from registered_model_aliases where name = ? and alias = ?",
                (self._name, alias),
            ).fetchone()
        return None if found is None else int(found[0])

    def reigning(self, number: int) -> Version:
        """The champion of that number."""
        found = self._version(number)
        if found is None:
            raise UnknownError(f"version {number} is gone")
        return found

    def find(self, digest: str) -> Version | None:
        """The version whose bundle has this digest."""
        with self._rows() as database:
            found = database.execute(
                "select version from model_version_tags"
                " where name = ? and key = ? and value = ? order by version",
                (self._name, DIGEST, digest),
            ).fetchone()
        return None if found is None else self._version(int(found[0]))

    def _version(self, number: int) -> Version | None:
        with self._rows() as database:
            row = database.execute(
                "select run_id, creation_time from model_versions where name = ? and version = ?"
                " and current_stage != 'Deleted_Internal'",
                (self._name, number),
            ).fetchone()
            tags = dict(
                database.execute(
                    "select key, value from model_version_tags where name = ? and version = ?",
                    (self._name, number),
                ).fetchall()
            )
        if row is None:
            return None
        run, created = row
        return Version(
            number=number, digest=tags.get(DIGEST, ""), run=run, created=created, tags=tags
        )

    @contextmanager
    def _rows(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)) as database:
                yield database
        except sqlite3.Error as error:
            raise UnknownError(str(error)) from error
