"""Everything that a reviewer needs, as one value: page, text and card only put it into form."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from refit.dataset_card import About
from refit.evaluation.time_blocks import FEWEST_BLOCKS
from refit.promotion import evidence
from refit.registry.entry import Entry
from refit.registry.ledger import Ledger
from refit.registry.registry import Registry
from refit.registry.version import Version
from refit.review import changes, comparison, sections, stored
from refit.review.changes import Changes
from refit.review.comparison import Curves, Estimate, MetricRow, Pair, SliceRow
from refit.review.sections import TableReport, Timing
from refit.review.stored import Kept
from refit.tasks.catalog import find as find_task

Kind = Literal["decision", "comparison", "version"]
LABELS = {"linear": "linear baseline", "boosted": "boosted trees"}
ORDER = ("fail", "not enough evidence", "pass")
USUAL = {
    "minimum_effect": 0.0,
    "confidence": 0.95,
    "resamples": 2000,
    "seed": 0,
    "neighbours": 1,
    "seed_deviation": 0.0,
}
"""How versions are compared where no decision says it."""
MEASURED = frozenset(
    {"difference", "lower", "upper", "rows", "blocks", "minimum_detectable", "rival", "gates"},
)
"""What of the evidence the page shows elsewhere than among the policy."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """How much better the version is than its rival, in the metric that decides."""

    metric: str
    rival: str
    estimate: Estimate
    minimum_effect: float | None
    minimum_detectable: float | None
    rows: int
    blocks: int
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A gate as the decision recorded it."""

    name: str
    result: str
    said: str
    estimate: Estimate
    limit: float | None
    unit: str
    rows: int | None
    blocks: int | None
    binding: bool
    """Whether a lack of evidence holds the candidate up."""


@dataclass(frozen=True, kw_only=True)
class Review:
    """A version and its rival, as far as the registry knows them."""

    kind: Kind
    dataset: str
    version: int
    labels: tuple[str, str]
    """What the version and its rival are called."""
    outcome: str
    sentence: str
    standing: str
    """Whether it is champion, waits, or was champion."""
    ledger: tuple[Entry, ...]
    """Every entry about it, the oldest first."""
    gain: Gain | None
    groups: tuple[tuple[str, tuple[Gate, ...]], ...]
    policy: tuple[tuple[str, str], ...]
    reuse: str
    task: str
    target: str
    features: tuple[str, ...]
    same_rows: bool
    """Whether the metrics of version and rival are of the same rows."""
    holdout: str
    compared: str
    """The rows that both were scored on; empty where they are not kept."""
    metrics: tuple[MetricRow, ...]
    slice_metric: str
    slices: tuple[SliceRow, ...]
    curves: Curves | None
    changes: Changes | None
    tables: tuple[TableReport, ...]
    lineage: tuple[tuple[str, str], ...]
    reproductions: tuple[str, ...]
    timings: tuple[Timing, ...]
    decisions: tuple[str, ...]
    """Sentences of the other decisions about it."""
    about: About
    missing: tuple[str, ...]


def of_version(root: Path, registry: Registry, version: Version, key: str | None = None) -> Review:
    """The review of a version against what it was judged against.

    Args:
        root: of the project, whose Git may know the commits.
        registry: of the project.
        version: any version of it.
        key: of the decision under review; the newest one if none is named.

    Raises:
        RegistryError: MLflow cannot be reached.
    """
    ledger = registry.ledger.read()
    own = stored.read(registry, version, ledger, key)
    evidence: Mapping[str, Any] = own.decision["evidence"] if own.decision else {}
    rival, missing = _rival(registry, ledger, own)
    name = rival.label if rival else "linear baseline"
    both = None
    if own.scored is not None and own.signature is not None:
        both = comparison.pair(own.scored, own.signature, (own.label, name))
    return _review(
        root,
        registry,
        ledger,
        (own, rival),
        both,
        kind="decision" if own.decision else "version",
        outcome=str(own.decision["outcome"]) if own.decision else "",
        sentence=(
            str(own.decision["sentence"])
            if own.decision
            else f"Version {version.number} is registered; no decision about it is kept."
        ),
        gain=_recorded_gain(evidence),
        evidence=evidence,
        rival_name=name,
        missing=(*own.missing, *missing),
    )


