"""The MLflow registry: versions named by the digest of their bundle, aliases moved with a check.

A bundle is logged as plain files below the training's run and registered from there; nothing of a
flavour that could run code at load is written. A version carries its decisions as tags, so that
every client of the registry can read them.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refit import tracking
from refit.core import files
from refit.core.errors import RegistryError
from refit.identity import LINEAGE, identity
from refit.lock import only_one
from refit.project import STATE

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
DIGEST = "refit.digest"
DECISION = "refit.decision."
MOVED = "refit.moved."
"""Tags: the bundle's digest; a decision by its key; that a decision's alias was moved."""
WAIT = 300.0
"""Seconds to wait for another decision in the same project."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """A registered version."""

    number: int
    digest: str
    run: str
    created: int
    """Milliseconds since 1970, UTC."""
    tags: Mapping[str, str]

    def decision(self, key: str) -> dict[str, Any] | None:
        """The decision recorded under the key."""
        text = self.tags.get(DECISION + key[:16])
        return json.loads(text) if text else None

    def decisions(self) -> list[dict[str, Any]]:
        """Every decision recorded on the version."""
        return [json.loads(v) for tag, v in sorted(self.tags.items()) if tag.startswith(DECISION)]

    def moved(self, key: str) -> bool:
        """Whether the decision's alias was moved."""
        return MOVED + key[:16] in self.tags

    def unmarked(self) -> list[dict[str, Any]]:
        """Promotions that are not marked as moved: a crash came between the alias and its mark."""
        return [
            found
            for found in self.decisions()
            if found["outcome"] == "promote" and not self.moved(found["key"])
        ]


