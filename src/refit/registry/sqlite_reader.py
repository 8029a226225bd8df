"""Reads the project's own SQLite registry without loading MLflow.

Importing MLflow and opening its store takes seconds. `refit run`, where nothing changed, only asks
whether the decision is already in the ledger; `refit status` and `refit history` only read. In a
project of tests/datasets/pumps on a slow machine, `refit history` takes 1.1 s with this reader, and
5.2 s with MLflow's client. The client answers if MLFLOW_TRACKING_URI is
sqlite+pysqlite:///$PWD/.refit/mlflow.db, a scheme that the reader leaves to it.

The queries depend on MLflow's tables; tests compare the answers with MLflow's own. Whatever they
cannot answer (another store, other tables, no database) raises UnknownError, and the caller asks
MLflow's client instead.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from refit.registry import artifact_store
from refit.registry.ledger import Ledger, read_ledger
from refit.registry.ledger_store import ENTRY, ENTRY_NUMBER, SIGNATURE, SUFFIX
from refit.registry.reader import whole_number
from refit.registry.version import DIGEST, NUMBER, Place, Version
from refit.workspace.project import mlflow_uri

PREFIX = "sqlite:///"


class UnknownError(Exception):
    """The database cannot answer."""


@dataclass(frozen=True, kw_only=True)
class Database:
    """The rows of the registered model `name`, read-only."""

    path: Path
    name: str

    @contextmanager
    def connect(self) -> Iterator[sqlite3.Connection]:
        """A connection for a few queries."""
        try:
            with closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)) as connection:
                connection.text_factory = lambda text: text.decode("utf-8", "replace")
                yield connection
        except sqlite3.Error as error:
            raise UnknownError(str(error)) from error


@dataclass(frozen=True, kw_only=True)
class SqliteVersions:
    """Reads versions."""

    database: Database

    def get(self, number: int) -> Version:
        """The version with this number.

        Raises:
            UnknownError: there is none.
        """
        version = self._get(number)
        if version is None:
            raise UnknownError(f"there is no version {number}")
        return version

    def find(self, digest: str) -> Version | None:
        """The version whose bundle has this digest."""
        with self.database.connect() as connection:
            row = connection.execute(
                "select version from model_version_tags"
                " where name = ? and key = ? and value = ? order by version",
                (self.database.name, DIGEST, digest),
            ).fetchone()
        return None if row is None else self._get(whole_number(row[0], NUMBER))

    def all(self) -> list[Version]:
        """Every version, the oldest first."""
        return self._read()

    def entry_tags(self) -> dict[int, dict[str, str]]:
        """The entry tags of each version that has any."""
        return {version.number: tags for version in self.all() if (tags := version.entry_tags)}

    def places(self) -> list[Place]:
        """Where the artifacts of each version are said to be."""
        with self.database.connect() as connection:
            rows = connection.execute(
                "select v.version, v.source, v.storage_location, r.artifact_uri,"
                " e.artifact_location from model_versions v"
                " left join runs r on r.run_uuid = v.run_id"
                " left join experiments e on e.experiment_id = r.experiment_id"
                " where v.name = ? and v.current_stage != 'Deleted_Internal' order by v.version",
                (self.database.name,),
            ).fetchall()
        return [
            Place(
                version=whole_number(version, NUMBER),
                source=str(source or ""),
                stored=str(stored or ""),
                run=str(run or ""),
                runs=str(runs or ""),
            )
            for version, source, stored, run, runs in rows
        ]

    def _get(self, number: int) -> Version | None:
        versions = self._read(number)
        return versions[0] if versions else None

    def _read(self, number: int | None = None) -> list[Version]:
        """The version of that number, or every version."""
        values = {"name": self.database.name, "number": number}
        tags: dict[int, dict[str, str]] = {}
        with self.database.connect() as connection:
            rows = connection.execute(
                "select version, run_id, creation_time from model_versions where name = :name"
                " and (:number is null or version = :number)"
                " and current_stage != 'Deleted_Internal' order by version",
                values,
            ).fetchall()
            for version, key, value in connection.execute(
                "select version, key, value from model_version_tags where name = :name"
                " and (:number is null or version = :number)",
                values,
            ):
                tags.setdefault(version, {})[key] = "" if value is None else str(value)
        return [
            Version(
                number=whole_number(version, NUMBER),
                digest=tags.get(version, {}).get(DIGEST, ""),
                run=str(run or ""),
                created=whole_number(created, f"the time of version {version}"),
                tags=tags.get(version, {}),
            )
            for version, run, created in rows
        ]


@dataclass(frozen=True, kw_only=True)
class SqliteAliases:
    """Reads aliases."""

    database: Database

    def get(self, alias: str) -> int | None:
        """The number that an alias names, even if that version was deleted."""
        with self.database.connect() as connection:
            row = connection.execute(
                "select version from registered_model_aliases where name = ? and alias = ?",
                (self.database.name, alias),
            ).fetchone()
        return None if row is None else whole_number(row[0], f"the alias {alias}")


@dataclass(frozen=True, kw_only=True)
class SqliteArtifacts:
    """Reads what lies beside bundles, where artifacts are files of this machine."""

    database: Database

    def others(self, version: Version) -> tuple[str, ...]:
        """The names of files and folders beside the version's bundle that are not its own.

        Raises:
            RegistryError: the registry names another place than MLflow's own.
            UnknownError: they are not files of this machine.
        """
        places = {p.version: p for p in SqliteVersions(database=self.database).places()}
        place = places.get(version.number)
        if place is None or not place.run:
            return ()
        artifact_store.require_own_place(place.run, place.runs, version.run, self.database.name)
        url = urlsplit(place.run)
        if url.scheme not in {"", "file"}:
            raise UnknownError(place.run)
        folder = Path(unquote(url.path)) / artifact_store.bundle_folder(version.digest)
        return artifact_store.others((each.name for each in _children(folder)), version)


def _children(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


@dataclass(frozen=True, kw_only=True)
class SqliteLedger:
    """Reads the ledger."""

    database: Database

    def read(self) -> Ledger:
        """The ledger as it is now."""
        return read_ledger(self)

    def texts(self) -> list[tuple[int, str]]:
        """Every number with its text, in order."""
        return [(number, text or "") for number, text in self._tags(ENTRY)]

    def signatures(self) -> dict[int, str]:
        """The stored signatures of entries, by the entry's number."""
        return {number: text for number, text in self._tags(SIGNATURE) if text is not None}

    def _tags(self, key: str) -> list[tuple[int, str | None]]:
        """The number of each entry with its tag of that name, in order."""
        with self.database.connect() as connection:
            rows = connection.execute(
                "select v.version, t.value from model_versions v"
                " left join model_version_tags t"
                " on t.name = v.name and t.version = v.version and t.key = ?"
                " where v.name = ? and v.current_stage != 'Deleted_Internal' order by v.version",
                (key, f"{self.database.name}{SUFFIX}"),
            ).fetchall()
        return [
            (whole_number(number, ENTRY_NUMBER), value and str(value)) for number, value in rows
        ]


@dataclass(frozen=True, kw_only=True)
class SqliteReader:
    """The reading half of Registry, see refit.registry.reader."""

    versions: SqliteVersions
    aliases: SqliteAliases
    artifacts: SqliteArtifacts
    ledger: SqliteLedger

    @classmethod
    def open(cls, root: Path, name: str) -> "SqliteReader":
        """The reader of the registered model `name` of the project at `root`.

        Raises:
            UnknownError: the registry is elsewhere, or does not exist yet.
        """
        uri = mlflow_uri(root)
        path = Path(uri.removeprefix(PREFIX))
        if not uri.startswith(PREFIX) or not path.is_file():
            raise UnknownError(uri)
        database = Database(path=path, name=name)
        return cls(
            versions=SqliteVersions(database=database),
            aliases=SqliteAliases(database=database),
            artifacts=SqliteArtifacts(database=database),
            ledger=SqliteLedger(database=database),
        )
