"""The versions of the registered model: find, list, read and register them.

A version is named by the digest of its bundle, so the same model is registered only once.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refit.core.errors import RegistryError
from refit.registry.artifacts import Artifacts
from refit.registry.client import Connection
from refit.registry.ledger import EntryTags
from refit.registry.reader import whole_number
from refit.registry.version import DIGEST, EXAMPLES, NUMBER, SIGNATURE_TAG, Place, Version
from refit.tracking import errors
from refit.tracking.client import FINGERPRINT

if TYPE_CHECKING:
    from mlflow import MlflowClient

PAGE = 1000
"""Versions that are read at a time."""


class Versions:
    """The versions of a registered model."""

    def __init__(self, connection: Connection, artifacts: Artifacts) -> None:
        self._connection, self._artifacts = connection, artifacts
        self._name = connection.name

    def get(self, number: int) -> Version:
        """The version with this number.

        Raises:
            RegistryError: there is none.
        """
        try:
            with self._connection.reading(f"version {number} cannot be read") as client:
                return _version(client.get_model_version(self._name, str(number)))
        except RegistryError as error:
            if not errors.is_missing(error):
                raise
            raise RegistryError(
                f"there is no version {number}",
                where=f"registered model {self._name}",
                got="nothing: it was never registered, or was deleted by hand",
                do="`refit history` lists the versions that were decided about",
            ) from error.__cause__

    def find(self, digest: str) -> Version | None:
        """The version whose bundle has this digest; the oldest if there are several."""
        with self._connection.reading("versions cannot be listed") as client:
            matches = client.search_model_versions(
                f"name = '{self._name}' and tags.`{DIGEST}` = '{digest}'",
                max_results=1,
                order_by=["version_number ASC"],
            )
        return _version(matches[0]) if matches else None

    def all(self) -> list[Version]:
        """Every version, the oldest first."""
        return sorted(map(_version, self._stored()), key=lambda version: version.number)

    def places(self) -> list[Place]:
        """Where the artifacts of each version are said to be."""
        return [self._place(stored) for stored in self._stored()]

    def _stored(self) -> Iterator[Any]:
        """Every version as MLflow gives it."""
        token = None
        while True:
            with self._connection.reading("versions cannot be listed") as client:
                page = client.search_model_versions(
                    f"name = '{self._name}'", max_results=PAGE, page_token=token
                )
            yield from page
            token = page.token
            if not token:
                return

    def _place(self, stored: Any) -> Place:
        run, runs = "", ""
        with self._connection.reading("the version's addresses cannot be read") as client:
            address = client.get_model_version_download_uri(self._name, stored.version)
        try:
            with self._connection.reading("the version's run cannot be read") as client:
                info = client.get_run(stored.run_id).info
                run, runs = info.artifact_uri, self._folder(client, info.experiment_id)
        except RegistryError as error:
            if not errors.is_missing(error):
                raise
        return Place(
            version=whole_number(stored.version, NUMBER),
            source=stored.source or "",
            stored=address or "",
            run=run,
            runs=runs,
        )

    @staticmethod
    def _folder(client: "MlflowClient", experiment_id: str) -> str:
        return str(client.get_experiment(experiment_id).artifact_location)

    def entry_tags(self) -> EntryTags:
        """The entry tags of each version that has any."""
        return {version.number: tags for version in self.all() if (tags := version.entry_tags)}

    def register(
        self,
        digest: str,
        bundle: Path,
        *,
        fingerprint: str,
        lineage: Mapping[str, Any],
        examples: bytes,
        tags: Mapping[str, str],
    ) -> Version:
        """Upload the bundle and register it, unless a version has this digest already.

        The upload comes first: a version whose bundle is missing never exists.

        Args:
            digest: of the bundle.
            bundle: its folder.
            fingerprint: of the training. It names the run that holds the artifacts.
            lineage: uploaded as the version's lineage.json, together with the run.
            examples: rows with the version's predictions, as a Parquet file.
            tags: of the version, besides digests and fingerprint.
        """
        known = self.find(digest)
        if known is not None:
            return known
        self._create_model()
        upload = self._artifacts.upload(
            digest, bundle, fingerprint=fingerprint, lineage=lineage, examples=examples
        )
        all_tags = {
            **tags,
            DIGEST: digest,
            SIGNATURE_TAG: upload.signature_digest,
            EXAMPLES: upload.examples_digest,
            FINGERPRINT: fingerprint,
        }
        created: list[Version] = []

        def create(client: "MlflowClient") -> None:
            version = client.create_model_version(self._name, upload.source, upload.run, all_tags)
            created.append(_version(version))

        self._connection.write("the bundle cannot be registered", create)
        return self._oldest(created[0])

    def _create_model(self) -> None:
        try:
            with self._connection.reading("the registered model cannot be created") as client:
                client.create_registered_model(self._name)
        except RegistryError as error:
            if not errors.already_exists(error):
                raise

    def _oldest(self, created: Version) -> Version:
        """The created version, or the equal one that another machine registered just before."""
        oldest = self.find(created.digest) or created
        if oldest.number < created.number:
            problem = "a version that was registered twice cannot be deleted"
            with self._connection.reading(problem) as client:
                client.delete_model_version(self._name, str(created.number))
        return oldest


def _version(stored: Any) -> Version:
    """The value of MLflow's ModelVersion."""
    return Version(
        number=whole_number(stored.version, NUMBER),
        digest=stored.tags.get(DIGEST, ""),
        run=stored.run_id or "",
        created=whole_number(stored.creation_timestamp, f"the time of version {stored.version}"),
        tags=dict(stored.tags),
    )