class Registry:
    """The registered model `name` of the project at `root`.

    Raises:
        RegistryError: MLflow cannot be reached, now or at any later call.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self._client = tracking.connect(root)
        self._held = False

    def champion(self) -> Version | None:
        """The version that the alias `champion` names."""
        return self.named(CHAMPION)

    def named(self, alias: str) -> Version | None:
        """The version that an alias names."""
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_model_version_by_alias(self.name, alias)
        except (MlflowException, OSError) as error:
            code = error.error_code if isinstance(error, MlflowException) else ""
            if code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return None
            raise self._fault(f"the alias {alias} cannot be asked for", error) from error
        return _version(found)

    def find(self, digest: str) -> Version | None:
        """The version whose bundle has this digest."""
        with self._said("versions cannot be listed") as client:
            found = client.search_model_versions(
                f"name = '{self.name}' and tags.`{DIGEST}` = '{digest}'", max_results=1
            )
        return _version(found[0]) if found else None

    def register(
        self,
        digest: str,
        bundle: Path,
        *,
        fingerprint: str,
        lineage: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Version:
        """Log the bundle and register it; the same digest is never registered twice.

        Args:
            digest: of the bundle.
            bundle: its folder.
            fingerprint: of the training, which names the run.
            lineage: logged as lineage.json in the place of the bundle's own; it has the run added.
            tags: of the version, besides its digest and fingerprint.
        """
        known = self.find(digest)
        if known is not None:
            return known
        self._make_model()
        run = self._run(fingerprint)
        folder = _folder(digest)
        with self._said("the bundle cannot be registered") as client:
            client.log_artifacts(run, str(bundle), folder)
            if lineage is not None:
                text = json.dumps({**lineage, "run": run}, indent=2, sort_keys=True)
                client.log_text(run, f"{text}\n", f"{folder}/{LINEAGE}")
            made = client.create_model_version(
                self.name,
                f"runs:/{run}/{folder}",
                run,
                tags={**(tags or {}), DIGEST: digest, tracking.FINGERPRINT: fingerprint},
            )
        return _version(made)

    def version(self, number: int) -> Version:
        """The version with this number.

        Raises:
            RegistryError: there is none.
        """
        with self._said(f"version {number} cannot be read") as client:
            return _version(client.get_model_version(self.name, str(number)))

    def lineage(self, version: Version) -> dict[str, Any]:
        """The version's lineage.json, read from the artifact store."""
        with (
            self._said("the lineage cannot be downloaded") as client,
            tempfile.TemporaryDirectory() as folder,
        ):
            path = f"{_folder(version.digest)}/{LINEAGE}"
            found: dict[str, Any] = files.read_json(
                Path(client.download_artifacts(version.run, path, folder))
            )
        return found

    def note(self, version: Version, tags: Mapping[str, str]) -> None:
        """Write tags onto the version."""
        for key, value in tags.items():
            self._tag(version, key, value)

    def log(
        self,
        version: Version,
        *,
        metrics: Mapping[str, float],
        folders: Mapping[str, Path],
        report: str,
        inputs: Mapping[str, str],
    ) -> None:
        """Log evaluation, plots, report and the digests of the data to the version's run.

        Args:
            version: whose run takes them.
            metrics: by name.
            folders: artifact folder -> local folder.
            report: Markdown.
            inputs: name of a dataset -> its digest.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        listed = [
            DatasetInput(
                Dataset(name, digest[:32], "dvc", json.dumps({"path": name, "sha256": digest})),
                [InputTag("mlflow.data.context", "training")],
            )
            for name, digest in inputs.items()
        ]
        with self._said("the evaluation cannot be logged") as client:
            logged = client.get_run(version.run).data.metrics
            for name, value in metrics.items():
                if logged.get(name) != value:  # a second point would draw a curve
                    client.log_metric(version.run, name, value)
            for name, folder in folders.items():
                client.log_artifacts(version.run, str(folder), name)
            client.log_text(version.run, report, f"decision-{version.number}.md")
            client.log_inputs(version.run, listed)
            client.update_model_version(self.name, str(version.number), report)

    def record(self, version: Version, key: str, decision: Mapping[str, Any]) -> None:
        """Write a decision onto the version, under its key."""
        text = json.dumps(decision, sort_keys=True)
        self._tag(version, "refit.outcome", str(decision["outcome"]))
        self._tag(version, DECISION + key[:16], text)  # last: with it the record is whole

    def move(self, version: Version, key: str, *, expected: int | None) -> None:
        """Point `champion` to the version if it still points to `expected`.

        Raises:
            RegistryError: someone else has moved the alias in the meantime.
        """
        with self.locked():
            now = self.champion()
            if now is not None and now.number == version.number:
                self._tag(version, MOVED + key[:16], "yes")
                return
            if (now.number if now else None) != expected:
                raise RegistryError(
                    "the champion changed while this decision was made",
                    where=self.name,
                    got=f"version {now.number if now else 'none'}",
                    expected=f"version {expected or 'none'}",
                    do="run `refit promote` again: it compares with the new champion",
                )
            with self._said("the alias cannot be moved") as client:
                client.set_registered_model_alias(self.name, CHAMPION, str(version.number))
            self._tag(version, MOVED + key[:16], "yes")

    def download(self, version: Version) -> Path:
        """The version's bundle as a local folder, its digest verified."""
        target = self.root / STATE / "bundles" / version.digest
        if not target.is_dir() or identity(target) != version.digest:
            with self._said("the bundle cannot be downloaded") as client:
                target.mkdir(parents=True, exist_ok=True)
                folder = _folder(version.digest)
                client.download_artifacts(version.run, folder, str(target.parent / "incoming"))
                got = target.parent / "incoming" / folder
                for path in sorted(got.iterdir()):
                    files.write_bytes(target / path.name, path.read_bytes())
        found = identity(target)
        if found != version.digest:
            raise RegistryError(
                "the registered bundle is not the one that was registered",
                where=f"{self.name} version {version.number}",
                got=f"digest {found[:12]}",
                expected=f"digest {version.digest[:12]}",
                do="its files were changed or damaged: restore the artifact store from a backup",
            )
        return target

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process of this project at a time; who holds the lock may enter again."""
        if self._held:
            yield
            return
        with only_one(self.root / STATE / "registry.lock", WAIT):
            self._held = True
            try:
                yield
            finally:
                self._held = False

    def _run(self, fingerprint: str) -> str:
        with self._said("the run cannot be found") as client:
            number = tracking.experiment(client, self.root, self.name)
            run = tracking.find_run(client, number, fingerprint)
            if run is None:
                run = client.create_run(
                    number,
                    tags={tracking.FINGERPRINT: fingerprint},
                    run_name=f"train-{fingerprint[:8]}",
                )
                client.set_terminated(run.info.run_id, "FINISHED")
        return str(run.info.run_id)

    def _make_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise RegistryError(
                    "the registered model cannot be made", got=tracking.short(error)
                ) from error

    def _tag(self, version: Version, key: str, value: str) -> None:
        with self._said("the version cannot be tagged") as client:
            client.set_model_version_tag(self.name, str(version.number), key, value)

    @contextmanager
    def _said(self, what: str) -> Iterator["MlflowClient"]:
        from mlflow.exceptions import MlflowException

        try:
            yield self._client
        except (MlflowException, OSError) as error:
            raise self._fault(what, error) from error

    def _fault(self, what: str, error: Exception) -> RegistryError:
        return RegistryError(
            what,
            where=f"registered model {self.name}",
            got=tracking.short(error),
            do="see whether the MLflow server is up and its disk is not full, then run again:"
            " what was done is kept",
        )


def _folder(digest: str) -> str:
    """Where a bundle lies among the artifacts of its run."""
    return f"bundle-{digest[:12]}"


def _version(found: Any) -> Version:
    return Version(
        number=int(found.version),
        digest=found.tags.get(DIGEST, ""),
        run=found.run_id,
        created=found.creation_timestamp,
        tags=dict(found.tags),
    )
