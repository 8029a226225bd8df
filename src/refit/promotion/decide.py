"""Promotion: a decision about one candidate, made once, with its evidence.

refit.judging says what the evidence is worth. A decision is keyed by what it depends on: candidate,
champion, holdout (with its blocks and the baselines' predictions) and policy. It is recorded on the
registered version, then entered in the ledger, which alone makes it count. Asked again, it is found
there, and finished if a crash had cut it short. Where another champion comes between, the decision
is made anew against that one.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from refit.core import files, params, paths
from refit.core.errors import PipelineError, RegistryError
from refit.promotion import judge
from refit.promotion.evidence import folder as context_folder
from refit.promotion.evidence import gathered
from refit.promotion.gate import Outcome
from refit.promotion.judge import Judgement, Reuse
from refit.promotion.policy import PromoteParams
from refit.promotion.policy import read as read_policy
from refit.promotion.report import markdown
from refit.promotion.report import sentence as sentence_of
from refit.promotion.scoring import Champion
from refit.registry import ledger, reconcile
from refit.registry.client import Registry, Version, decision_tag, reviewed_tag
from refit.registry.ledger import Book, Entry, Judged
from refit.registry.sqlite_reader import Peek, UnknownError
from refit.reproducibility import provenance
from refit.serving import input_example
from refit.serving.digest import identity
from refit.workspace import git

NOT_KEPT = {"cached", "report", "waits", "reviewed"}
"""What a recorded decision leaves out: it is made anew when the decision is read."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was decided about a candidate, and why."""

    outcome: Outcome
    cached: bool
    version: int
    champion_before: int | None
    sentence: str
    report: str
    key: str
    evidence: Mapping[str, Any]
    waits: bool = False
    """Whether the version waits for a person's answer."""
    reviewed: bool = False
    """Whether its review has been made, or there is nothing to make one of."""

    def ask(self) -> str:
        """How the person who is awaited answers; '' when nobody is."""
        if not self.waits:
            return ""
        answers = f"`refit approve {self.version}` or `refit reject {self.version} --why ...`"
        return f"Version {self.version} waits for a person: {answers}"


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """The bundle that the pipeline left, and what it is judged by."""

    root: Path
    name: str
    digest: str
    policy: PromoteParams

    def key(self, champion: Version | None, book: Book) -> str:
        """Names the decision by everything that it depends on."""
        parts: dict[str, Any] = {
            "candidate": self.digest,
            "champion": [champion.number, champion.digest] if champion else None,
            "holdout": files.digest(self.root / paths.HOLDOUT),
            "judged": files.digest(self.root / paths.PREDICTIONS),
            "policy": asdict(self.policy),
        }
        if champion is not None and self.policy.outlived(_since(book)):
            parts["outlived"] = (
                True  # An older decision asked for more, see refit.promotion.gates.improvement.
            )
        return ledger.digest(json.dumps(parts, sort_keys=True))


def decide(root: Path) -> Decision:
    """Decide about the bundle in data/bundle, register it, and make it champion if it earned it.

    Raises:
        PipelineError: the pipeline has left no bundle.
        ConfigError: the policy's metric does not fit the task.
        RegistryError: MLflow cannot be reached, the ledger was changed by hand, or the champion
            was deleted.
    """
    candidate = _candidate(root)
    with suppress(UnknownError):
        peek = Peek(root, candidate.name)
        book = reconcile.settled(peek)
        found = book and _recall(peek, book, candidate)
        if book and found:
            return replace(found, waits=book.waiting == found.version)
    registry = Registry(root, candidate.name)
    with registry.locked():
        for _ in range(ledger.ATTEMPTS):
            book = reconcile.settle(registry)
            decided = _recall(registry, book, candidate) or _decide(registry, book, candidate)
            if decided.cached or _entered(registry, candidate, decided):
                waiting = registry.book().waiting
                return replace(decided, waits=waiting == decided.version)
    raise RegistryError(
        "the champion changed each time while this decision was made",
        where=f"registered model {candidate.name}",
        do="run `refit promote` again when fewer decisions are made at once",
    )


