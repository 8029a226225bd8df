"""Collect everything that a reviewer needs as one value; page, text and card only format it."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from refit.dataset_card import About
from refit.evaluation import release
from refit.registry.entry import Entry
from refit.registry.ledger import Ledger
from refit.registry.registry import Registry
from refit.registry.version import Version
from refit.review import (
    changes,
    chart_data,
    data_report,
    gain,
    gates,
    lineage,
    metric_table,
    pair,
    slice_table,
    stored,
)
from refit.review.changes import Changes
from refit.review.chart_data import ChartData
from refit.review.data_report import TableReport
from refit.review.gain import Comparing, Gain
from refit.review.gates import Gate
from refit.review.lineage import Timing
from refit.review.metric_table import LINEAR, REPORTED_AS, MetricRow
from refit.review.pair import Pair
from refit.review.slice_table import SliceRow
from refit.review.stored import StoredVersion
from refit.tasks.catalog import find as find_task

Kind = Literal["decision", "comparison", "version"]
"""What a review is about: a decision, two versions, or a version without a decision."""


@dataclass(frozen=True, kw_only=True)
class Review:
    """A version and its rival, as far as the registry keeps them."""

    kind: Kind
    dataset: str
    version: int
    labels: tuple[str, str]
    """What the version and its rival are called."""
    outcome: str
    sentence: str
    status: str
    """Whether it is the champion, waits for a person, or was champion before."""
    ledger: tuple[Entry, ...]
    """Every entry about it, the oldest first."""
    release: tuple[str, ...]
    """Of each of the two that goes live as a release fit: that its twin was evaluated."""
    is_release: bool
    """Whether the version goes live as a release fit, so that its twin was evaluated."""
    gain: Gain | None
    groups: tuple[tuple[str, tuple[Gate, ...]], ...]
    """The gates by group."""
    policy: tuple[tuple[str, str], ...]
    reuse: str
    """How often the holdout was used in decisions before, in words."""
    task: str
    target: str
    features: tuple[str, ...]
    same_rows: bool
    """Whether all metrics are of the same rows."""
    holdout: str
    """How many rows were evaluated, in words; empty if the metrics are missing."""
    compared: str
    """How many rows both were scored on, in words; empty if they are not kept."""
    metrics: tuple[MetricRow, ...]
    slice_metric: str
    slices: tuple[SliceRow, ...]
    chart_data: ChartData | None
    changes: Changes | None
    tables: tuple[TableReport, ...]
    lineage: tuple[tuple[str, str], ...]
    grade: str
    """The grade of reproducibility, in words."""
    reproductions: tuple[str, ...]
    timings: tuple[Timing, ...]
    decisions: tuple[str, ...]
    """Sentences of the other decisions about it."""
    about: About
    missing: tuple[str, ...]

    @property
    def evaluated(self) -> str:
        """What the evaluation is of: the version, or the twin of its release fit."""
        version = f"version {self.version}"
        return f"the twin of {version}" if self.is_release else version


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """What a review is about."""

    kind: Kind
    version: StoredVersion
    rival: StoredVersion | None
    """None for the linear baseline, and for a version that was deleted."""
    labels: tuple[str, str]
    pair: Pair | None
    comparing: Comparing
    gain: Gain | None
    sentence: str
    missing: tuple[str, ...]


def review_version(
    root: Path, registry: Registry, version: Version, key: str | None = None
) -> Review:
    """The review of a version against its rival in a decision.

    Args:
        root: of the project, whose Git may hold the commits.
        registry: of the project.
        version: any version in it.
        key: of the decision under review; None for the newest one.

    Raises:
        RegistryError: MLflow cannot be reached.
    """
    ledger = registry.ledger.read()
    candidate = stored.read(registry, version, ledger, key)
    rival, label, missing = _rival(registry, ledger, candidate)
    sentence = f"Version {version.number} is registered; no decision about it is kept."
    if candidate.decision:
        sentence = candidate.decision["sentence"]
    subject = _Subject(
        kind="decision" if candidate.decision else "version",
        version=candidate,
        rival=rival,
        labels=(candidate.label, label),
        pair=pair.of_decision(candidate, label),
        comparing=_comparing(candidate),
        gain=gain.recorded(candidate.evidence) if candidate.evidence else None,
        sentence=sentence,
        missing=(*candidate.missing, *missing),
    )
    return _review(root, registry, ledger, subject)


def compare_versions(root: Path, registry: Registry, old: Version, new: Version) -> Review:
    """The review of `new` against `old`, on the rows that both were scored on.

    Raises:
        RegistryError: MLflow cannot be reached.
    """
    ledger = registry.ledger.read()
    before, after = (stored.read(registry, version, ledger) for version in (old, new))
    both, reason = pair.of_versions(registry, before, after)
    comparing = _comparing(after)
    difference = gain.measured(both, comparing) if both else None
    missing = [f"{piece} of {side.label}" for side in (after, before) for piece in side.missing]
    subject = _Subject(
        kind="comparison",
        version=after,
        rival=before,
        labels=(after.label, before.label),
        pair=both,
        comparing=comparing,
        gain=difference,
        sentence=gain.sentence(after.label, before.label, difference, reason),
        missing=tuple(missing),
    )
    return _review(root, registry, ledger, subject)


def _review(root: Path, registry: Registry, ledger: Ledger, subject: _Subject) -> Review:
    version, rival, both = subject.version, subject.rival, subject.pair
    number = version.version.number
    decision = version.decision if subject.kind == "decision" else None
    evidence = decision["evidence"] if decision else None
    signature: dict[str, Any] = dict(version.signature or {})
    metric = REPORTED_AS.get(subject.comparing.metric, subject.comparing.metric)
    table = metric_table.table(version, rival, both, subject.labels)
    return Review(
        kind=subject.kind,
        dataset=registry.name,
        version=number,
        labels=subject.labels,
        outcome=decision["outcome"] if decision else "",
        sentence=subject.sentence,
        status=_status(ledger, number),
        ledger=tuple(ledger.about(number)),
        release=tuple(_release(each) for each in (version, rival) if each and _is_release(each)),
        is_release=_is_release(version),
        gain=subject.gain,
        groups=gates.by_group(evidence) if evidence else (),
        policy=gates.policy(evidence) if evidence else (),
        reuse=gates.reuse(evidence) if evidence else "",
        task=signature.get("task", ""),
        target=signature.get("target", ""),
        features=tuple(column["name"] for column in signature.get("inputs", ())),
        same_rows=table.same_rows,
        holdout=_holdout(version),
        compared=_count(*both.size) if both else "",
        metrics=_ordered(table.rows, metric),
        slice_metric=metric,
        slices=slice_table.rows(version, both, subject.comparing),
        chart_data=chart_data.chart_data(both) if both else None,
        changes=changes.between(root, rival, version) if rival else None,
        tables=data_report.tables(version.validation),
        lineage=lineage.terms(version),
        grade=lineage.grade(version.version),
        reproductions=lineage.reproductions(version.version),
        timings=lineage.timings(version, rival),
        decisions=_other_decisions(version),
        about=version.about,
        missing=subject.missing,
    )


def _rival(
    registry: Registry, ledger: Ledger, candidate: StoredVersion
) -> tuple[StoredVersion | None, str, tuple[str, ...]]:
    """What the candidate was compared with, its label, and what is missing of it."""
    number = candidate.decision["champion_before"] if candidate.decision else None
    if number is None:
        return None, LINEAR, ()
    label = f"version {number}"
    champion = {version.number: version for version in registry.versions.all()}.get(number)
    if champion is None:
        return None, label, (f"{label}, its rival, which was deleted",)
    rival = stored.read(registry, champion, ledger)
    return rival, label, () if rival.lineage else (f"the lineage of {label}",)


def _comparing(version: StoredVersion) -> Comparing:
    """How the version was compared, or would be compared if no decision is kept."""
    if version.evidence:
        return Comparing(**{each.name: version.evidence[each.name] for each in fields(Comparing)})
    signature = version.signature
    return Comparing(metric=find_task(signature["task"]).row_losses[0] if signature else "")


def _is_release(version: StoredVersion) -> bool:
    return version.version.is_release


def _release(version: StoredVersion) -> str:
    """What is said of a release fit, with its distance from the twin where a decision has it."""
    statement = release.sentence(version.label.capitalize())
    measured = (version.evidence or {}).get("release")
    return f"{statement} {release.distance_words(measured)}" if measured else statement


def _holdout(version: StoredVersion) -> str:
    return _count(version.metrics["rows"], version.metrics["blocks"]) if version.metrics else ""


def _ordered(rows: Iterable[MetricRow], first: str) -> tuple[MetricRow, ...]:
    """The metric of the decision, then those with a direction, then the others, each by name."""
    return tuple(sorted(rows, key=lambda row: (row.name != first, not row.better, row.name)))


def _count(rows: int, blocks: int) -> str:
    return f"{rows:,} rows in {blocks:,} blocks"


def _status(ledger: Ledger, number: int) -> str:
    """Whether the version is the champion, waits for a person, or was champion before."""
    champion = ledger.champion
    if champion == number:
        return "Champion"
    if ledger.waiting == number:
        return "Waits for a person"
    now = f"the champion is version {champion}" if champion else "there is no champion"
    return f"Former champion; {now}" if number in ledger.champions() else f"Not champion; {now}"


def _other_decisions(version: StoredVersion) -> tuple[str, ...]:
    key = version.decision["key"] if version.decision else ""
    return tuple(each["sentence"] for each in version.version.decisions() if each["key"] != key)
