"""The MLflow registry: versions named by the digest of their bundle, and the ledger beside them.

A bundle is logged as plain files below the training's run and registered from there; nothing of a
flavour that could run code at load is written. A version carries its decisions as tags, so that
every client of the registry can read them.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refit.core import files, params, paths
from refit.core.errors import RegistryError
from refit.registry import ledger
from refit.registry.ledger import Book
from refit.registry.ledger_store import LedgerStore
from refit.serving.digest import LINEAGE, identity
from refit.tracking import errors as faults
from refit.tracking.client import FINGERPRINT, connect, experiment, find_run
from refit.workspace.lock import only_one

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"
"""Aliases: what is live, and what waits for a person."""
DIGEST = "refit.digest"
DECISION = "refit.decision."
OUTCOME = "refit.outcome"
EXAMPLES = "refit.examples"
REVIEWED = "refit.reviewed."
"""Tags: the bundle's digest; a decision; how the last one ended; the digest of the stored example
rows; that the review of a decision has been made."""
GRADE = "refit.grade"
REPRODUCED = "refit.reproduced."
DIFFERS = "refit.differs"
"""Tags: the best grade of reproducibility; when and where each was reached; the last time that
bytes differed."""
RECORDED = {"outcome", "key", "sentence", "evidence"}
"""Fields of every recorded decision."""
SAMPLE = "examples.parquet"
"""Example rows with the version's own predictions, beside its bundle."""
PAGE = 1000
DESCRIPTION = 5000
"""Characters of a version's description that MLflow's database takes."""
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

    @property
    def recorded(self) -> dict[str, str]:
        """Every decision recorded on the version, as it was written, by its digest."""
        tags = sorted(tag for tag in self.tags if tag.startswith(DECISION))
        return {ledger.digest(self.tags[tag]): self.tags[tag] for tag in tags}

    def decision(self, evidence: str) -> dict[str, Any] | None:
        """The recorded decision of that digest; None when it is gone or was changed."""
        return _parsed(self.recorded.get(evidence, ""))

    def decisions(self) -> list[dict[str, Any]]:
        """Every decision recorded on the version."""
        return [found for text in self.recorded.values() if (found := _parsed(text)) is not None]


def aliases(book: Book) -> dict[str, int | None]:
    """What each alias must name by the ledger."""
    return {CHAMPION: book.champion, CHALLENGER: book.waiting}


def reviewed_tag(key: str) -> str:
    """The tag that says that a decision's review has been made."""
    return REVIEWED + key[:16]


def decision_tag(key: str, text: str) -> str:
    """The tag of a decision as it was written.

    Who decides the same at the same time, and measures other seconds, writes beside it and not over
    it; the ledger says which one counts.
    """
    return f"{_decision_tags(key)}{ledger.digest(text)[:8]}"


def _decision_tags(key: str) -> str:
    return f"{DECISION}{key[:16]}."


def _parsed(text: str) -> dict[str, Any] | None:
    """A recorded decision; None where none was, or somebody wrote something else there."""
    try:
        found: dict[str, Any] = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.keys() >= RECORDED else None