def _recall(reader: Peek | Registry, book: Book, candidate: _Candidate) -> Decision | None:
    """The decision about the candidate, where the ledger has it."""
    champion = None if book.champion is None else reader.reigning(book.champion)
    if champion is not None and champion.digest == candidate.digest:
        return _already(champion, book, candidate.root)
    key = candidate.key(champion, book)
    known = reader.find(candidate.digest)
    entry = book.decided(key, known.number) if known else None
    if known is None or entry is None:
        return None
    recorded = known.decision(entry.evidence)
    if recorded is None:
        return _without_evidence(entry, known.number)
    found = _recorded(recorded | {"sentence": _now(recorded, known.number, book)}, candidate.root)
    return replace(found, reviewed=reviewed_tag(key) in known.tags)


def _without_evidence(entry: Entry, version: int) -> Decision:
    """The decision as the ledger has it: somebody has changed what stood on the version."""
    return Decision(
        outcome="promote" if entry.kind == "wait" else cast("Outcome", entry.kind),
        cached=True,
        version=version,
        champion_before=entry.before,
        sentence=entry.why,
        report=f"**{entry.why}** Its evidence was changed by hand.\n",
        key=entry.key,
        evidence={},
        reviewed=True,
    )


def _now(recorded: Mapping[str, Any], version: int, book: Book) -> str:
    """The recorded sentence, and what became of a candidate that had passed."""
    end = book.end(version) if recorded["outcome"] == "promote" else None
    if end is None:
        return str(recorded["sentence"])
    number, entry = end
    about = f"{entry.kind} of version {entry.version or 'none'} by {entry.who}"
    return f"{recorded['sentence']} Since then, entry {number} of the ledger: {about}: {entry.why}"


def _entered(registry: Registry, candidate: _Candidate, decision: Decision) -> bool:
    """Record the decision and enter it in the ledger.

    False when the champion has changed since, or somebody else has just decided the same.
    """
    kept = {name: value for name, value in asdict(decision).items() if name not in NOT_KEPT}
    text = json.dumps(kept, sort_keys=True)
    version = registry.version(decision.version)
    registry.record(version, decision.key, text)

    def make(book: Book) -> Entry | None:
        if book.champion != decision.champion_before or book.decided(
            decision.key, decision.version
        ):
            return None
        kind = _kind(decision.outcome, candidate.policy)
        return book.entry(
            kind,
            who=git.user(candidate.root),
            why=decision.sentence + _replaces(kind, book),
            version=decision.version,
            after=decision.version if kind == "promote" else book.champion,
            key=decision.key,
            evidence=ledger.digest(text),
            policy=ledger.digest(json.dumps(asdict(candidate.policy), sort_keys=True)),
            holdout=files.digest(candidate.root / paths.HOLDOUT),
        )

    entry = reconcile.enter(registry, make).decided(decision.key, decision.version)
    if entry is not None and entry.evidence == ledger.digest(text):
        return True
    registry.untag(version.number, decision_tag(decision.key, text))
    return False


def _replaces(kind: Judged, book: Book) -> str:
    if kind not in {"wait", "promote"} or book.waiting is None:
        return ""
    return f" It takes the place of version {book.waiting}, which waited."


def _kind(outcome: Outcome, policy: PromoteParams) -> Judged:
    return "wait" if outcome == "promote" and policy.approval == "person" else outcome


def _candidate(root: Path) -> _Candidate:
    for path in (paths.BUNDLE, paths.PREDICTIONS, paths.HOLDOUT):
        if not (root / path).exists():
            raise PipelineError(
                "there is no candidate to decide about",
                where=str(root / path),
                got="nothing there",
                do="run the pipeline first: `refit run`, or `dvc repro`",
            )
    return _Candidate(
        root=root,
        name=params.dataset_name(root / paths.PARAMS),
        digest=identity(root / paths.BUNDLE),
        policy=read_policy(root),
    )