def of_two(root: Path, registry: Registry, old: Version, new: Version) -> Review:
    """The review of `new` against `old`, on the rows that both were evaluated on.

    Raises:
        RegistryError: MLflow cannot be reached.
    """
    ledger = registry.ledger.read()
    before, after = (stored.read(registry, one, ledger) for one in (old, new))
    both, phrase = _common(registry, before, after)
    policy = _policy(after)
    gain = _measured_gain(both, policy, before.label) if both else None
    missing = [f"{piece} of {one.label}" for one in (after, before) for piece in one.missing]
    return _review(
        root,
        registry,
        ledger,
        (after, before),
        both,
        kind="comparison",
        outcome="",
        sentence=_said(after.label, before.label, gain, phrase),
        gain=gain,
        evidence={},
        rival_name=before.label,
        missing=tuple(missing),
    )


def _review(  # the one place where all pieces meet
    root: Path,
    registry: Registry,
    ledger: Ledger,
    pair: tuple[Kept, Kept | None],
    both: Pair | None,
    *,
    kind: Kind,
    outcome: str,
    sentence: str,
    gain: Gain | None,
    evidence: Mapping[str, Any],
    rival_name: str,
    missing: tuple[str, ...],
) -> Review:
    own, rival = pair
    policy = _policy(own)
    rows, same = _metrics(own, rival, both, rival_name)
    first = comparison.REPORTED_AS.get(policy["metric"], policy["metric"])
    signature = own.signature or {}
    return Review(
        kind=kind,
        dataset=registry.name,
        version=own.version.number,
        labels=(own.label, rival_name),
        outcome=outcome,
        sentence=sentence,
        standing=_standing(ledger, own.version.number),
        ledger=tuple(ledger.about(own.version.number)),
        gain=gain,
        groups=_groups(evidence),
        policy=_told(evidence),
        reuse=_reuse(evidence),
        task=str(signature.get("task", "")),
        target=str(signature.get("target", "")),
        features=tuple(str(one["name"]) for one in signature.get("inputs", ())),
        same_rows=same,
        holdout=_holdout(own),
        compared=_compared(both),
        metrics=tuple(sorted(rows, key=lambda row: (row.name != first, not row.better))),
        slice_metric=first,
        slices=comparison.slice_rows(_slices(own, both), policy["metric"], both, policy),
        curves=comparison.draw(both) if both else None,
        changes=changes.between(root, rival, own) if rival else None,
        tables=sections.tables(own.validation),
        lineage=sections.lineage(own),
        reproductions=sections.reproductions(own.version),
        timings=sections.timings(own.lineage, rival.lineage if rival else None),
        decisions=_others(own),
        about=own.about,
        missing=missing,
    )


def _rival(registry: Registry, ledger: Ledger, own: Kept) -> tuple[Kept | None, tuple[str, ...]]:
    """The champion of the time, and what is missing of it."""
    number = own.decision["champion_before"] if own.decision else None
    if number is None:
        return None, ()
    found = {version.number: version for version in registry.versions.all()}.get(number)
    if found is None:
        return None, (f"version {number}, its rival, which somebody has deleted",)
    rival = stored.read(registry, found, ledger)
    return rival, () if rival.lineage else (f"the lineage of {rival.label}",)


def _policy(own: Kept) -> dict[str, Any]:
    """How the version was compared, or would be where no decision says it."""
    usual = {"metric": _usual_metric(own), **USUAL}
    evidence = own.decision["evidence"] if own.decision else {}
    return {name: evidence.get(name, value) for name, value in usual.items()}


def _usual_metric(own: Kept) -> str:
    return find_task((own.signature or {}).get("task", "binary")).row_losses[0]


def _recorded_gain(evidence: Mapping[str, Any]) -> Gain | None:
    if "difference" not in evidence:
        return None
    return Gain(
        metric=evidence["metric"],
        rival=evidence["rival"],
        estimate=Estimate(
            value=evidence["difference"],
            lower=evidence["lower"],
            upper=evidence["upper"],
        ),
        minimum_effect=evidence.get("minimum_effect"),
        minimum_detectable=evidence.get("minimum_detectable"),
        rows=evidence["rows"],
        blocks=evidence["blocks"],
        confidence=evidence["confidence"],
    )


