"""What the registry keeps of a version, read back; whatever is not there is named, never an error.

Versions that were registered before some piece was kept, and versions whose artifacts somebody has
deleted, can be reviewed all the same: the review says what is missing.
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from refit import dataset_card
from refit.core import files, paths
from refit.core.errors import DataError
from refit.dataset_card import About
from refit.promotion import evidence
from refit.registry.artifacts import bundle_folder
from refit.registry.ledger import Ledger
from refit.registry.registry import Registry
from refit.registry.version import Version
from refit.serving.digest import LINEAGE, SIGNATURE

EVALUATION = "evaluation"
PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One version as the registry keeps it; None stands for what is not there."""

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
    missing: tuple[str, ...]
    """A phrase for each piece that is not there."""

    @property
    def label(self) -> str:
        """How people call it."""
        return f"version {self.version.number}"


def read(registry: Registry, version: Version, ledger: Ledger, key: str | None = None) -> Kept:
    """Read a version with one of its decisions.

    Args:
        registry: of the project.
        version: any of its versions.
        ledger: the ledger, which knows the order of the decisions.
        key: of the decision; the newest one if none is named.

    Raises:
        RegistryError: MLflow cannot be reached.
    """
    decision = _decision(version, ledger, key)
    reader = _Reader(registry, version)
    bundle = bundle_folder(version.digest)
    around = evidence.folder(decision["key"]) if decision else ""
    told = reader.json(f"{bundle}/{LINEAGE}", "its lineage")
    words = reader.json(f"{around}/{evidence.ABOUT}", "") if around else None
    return Kept(
        version=version,
        decision=decision,
        signature=reader.json(f"{bundle}/{SIGNATURE}", "the signature of its bundle"),
        lineage=told if told and "commit" in told else None,
        metrics=reader.evaluation(around, evidence.METRICS, "its metrics"),
        slices=reader.evaluation(around, evidence.SLICES, "its metrics by slice") or (),
        scored=reader.table(f"{around}/{evidence.SCORED}", "the scored rows") if around else None,
        validation=(
            reader.json(f"{around}/{paths.VALIDATION.name}", "the validation report")
            if around
            else None
        ),
        about=dataset_card.parse(words or {}),
        missing=(*reader.missing, *(() if decision else ("a decision about it",))),
    )


def predictions(registry: Registry, version: Version) -> pl.DataFrame | None:
    """Every prediction of the version's own holdout; None where they are not kept."""
    return _Reader(registry, version).table(f"{EVALUATION}/{PREDICTIONS}", "its predictions")


def _decision(version: Version, ledger: Ledger, key: str | None) -> dict[str, Any] | None:
    """The decision of that key; of none, the one that the ledger entered last."""
    order = {entry.evidence: number for number, entry in ledger.entries if entry.evidence}
    by_entry = sorted(version.recorded, key=lambda evidence: order.get(evidence, -1))
    found = [each for evidence in by_entry if (each := version.decision(evidence)) is not None]
    return next((each for each in reversed(found) if key in {None, each["key"]}), None)


class _Reader:
    """Reads artifacts of a version and notes which are missing."""

    def __init__(self, registry: Registry, version: Version) -> None:
        self._registry, self._version = registry, version
        self.missing: list[str] = []

    def json(self, path: str, what: str) -> Any:
        """The file as JSON, or None."""
        return self._read(path, what, files.read_json)

    def evaluation(self, around: str, name: str, what: str) -> Any:
        """What the evaluation said at the decision; of older decisions, what the run says now."""
        found = self.json(f"{around}/{name}", "") if around else None
        return found or self.json(f"{EVALUATION}/{name}", what)

    def table(self, path: str, what: str) -> pl.DataFrame | None:
        """The file as a table, or None."""
        found: pl.DataFrame | None = self._read(path, what, files.read_parquet)
        return found

    def _read(self, path: str, what: str, read_file: Callable[[Path], Any]) -> Any:
        with tempfile.TemporaryDirectory(prefix="refit-review-") as folder:
            got = self._registry.artifacts.file(self._version, path, Path(folder))
            if got is not None:
                try:
                    return read_file(got)
                except (DataError, json.JSONDecodeError):
                    what = f"{what} (its file is damaged)" if what else ""
        if what:
            self.missing.append(what)
        return None