def _already(champion: Version, book: Book, root: Path) -> Decision:
    """The decision that crowned the champion, asked about again."""
    sentence = f"Version {champion.number} is the champion, and nothing newer challenges it."
    crowned = book.crowned
    passed = [found for found in champion.decisions() if found["outcome"] == "promote"]
    passed.sort(key=lambda found: crowned is not None and found["key"] == crowned.key)
    if passed:
        reviewed = reviewed_tag(passed[-1]["key"]) in champion.tags
        return replace(_recorded(passed[-1], root), sentence=sentence, reviewed=reviewed)
    why = f" By {crowned.who}: {crowned.why}." if crowned else ""
    return Decision(
        outcome="promote",
        cached=True,
        version=champion.number,
        champion_before=None,
        sentence=sentence,
        report=f"**{sentence}**{why}\n",
        key="",
        evidence={},
        reviewed=True,
    )


def _recorded(found: Mapping[str, Any], root: Path) -> Decision:
    """A decision as it was written onto the version, its report made anew from the evidence."""
    measured = files.read_json(root / paths.METRICS)
    report = markdown(found["sentence"], found["evidence"], measured)
    return Decision(**{**found, "cached": True, "report": report})


def _decide(registry: Registry, book: Book, candidate: _Candidate) -> Decision:
    """Judge the candidate and register it; what a crash cut short is done again, the same."""
    champion = None if book.champion is None else registry.reigning(book.champion)
    key = candidate.key(champion, book)
    lineage = provenance.describe(candidate.root, candidate.name, candidate.digest)
    judgement = _judge(registry, book, candidate, champion)
    version = registry.register(
        candidate.digest,
        candidate.root / paths.BUNDLE,
        fingerprint=lineage["training"],
        lineage=lineage,
        examples=input_example.take(candidate.root),
        tags=provenance.tags(lineage),
    )
    measured = files.read_json(candidate.root / paths.METRICS)
    evidence = judgement.evidence(candidate.policy)
    sentence = sentence_of(judgement.outcome, version.number, evidence)
    decision = Decision(
        outcome=judgement.outcome,
        cached=False,
        version=version.number,
        champion_before=champion.number if champion else None,
        sentence=sentence,
        report=markdown(sentence, evidence, measured),
        key=key,
        evidence=evidence,
    )
    with gathered(candidate.root, candidate.name, judgement.scored) as around:
        registry.log(
            version,
            metrics=_flat(measured),
            folders={"evaluation": candidate.root / paths.EVALUATION, context_folder(key): around},
            report=decision.report,
            inputs=_inputs(candidate.root),
        )
    return decision


def _since(book: Book) -> datetime | None:
    """Since when the champion is champion, where somebody wrote it down."""
    crowned = book.crowned
    return None if crowned is None or crowned.kind == "adopt" else crowned.moment


def _judge(
    registry: Registry, book: Book, candidate: _Candidate, champion: Version | None
) -> Judgement:
    reigning = None
    if champion is not None and book.crowned is not None:
        reigning = Champion(
            number=champion.number,
            bundle=registry.download(champion),
            lineage=registry.lineage(champion),
            since=_since(book),
        )
    before = book.judged_on(files.digest(candidate.root / paths.HOLDOUT))
    reuse = Reuse(decisions=len(before), candidates=len({entry.version for entry in before}))
    return judge.judge(candidate.root, candidate.policy, reigning, reuse)


def _flat(measured: Mapping[str, Any]) -> dict[str, float]:
    """`holdout.MODEL.METRIC` -> value; undefined ones are left out."""
    return {
        f"holdout.{model}.{name}": interval["value"]
        for model, found in measured["models"].items()
        for name, interval in found.items()
        if interval["value"] is not None
    }


def _inputs(root: Path) -> dict[str, str]:
    """Digests of the raw tables and of the holdout rows."""
    tables = sorted(path for path in (root / paths.RAW).iterdir() if path.is_dir())
    found = {path.relative_to(root).as_posix(): files.digest(path) for path in tables}
    return found | {paths.HOLDOUT.as_posix(): files.digest(root / paths.HOLDOUT)}
