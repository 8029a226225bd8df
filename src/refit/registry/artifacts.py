"""The artifacts of versions: the bundle, its lineage, and what decisions and reviews log.

All of them are plain files below the run of the version's training. No MLflow flavor is written,
because a flavor can run code when it is loaded.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from refit.core import files, paths
from refit.core.errors import RegistryError
from refit.registry import artifact_store, contents
from refit.registry.artifact_store import EXAMPLES_FILE, bundle_folder
from refit.registry.client import Connection
from refit.registry.version import Version
from refit.serving.digest import LINEAGE, SIGNATURE, files_of
from refit.tracking import errors
from refit.tracking.client import FINGERPRINT, experiment, find_run

if TYPE_CHECKING:
    from mlflow import MlflowClient

DESCRIPTION_LIMIT = 5000
"""Characters of a version's description that MLflow's database takes."""


@dataclass(frozen=True, kw_only=True)
class Upload:
    """An uploaded bundle."""

    run: str
    source: str
    """Address of the bundle, as MLflow names it."""
    signature_digest: str
    examples_digest: str


class Artifacts:
    """The artifacts of a registered model's versions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._own_runs: set[str] = set()

    def upload(
        self,
        digest: str,
        bundle: Path,
        *,
        fingerprint: str,
        lineage: Mapping[str, Any],
        examples: bytes,
    ) -> Upload:
        """Upload a bundle, its lineage and its example rows to the run of its training."""
        run, folder = self._run(fingerprint), bundle_folder(digest)
        lineage_text = json.dumps({**lineage, "run": run}, indent=2, sort_keys=True)

        def write(client: "MlflowClient") -> None:
            for name in files_of(bundle):
                client.log_artifact(run, str(bundle / name), folder)
            with tempfile.TemporaryDirectory() as temporary:
                path = Path(temporary) / EXAMPLES_FILE
                path.write_bytes(examples)
                client.log_artifact(run, str(path), folder)
            client.log_text(run, f"{lineage_text}\n", f"{folder}/{LINEAGE}")

        self._connection.write("the bundle cannot be uploaded", write)
        return Upload(
            run=run,
            source=f"runs:/{run}/{folder}",
            signature_digest=hashlib.sha256((bundle / SIGNATURE).read_bytes()).hexdigest(),
            examples_digest=hashlib.sha256(examples).hexdigest(),
        )

    def download(self, version: Version, check: Callable[[Path], object]) -> Path:
        """The version's bundle in the project's own folder, its digest verified.

        Args:
            version: of the registered model.
            check: gets a folder that was just downloaded, and raises an error if the bundle may not
                be used. Only then is it kept.
        """
        contents.require_digest(version)
        target = self._connection.root / paths.BUNDLES / version.digest
        if contents.digest(target) != version.digest:
            with tempfile.TemporaryDirectory() as temporary:
                folder = self.fetch(version, Path(temporary))
                check(folder)
                shutil.rmtree(target, ignore_errors=True)  # nothing of another bundle stays
                for path in sorted(folder.iterdir()):
                    files.write_bytes(target / path.name, path.read_bytes())
        return target

    def fetch(self, version: Version, temporary: Path) -> Path:
        """The version's bundle as the registry has it now, in a folder below `temporary`.

        Files that are not the bundle's own are left where they are, see `others`.

        Raises:
            RegistryError: it is not what was registered.
        """
        contents.require_digest(version)
        folder = bundle_folder(version.digest)
        with self._files_of(version, "the bundle cannot be downloaded") as client:
            bundle = artifact_store.take(client, version, folder, temporary)
        contents.require_registered(bundle, version)
        return bundle

    def others(self, version: Version) -> tuple[str, ...]:
        """The names of files and folders beside the version's bundle that are not its own.

        They are never downloaded. No program of Refit has put them there.
        """
        try:
            with self._files_of(version, "artifacts cannot be read") as client:
                listed = client.list_artifacts(version.run, bundle_folder(version.digest))
                names = (PurePosixPath(each.path).name for each in listed)
                return artifact_store.others(names, version)
        except RegistryError as error:
            if errors.is_missing(error):
                return ()
            raise

    def lineage(self, version: Version) -> dict[str, Any]:
        """The version's lineage.json.

        Raises:
            RegistryError: it is not what was registered.
        """
        path = f"{bundle_folder(version.digest)}/{LINEAGE}"
        with tempfile.TemporaryDirectory() as temporary:
            with self._files_of(version, "the lineage cannot be downloaded") as client:
                local = Path(client.download_artifacts(version.run, path, temporary))
            return contents.read_lineage(local, version)

    def file(self, version: Version, path: str, target: Path) -> Path | None:
        """Download an artifact of the version's run into `target`; None if there is none.

        Nor is there any when the run was deleted.
        """
        try:
            with self._files_of(version, "artifacts cannot be read") as client:
                listed = client.list_artifacts(version.run, path.rpartition("/")[0])
                if path not in {artifact.path for artifact in listed if not artifact.is_dir}:
                    return None
                return Path(client.download_artifacts(version.run, path, str(target)))
        except RegistryError as error:
            if errors.is_missing(error):
                return None
            raise

    @contextmanager
    def _files_of(self, version: Version, problem: str) -> Iterator["MlflowClient"]:
        """Read files of the version's run, after a look at where MLflow says that they lie."""
        with self._connection.reading(problem) as client:
            if version.run not in self._own_runs:
                self._require_own_place(client, version.run)
            yield client

    def _require_own_place(self, client: "MlflowClient", run: str) -> None:
        info = client.get_run(run).info
        location = str(client.get_experiment(info.experiment_id).artifact_location)
        artifact_store.require_own_place(
            str(info.artifact_uri), location, run, self._connection.name
        )
        self._own_runs.add(run)

    def attach(self, version: Version, texts: Mapping[str, str], description: str) -> None:
        """Log texts, by file name, to the version's run, and describe the version in Markdown."""

        def write(client: "MlflowClient") -> None:
            for name, text in texts.items():
                client.log_text(version.run, text, name)
            self._describe(client, version, description)

        self._connection.write("the review cannot be logged", write)

    def log_evaluation(
        self,
        version: Version,
        *,
        metrics: Mapping[str, float],
        folders: Mapping[str, Path],
        report: str,
        inputs: Mapping[str, str],
    ) -> None:
        """Log the evaluation that a decision is based on to the version's run.

        Args:
            version: that was decided about.
            metrics: by name.
            folders: artifact folder -> local folder.
            report: Markdown.
            inputs: name of a dataset -> its digest.
        """
        datasets = _datasets(inputs)

        def write(client: "MlflowClient") -> None:
            logged = client.get_run(version.run).data.metrics
            for name, value in metrics.items():
                if logged.get(name) != value:  # a second point would draw a curve
                    client.log_metric(version.run, name, value)
            for name, folder in folders.items():
                client.log_artifacts(version.run, str(folder), name)
            client.log_text(version.run, report, f"decision-{version.number}.md")
            client.log_inputs(version.run, datasets)
            self._describe(client, version, _shortened(report))

        self._connection.write("the evaluation cannot be logged", write)

    def url(self, version: Version, path: str, server: str) -> str:
        """Where the MLflow pages at `server` show an artifact of the version's run."""
        with self._connection.reading("the run cannot be read") as client:
            experiment_id = client.get_run(version.run).info.experiment_id
        return f"{server}/#/experiments/{experiment_id}/runs/{version.run}/artifacts/{path}"

    def _describe(self, client: "MlflowClient", version: Version, description: str) -> None:
        client.update_model_version(self._connection.name, str(version.number), description)

    def _run(self, fingerprint: str) -> str:
        """The run of a training, created if the training was not tracked."""
        with self._connection.reading("the run cannot be created") as client:
            experiment_id = experiment(client, self._connection.root, self._connection.name)
            run = find_run(client, experiment_id, fingerprint)
            if run is None:
                run = client.create_run(
                    experiment_id,
                    tags={FINGERPRINT: fingerprint},
                    run_name=f"train-{fingerprint[:8]}",
                )
                client.set_terminated(run.info.run_id, "FINISHED")
        return str(run.info.run_id)


def _datasets(inputs: Mapping[str, str]) -> list[Any]:
    """The inputs as MLflow's entities."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(name, digest[:32], "dvc", json.dumps({"path": name, "sha256": digest})),
            [InputTag("mlflow.data.context", "training")],
        )
        for name, digest in inputs.items()
    ]


def _shortened(text: str) -> str:
    """The text, or as many of its first lines as a description takes."""
    if len(text) <= DESCRIPTION_LIMIT:
        return text
    return text[: text.rfind("\n", 0, DESCRIPTION_LIMIT) + 1]