class Registry:
    """The registered model `name` of the project at `root`.

    Raises:
        RegistryError: MLflow cannot be reached, now or at any later call.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self._client = connect(root)
        self.ledger = LedgerStore(self._client, name)
        self._held = False

    @classmethod
    def of(cls, root: Path) -> "Registry":
        """The registry of the project's dataset."""
        return cls(root, params.dataset_name(root / paths.PARAMS))

    def champion(self) -> Version | None:
        """The champion by the ledger; where there is none yet, by the alias.

        Raises:
            RegistryError: the version is gone.
        """
        book = self.book()
        number = book.champion if book.entries else self.aliased(CHAMPION)
        return None if number is None else self.reigning(number)

    def reigning(self, number: int) -> Version:
        """The champion of that number.

        Raises:
            RegistryError: the version is gone.
        """
        try:
            return self.version(number)
        except RegistryError as error:
            if not faults.missing(error):
                raise
            raise RegistryError(
                f"the champion, version {number}, was deleted by hand",
                where=f"registered model {self.name}",
                got="nothing under that number",
                expected="the version that the ledger names",
                do="`refit rollback --to V --why ...` makes an earlier version champion again;"
                " `--to none` begins anew against the linear baseline",
            ) from error.__cause__

    @staticmethod
    def missing(error: RegistryError) -> bool:
        """Whether the fault is that there is no such version."""
        return faults.missing(error)

    def book(self) -> Book:
        """The ledger as it stands."""
        return ledger.read(self.ledger)

    def named(self, alias: str) -> Version | None:
        """The version of an alias: by the ledger where it has it, else as it is set."""
        book = self.book()
        told = aliases(book) if book.entries else {}
        number = told[alias] if alias in told else self.aliased(alias)
        return None if number is None else self.version(number)

    def aliased(self, alias: str) -> int | None:
        """The number that an alias names, whether or not there is such a version."""
        try:
            with self._said(f"the alias {alias} cannot be asked for") as client:
                found = client.get_registered_model(self.name).aliases
        except RegistryError as error:
            if faults.missing(error):
                return None
            raise
        return int(found[alias]) if alias in found else None

    def point(self, alias: str, number: int | None) -> None:
        """Let the alias name the version; None takes the alias away."""

        def write(client: "MlflowClient") -> None:
            if number is None:
                client.delete_registered_model_alias(self.name, alias)
            else:
                client.set_registered_model_alias(self.name, alias, str(number))

        self._write(f"the alias {alias} cannot be set", write)

    def marks(self) -> dict[int, dict[str, str]]:
        """The tags of every version, by number."""
        return {version.number: dict(version.tags) for version in self.versions()}

    def versions(self) -> list[Version]:
        """Every version, the oldest first."""
        found: list[Version] = []
        token = None
        while True:
            with self._said("versions cannot be listed") as client:
                page = client.search_model_versions(
                    f"name = '{self.name}'", max_results=PAGE, page_token=token
                )
            found += map(_version, page)
            token = page.token
            if not token:
                return sorted(found, key=lambda version: version.number)

    def find(self, digest: str) -> Version | None:
        """The version whose bundle has this digest."""
        with self._said("versions cannot be listed") as client:
            found = client.search_model_versions(
                f"name = '{self.name}' and tags.`{DIGEST}` = '{digest}'",
                max_results=1,
                order_by=["version_number ASC"],
            )
        return _version(found[0]) if found else None

    def register(
        self,
        digest: str,
        bundle: Path,
        *,
        fingerprint: str,
        lineage: Mapping[str, Any] | None = None,
        examples: bytes = b"",
        tags: Mapping[str, str] | None = None,
    ) -> Version:
        """Log the bundle and register it; the same digest is never registered twice.

        Args:
            digest: of the bundle.
            bundle: its folder.
            fingerprint: of the training, which names the run.
            lineage: logged as lineage.json in the place of the bundle's own; it has the run added.
            examples: rows with the version's predictions, as a Parquet file.
            tags: of the version, besides its digest and fingerprint.
        """
        known = self.find(digest)
        if known is not None:
            return known
        self._make_model()
        run = self._run(fingerprint)
        folder = _folder(digest)
        noted = {EXAMPLES: hashlib.sha256(examples).hexdigest()} if examples else {}
        noted |= {**(tags or {}), DIGEST: digest, FINGERPRINT: fingerprint}
        made: list[Version] = []

        def upload(client: "MlflowClient") -> None:
            client.log_artifacts(run, str(bundle), folder)
            if examples:
                _upload(client, run, folder, examples)
            if lineage is not None:
                text = json.dumps({**lineage, "run": run}, indent=2, sort_keys=True)
                client.log_text(run, f"{text}\n", f"{folder}/{LINEAGE}")

        def create(client: "MlflowClient") -> None:
            source = f"runs:/{run}/{folder}"
            made.append(_version(client.create_model_version(self.name, source, run, noted)))

        for write in (upload, create):
            self._write("the bundle cannot be registered", write)
        return self._first(made[0])

    def version(self, number: int) -> Version:
        """The version with this number.

        Raises:
            RegistryError: there is none.
        """
        try:
            with self._said(f"version {number} cannot be read") as client:
                return _version(client.get_model_version(self.name, str(number)))
        except RegistryError as error:
            if not faults.missing(error):
                raise
            raise RegistryError(
                f"there is no version {number}",
                where=f"registered model {self.name}",
                got="nothing: it was never registered, or was deleted by hand",
                do="`refit history` lists the versions that were decided about",
            ) from error.__cause__

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

    def artifact(self, version: Version, path: str, target: Path) -> Path | None:
        """A file among the artifacts of the version's run, brought into `target`; None without it.

        A run that somebody has deleted for good has no artifacts either.
        """
        try:
            with self._said("artifacts cannot be read") as client:
                listed = client.list_artifacts(version.run, path.rpartition("/")[0])
                if path not in {found.path for found in listed}:
                    return None
                return Path(client.download_artifacts(version.run, path, str(target)))
        except RegistryError as error:
            if faults.missing(error):
                return None
            raise

    def folder(self, version: Version) -> str:
        """Where the version's bundle lies among the artifacts of its run."""
        return _folder(version.digest)

    def attach(self, version: Version, texts: Mapping[str, str], description: str) -> None:
        """Log texts, by file name, to the version's run, and describe the version in Markdown."""

        def write(client: "MlflowClient") -> None:
            for name, text in texts.items():
                client.log_text(version.run, text, name)
            client.update_model_version(self.name, str(version.number), description)

        self._write("the review cannot be logged", write)

    def address(self, version: Version, path: str, server: str) -> str:
        """Where MLflow's own pages, served at `server`, show an artifact of the version's run."""
        with self._said("the run cannot be found") as client:
            number = client.get_run(version.run).info.experiment_id
        return f"{server}/#/experiments/{number}/runs/{version.run}/artifacts/{path}"

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

        def write(client: "MlflowClient") -> None:
            logged = client.get_run(version.run).data.metrics
            for name, value in metrics.items():
                if logged.get(name) != value:  # a second point would draw a curve
                    client.log_metric(version.run, name, value)
            for name, folder in folders.items():
                client.log_artifacts(version.run, str(folder), name)
            client.log_text(version.run, report, f"decision-{version.number}.md")
            client.log_inputs(version.run, listed)
            client.update_model_version(self.name, str(version.number), _beginning(report))

        self._write("the evaluation cannot be logged", write)

    def record(self, version: Version, key: str, text: str) -> None:
        """Write a decision, as JSON, onto the version, under its key."""
        self._tag(version, decision_tag(key, text), text)

    def prune(self, version: Version, key: str, evidence: str) -> None:
        """Take away what others recorded of a decision, besides the one of that digest."""
        for tag, text in version.tags.items():
            if tag.startswith(_decision_tags(key)) and ledger.digest(text) != evidence:
                self.untag(version.number, tag)

    def untag(self, number: int, tag: str) -> None:
        """Take a tag off the version."""
        self._write(
            "the version's tag cannot be deleted",
            lambda client: client.delete_model_version_tag(self.name, str(number), tag),
        )

    def download(self, version: Version) -> Path:
        """The version's bundle as a local folder, its digest verified."""
        target = self.root / paths.BUNDLES / version.digest
        if not target.is_dir() or _identity(target) != version.digest:
            target.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory() as aside:
                for path in sorted(self.fetch(version, Path(aside)).iterdir()):
                    files.write_bytes(target / path.name, path.read_bytes())
        return target

    def fetch(self, version: Version, aside: Path) -> Path:
        """The version's bundle as the registry has it now, below an empty folder.

        Raises:
            RegistryError: it is not what was registered.
        """
        with self._said("the bundle cannot be downloaded") as client:
            folder = _folder(version.digest)
            got = Path(client.download_artifacts(version.run, folder, str(aside)))
        found = _identity(got)
        if found != version.digest:
            raise RegistryError(
                "the registered bundle is not the one that was registered",
                where=f"{self.name} version {version.number}",
                got=f"digest {found[:12]}" if found else "only a part of its files",
                expected=f"digest {version.digest[:12]}",
                do="its files were changed or damaged: restore the artifact store from a backup",
            )
        return got

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process of this project at a time; who holds the lock may enter again."""
        if self._held:
            yield
            return
        with only_one(self.root / paths.REGISTRY_LOCK, WAIT):
            self._held = True
            try:
                yield
            finally:
                self._held = False

    def _run(self, fingerprint: str) -> str:
        with self._said("the run cannot be found") as client:
            number = experiment(client, self.root, self.name)
            run = find_run(client, number, fingerprint)
            if run is None:
                run = client.create_run(
                    number,
                    tags={FINGERPRINT: fingerprint},
                    run_name=f"train-{fingerprint[:8]}",
                )
                client.set_terminated(run.info.run_id, "FINISHED")
        return str(run.info.run_id)

    def _make_model(self) -> None:
        try:
            with self._said("the registered model cannot be made") as client:
                client.create_registered_model(self.name)
        except RegistryError as error:
            if not faults.there(error):
                raise

    def _first(self, made: Version) -> Version:
        """The version itself, or an equal one that another machine registered just before it."""
        first = self.find(made.digest) or made
        if first.number < made.number:
            with self._said("a version that was registered twice cannot be deleted") as client:
                client.delete_model_version(self.name, str(made.number))
        return first

    def _tag(self, version: Version, key: str, value: str) -> None:
        self._write(
            "the version cannot be tagged",
            lambda client: client.set_model_version_tag(self.name, str(version.number), key, value),
        )

    def _write(self, what: str, write: Callable[["MlflowClient"], None]) -> None:
        """Write; once more, as long as others are writing the same at the same moment."""

        def once() -> None:
            with self._said(what) as client:
                write(client)

        faults.patiently(once)

    @contextmanager
    def _said(self, what: str) -> Iterator["MlflowClient"]:
        with faults.said(what, self.name):
            yield self._client


def _beginning(text: str) -> str:
    """The text, or as many of its first lines as a description takes."""
    return text if len(text) <= DESCRIPTION else text[: text.rfind("\n", 0, DESCRIPTION) + 1]


def _folder(digest: str) -> str:
    """Where a bundle lies among the artifacts of its run."""
    return f"bundle-{digest[:12]}"


def _identity(folder: Path) -> str:
    """The digest of a bundle; '' where it is not whole."""
    try:
        return identity(folder)
    except FileNotFoundError:
        return ""


def _upload(client: "MlflowClient", run: str, folder: str, examples: bytes) -> None:
    with tempfile.TemporaryDirectory() as aside:
        path = Path(aside) / SAMPLE
        path.write_bytes(examples)
        client.log_artifact(run, str(path), folder)


def _version(found: Any) -> Version:
    return Version(
        number=int(found.version),
        digest=found.tags.get(DIGEST, ""),
        run=found.run_id,
        created=found.creation_timestamp,
        tags=dict(found.tags),
    )