def _measured_gain(both: Pair, policy: Mapping[str, Any], rival: str) -> Gain:
    losses = comparison.row_losses(both, policy["metric"])
    noise = float(policy["seed_deviation"]) * math.sqrt(2)  # both might have had another seed
    return Gain(
        metric=policy["metric"],
        rival=rival,
        estimate=comparison.gain(losses, both.blocks, policy, noise),
        minimum_effect=None,
        minimum_detectable=None,
        rows=both.rows.height,
        blocks=int(both.blocks.max()) + 1,
        confidence=float(policy["confidence"]),
    )


def _said(own: str, rival: str, gain: Gain | None, phrase: str) -> str:
    if gain is None or gain.estimate.value is None:
        return f"{own.capitalize()} and {rival} cannot be compared row by row: {phrase}."
    found = gain.estimate
    where = f"on {gain.rows:,} rows in {gain.blocks} blocks that both were scored on"
    if found.lower is None or found.upper is None:
        return (
            f"{own.capitalize()} differs from {rival} by {found.value:+.5f} {gain.metric} {where},"
            f" too few blocks for an interval (fewer than {FEWEST_BLOCKS})."
        )
    word = "better than" if found.lower > 0 else "worse than" if found.upper < 0 else "not shown to"
    rest = f" differ from {rival}" if word == "not shown to" else f" {rival}"
    return (
        f"{own.capitalize()} is {word}{rest}: {gain.metric} smaller by {found.value:.5f}"
        f" [{found.lower:.5f}, {found.upper:.5f}] {where}."
    )


def _common(registry: Registry, before: Kept, after: Kept) -> tuple[Pair | None, str]:
    """The rows that both were scored on, or why there are none."""
    judged = _judged(after, before) or _judged(before, after)
    if judged is not None:
        return judged if judged.labels[0] == after.label else judged.swapped(), ""
    old, new = (stored.predictions(registry, one.version) for one in (before, after))
    signatures = before.signature, after.signature
    if old is None or new is None or signatures[0] is None or signatures[1] is None:
        return None, "the predictions of one of them are not kept"
    if signatures[0]["task"] != signatures[1]["task"]:
        return None, f"one is a {signatures[0]['task']} model, one a {signatures[1]['task']} model"
    classes = tuple(signatures[1]["classes"])
    if classes and set(signatures[0]["classes"]) != set(classes):
        return None, "they know different classes"
    shared = [n for n in _context(new) if n in old.columns and old.schema[n] == new.schema[n]]
    columns = [f"network_{name}" for name in classes] or ["network"]
    suffixes = [f"_{name}" for name in classes] or [""]
    mine = {name: f"{evidence.CANDIDATE}{end}" for name, end in zip(columns, suffixes, strict=True)}
    theirs = {name: f"{evidence.RIVAL}{end}" for name, end in zip(columns, suffixes, strict=True)}
    rows = new.rename(mine).join(
        old.select(*shared, pl.col(columns).name.map(theirs.__getitem__)),
        on=shared,
        how="inner",
        nulls_equal=True,
        maintain_order="left",
    )
    if not rows.height:
        return None, "no row was in the holdout of both"
    return comparison.pair(rows, signatures[1], (after.label, before.label)), ""


def _judged(challenger: Kept, champion: Kept) -> Pair | None:
    """The rows of the decision about the one against the other, where there was one."""
    decision = challenger.decision
    if decision is None or decision["champion_before"] != champion.version.number:
        return None
    if challenger.scored is None or challenger.signature is None:
        return None
    labels = (challenger.label, champion.label)
    return comparison.pair(challenger.scored, challenger.signature, labels)


def _context(predictions: pl.DataFrame) -> list[str]:
    """The columns that say which row it is; predictions stand after `block` and `target`."""
    return predictions.columns[: predictions.columns.index("block")]


