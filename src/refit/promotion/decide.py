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
from refit.registry import reconcile
from refit.registry.entry import Entry, PolicyKind, text_digest
from refit.registry.ledger import ATTEMPTS, Ledger
from refit.registry.reader import Reader
from refit.registry.registry import Registry
from refit.registry.sqlite_reader import SqliteReader, UnknownError
from refit.registry.version import Version, decision_tag, reviewed_tag
from refit.reproducibility.lineage import collect_lineage, lineage_tags
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

    def key(self, champion: Version | None, ledger: Ledger) -> str:
        """Names the decision by everything that it depends on."""
        parts: dict[str, Any] = {
            "candidate": self.digest,
            "champion": [champion.number, champion.digest] if champion else None,
            "holdout": files.digest(self.root / paths.HOLDOUT),
            "judged": files.digest(self.root / paths.PREDICTIONS),
            "policy": asdict(self.policy),
        }
        if champion is not None and self.policy.outlived(_since(ledger)):
            parts["outlived"] = (
                True  # An older decision asked for more, see refit.promotion.gates.improvement.
            )
        return text_digest(json.dumps(parts, sort_keys=True))


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
        reader = SqliteReader.open(root, candidate.name)
        ledger = reconcile.applied(reader)
        found = ledger and _recall(reader, ledger, candidate)
        if ledger and found:
            return replace(found, waits=ledger.waiting == found.version)
    registry = Registry.open(root, candidate.name)
    with registry.locked():
        for _ in range(ATTEMPTS):
            ledger = reconcile.apply(registry)
            decided = _recall(registry, ledger, candidate) or _decide(registry, ledger, candidate)
            if decided.cached or _entered(registry, candidate, decided):
                waiting = registry.ledger.read().waiting
                return replace(decided, waits=waiting == decided.version)
    raise RegistryError(
        "the champion changed each time while this decision was made",
        where=f"registered model {candidate.name}",
        do="run `refit promote` again when fewer decisions are made at once",
    )


def _recall(reader: Reader, ledger: Ledger, candidate: _Candidate) -> Decision | None:
    """The decision about the candidate, where the ledger has it."""
    champion = None if ledger.champion is None else reader.versions.get(ledger.champion)
    if champion is not None and champion.digest == candidate.digest:
        return _already(champion, ledger, candidate.root)
    key = candidate.key(champion, ledger)
    known = reader.versions.find(candidate.digest)
    entry = ledger.decided(key, known.number) if known else None
    if known is None or entry is None:
        return None
    recorded = known.decision(entry.evidence)
    if recorded is None:
        return _without_evidence(entry, known.number)
    found = _recorded(recorded | {"sentence": _now(recorded, known.number, ledger)}, candidate.root)
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


def _now(recorded: Mapping[str, Any], version: int, ledger: Ledger) -> str:
    """The recorded sentence, and what became of a candidate that had passed."""
    end = ledger.end(version) if recorded["outcome"] == "promote" else None
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
    registry.tags.record_decision(decision.version, decision.key, text)

    def make(ledger: Ledger) -> Entry | None:
        if ledger.champion != decision.champion_before or ledger.decided(
            decision.key, decision.version
        ):
            return None
        kind = _kind(decision.outcome, candidate.policy)
        return ledger.entry(
            kind,
            who=git.user(candidate.root),
            why=decision.sentence + _replaces(kind, ledger),
            version=decision.version,
            after=decision.version if kind == "promote" else ledger.champion,
            key=decision.key,
            evidence=text_digest(text),
            policy=text_digest(json.dumps(asdict(candidate.policy), sort_keys=True)),
            holdout=files.digest(candidate.root / paths.HOLDOUT),
        )

    entry = reconcile.enter(registry, make).decided(decision.key, decision.version)
    if entry is not None and entry.evidence == text_digest(text):
        return True
    registry.tags.delete(decision.version, decision_tag(decision.key, text))
    return False


def _replaces(kind: PolicyKind, ledger: Ledger) -> str:
    if kind not in {"wait", "promote"} or ledger.waiting is None:
        return ""
    return f" It takes the place of version {ledger.waiting}, which waited."


def _kind(outcome: Outcome, policy: PromoteParams) -> PolicyKind:
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


def _already(champion: Version, ledger: Ledger, root: Path) -> Decision:
    """The decision that made the champion, asked about again."""
    sentence = f"Version {champion.number} is the champion, and nothing newer challenges it."
    change = ledger.champion_entry
    passed = [found for found in champion.decisions() if found["outcome"] == "promote"]
    passed.sort(key=lambda found: change is not None and found["key"] == change.key)
    if passed:
        reviewed = reviewed_tag(passed[-1]["key"]) in champion.tags
        return replace(_recorded(passed[-1], root), sentence=sentence, reviewed=reviewed)
    why = f" By {change.who}: {change.why}." if change else ""
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


def _decide(registry: Registry, ledger: Ledger, candidate: _Candidate) -> Decision:
    """Judge the candidate and register it; what a crash cut short is done again, the same."""
    champion = registry.champion(ledger)
    key = candidate.key(champion, ledger)
    lineage = collect_lineage(candidate.root, candidate.name, candidate.digest)
    judgement = _judge(registry, ledger, candidate, champion)
    version = registry.versions.register(
        candidate.digest,
        candidate.root / paths.BUNDLE,
        fingerprint=lineage["training"],
        lineage=lineage,
        examples=input_example.take(candidate.root),
        tags=lineage_tags(lineage),
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
        registry.artifacts.log_evaluation(
            version,
            metrics=_flat(measured),
            folders={"evaluation": candidate.root / paths.EVALUATION, context_folder(key): around},
            report=decision.report,
            inputs=_inputs(candidate.root),
        )
    return decision


def _since(ledger: Ledger) -> datetime | None:
    """Since when the champion is champion, where somebody wrote it down."""
    change = ledger.champion_entry
    return None if change is None else change.moment


def _judge(
    registry: Registry, ledger: Ledger, candidate: _Candidate, champion: Version | None
) -> Judgement:
    reigning = None
    if champion is not None and ledger.champion_entry is not None:
        reigning = Champion(
            number=champion.number,
            bundle=registry.artifacts.download(champion),
            lineage=registry.artifacts.lineage(champion),
            since=_since(ledger),
        )
    before = ledger.judged_on(files.digest(candidate.root / paths.HOLDOUT))
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
