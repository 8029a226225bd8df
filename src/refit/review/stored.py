"""What the registry keeps of a version, read back. What is missing is named; it is not an error.

Artifacts and runs can be deleted by hand, and a decision can be changed by hand. Such a version can
still be reviewed: the review says which pieces are missing.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from refit import dataset_card
from refit.core import files, paths
from refit.core.errors import DataError, RegistryError
from refit.dataset_card import About
from refit.promotion import evidence
from refit.registry import contents
from refit.registry.artifact_store import bundle_folder
from refit.registry.ledger import Ledger
from refit.registry.registry import Registry
from refit.registry.version import Version
from refit.serving.digest import LINEAGE, SIGNATURE

EVALUATION = "evaluation"
PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True, kw_only=True)
class StoredVersion:
    """One version as the registry keeps it; None stands for what is missing."""

    version: Version
    decision: Mapping[str, Any] | None
    """The decision under review, as it was recorded."""
    signature: Mapping[str, Any] | None
    lineage: Mapping[str, Any] | None
    metrics: Mapping[str, Any] | None
    slices: Sequence[Mapping[str, Any]]
    scored: pl.DataFrame | None
    """The rows that the decision was made on, see refit.promotion.evidence."""
    validation: Mapping[str, Any] | None
    about: About
    others: tuple[str, ...]
    """Files beside its bundle that are not its own; nothing reads them."""
    missing: tuple[str, ...]
    """A phrase for each piece that is missing."""

    @property
    def label(self) -> str:
        """What people call it."""
        return f"version {self.version.number}"

    @property
    def evidence(self) -> Mapping[str, Any] | None:
        """The evidence of the decision under review."""
        return self.decision["evidence"] if self.decision else None

    @property
    def model(self) -> str | None:
        """The name of its model in metrics and predictions; None without a lineage."""
        return candidate_model(self.lineage) if self.lineage else None

    @property
    def intervals(self) -> tuple[float, int]:
        """Confidence and seed of the intervals that the evaluation computed."""
        if self.lineage is None:
            return 0.95, 0
        settings = self.lineage["params"]["evaluate"]
        return float(settings["confidence"]), int(settings["seed"])


def candidate_model(lineage: Mapping[str, Any]) -> str:
    """The name of the model that a lineage describes, such as `network`."""
    return str(lineage["model"]["name"])


def read(
    registry: Registry, version: Version, ledger: Ledger, key: str | None = None
) -> StoredVersion:
    """Read a version with one of its decisions.

    Args:
        registry: of the project.
        version: any of its versions.
        ledger: gives the order of the decisions.
        key: of the decision; None for the newest one.

    Raises:
        RegistryError: MLflow cannot be reached.
    """
    decision = _decision(version, ledger, key)
    reader = _Reader(registry, version)
    bundle = bundle_folder(version.digest)
    signature = reader.checked(
        f"{bundle}/{SIGNATURE}", "the signature of its bundle", contents.read_signature
    )
    lineage = reader.checked(f"{bundle}/{LINEAGE}", "its lineage", contents.read_lineage)
    context = evidence.folder(decision["key"]) if decision else EVALUATION
    metrics = reader.json(f"{context}/{evidence.METRICS}", "its metrics")
    slices = reader.json(f"{context}/{evidence.SLICES}", "its metrics by slice")
    scored, validation, about = None, None, About()
    if decision:
        scored = reader.table(f"{context}/{evidence.SCORED}", "the scored rows")
        validation = reader.json(f"{context}/{paths.VALIDATION.name}", "the validation report")
        words = reader.json(f"{context}/{evidence.ABOUT}", "the description of its dataset")
        about = dataset_card.parse(words) if words else About()
    else:
        reader.missing.append("a decision about it")
    return StoredVersion(
        version=version,
        decision=decision,
        signature=signature,
        lineage=lineage,
        metrics=metrics,
        slices=slices or (),
        scored=scored,
        validation=validation,
        about=about,
        others=reader.others(),
        missing=tuple(reader.missing),
    )


def predictions(registry: Registry, version: Version) -> pl.DataFrame | None:
    """Every prediction of the version's holdout; None if they are not kept."""
    return _Reader(registry, version).table(f"{EVALUATION}/{PREDICTIONS}", "its predictions")


def _decision(version: Version, ledger: Ledger, key: str | None) -> dict[str, Any] | None:
    """The decision with that key, or the last one without a key, as the ledger entered it."""
    entered = (entry.evidence for _, entry in reversed(ledger.entries) if entry.evidence)
    decisions = (version.decision(digest) for digest in entered)
    return next((each for each in decisions if each and key in {None, each["key"]}), None)


class _Reader:
    """Reads artifacts of a version, and collects what is missing."""

    def __init__(self, registry: Registry, version: Version) -> None:
        self._registry, self._version = registry, version
        self.missing: list[str] = []

    def json(self, path: str, what: str) -> Any:
        """The content of a JSON file, or None."""
        return self._read(path, what, files.read_json)

    def checked(
        self, path: str, what: str, read_file: Callable[[Path, Version], dict[str, Any]]
    ) -> dict[str, Any] | None:
        """The content of a file that is compared with what was registered, or None."""
        content: dict[str, Any] | None = self._read(
            path, what, lambda local: read_file(local, self._version)
        )
        return content

    def table(self, path: str, what: str) -> pl.DataFrame | None:
        """The content of a Parquet file, or None."""
        table: pl.DataFrame | None = self._read(path, what, files.read_parquet)
        return table

    def others(self) -> tuple[str, ...]:
        """The names of files beside the bundle that are not its own."""
        return self._registry.artifacts.others(self._version)

    def _read(self, path: str, what: str, read_file: Callable[[Path], Any]) -> Any:
        with tempfile.TemporaryDirectory(prefix="refit-review-") as folder:
            local = self._registry.artifacts.file(self._version, path, Path(folder))
            if local is None:
                self.missing.append(what)
                return None
            try:
                return read_file(local)
            except DataError:
                self.missing.append(f"{what} (its file is damaged)")
            except RegistryError as error:
                self.missing.append(f"{what} (its file is damaged: {error})")
            return None