def _metrics(
    own: Kept,
    rival: Kept | None,
    both: Pair | None,
    rival_name: str,
) -> tuple[tuple[MetricRow, ...], bool]:
    """The metrics of all models, and whether they are of the same rows."""
    stored = (own.metrics or {}).get("models", {})
    labels = {**LABELS, "network": own.label}
    confidence, seed = _evaluated(own)
    if both is not None and _restricted(own, both):
        stored = {"network": comparison.own_metrics(both, confidence, seed)}
    if rival is None:
        return comparison.metric_rows(stored, labels, rival_name, None), True
    if both is not None:
        beside = comparison.rival_metrics(both, confidence, seed)
        return comparison.metric_rows(stored, labels, rival_name, beside), True
    apart = (rival.metrics or {}).get("models", {}).get("network")
    alone = {name: found for name, found in stored.items() if name == "network" or apart is None}
    return comparison.metric_rows(alone, labels, rival_name, apart), apart is None


def _evaluated(own: Kept) -> tuple[float, int]:
    """Confidence and seed of the evaluation's intervals."""
    section = ((own.lineage or {}).get("params") or {}).get("evaluate") or {}
    return float(section.get("confidence", 0.95)), int(section.get("seed", 0))


def _slices(own: Kept, both: Pair | None) -> Sequence[Mapping[str, Any]]:
    """The slices as they were evaluated, or of the compared rows where those are fewer."""
    if both is None or not _restricted(own, both):
        return own.slices
    return comparison.resliced(own.slices, both, *_evaluated(own))


def _restricted(own: Kept, both: Pair) -> bool:
    """Whether not all holdout rows were compared."""
    return own.metrics is not None and both.rows.height != own.metrics["rows"]


def _holdout(own: Kept) -> str:
    if not own.metrics:
        return ""
    return f"{own.metrics['rows']:,} rows in {own.metrics['blocks']:,} blocks"


def _compared(both: Pair | None) -> str:
    if both is None:
        return ""
    return f"{both.rows.height:,} rows in {int(both.blocks.max()) + 1:,} blocks"


def _groups(evidence: Mapping[str, Any]) -> tuple[tuple[str, tuple[Gate, ...]], ...]:
    """The gates by group, and within it those first that do not pass."""
    found: dict[str, list[Gate]] = {}
    for told in evidence.get("gates", ()):
        found.setdefault(str(told["group"]), []).append(
            Gate(
                name=told["name"],
                result=told["result"],
                said=told.get("summary", ""),
                estimate=Estimate(
                    value=told.get("measured"),
                    lower=told.get("lower"),
                    upper=told.get("upper"),
                ),
                limit=told.get("limit"),
                unit=told.get("unit") or "",
                rows=told.get("rows"),
                blocks=told.get("blocks"),
                binding=told.get("binding", True),
            ),
        )
    return tuple((group, tuple(sorted(each, key=_severity))) for group, each in found.items())


def _severity(gate: Gate) -> int:
    return ORDER.index(gate.result) if gate.result in ORDER else len(ORDER)


def _told(evidence: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The policy, and whatever else the evidence holds, as words."""
    return tuple(
        (name, _plain(value))
        for name, value in sorted(evidence.items())
        if name not in MEASURED | {"reuse"}
    )


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _reuse(evidence: Mapping[str, Any]) -> str:
    """How often the holdout had decided before, in words."""
    told = dict(evidence.get("reuse") or {})
    if not told:
        return ""
    decisions, candidates = told.pop("decisions", 0), told.pop("candidates", 0)
    rest = [f"{name.replace('_', ' ')} {_plain(value)}" for name, value in told.items()]
    if not decisions:
        return ", ".join(["decided for the first time", *rest])
    return ", ".join([f"decisions: {decisions}", f"candidates: {candidates}", *rest])


def _standing(ledger: Ledger, number: int) -> str:
    """Whether the version is champion, waits, or was champion."""
    champion = ledger.champion
    if champion == number:
        return "Champion"
    if ledger.waiting == number:
        return "Waits for a person"
    reigns = f"the champion is version {champion}" if champion else "there is no champion"
    return (
        f"Champion before; {reigns}" if number in ledger.champions() else f"Not champion; {reigns}"
    )


def _others(own: Kept) -> tuple[str, ...]:
    shown = own.decision["key"] if own.decision else ""
    return tuple(found["sentence"] for found in own.version.decisions() if found["key"] != shown)
