"""Promotion: a decision about one candidate, made once, with its evidence.

refit.judging says what the evidence is worth. A decision is keyed by what it depends on: candidate,
champion, holdout (with its blocks and the baselines' predictions) and policy. Asked again, it is
found on the registered version, and finished if a crash had cut it short.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from refit import origin, verdict
from refit.core import files, params
from refit.core.errors import PipelineError
from refit.identity import identity
from refit.judging import judge
from refit.judging.gate import Outcome
from refit.judging.judge import Judgement, Reuse
from refit.judging.policy import PromoteParams
from refit.judging.policy import read as read_policy
from refit.judging.scored import BUNDLE, EVALUATION, HOLDOUT, PREDICTIONS, Champion
from refit.peek import Peek, UnknownError
from refit.registry import Registry, Version

NOT_KEPT = {"cached", "report"}
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


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """The bundle that the pipeline left, and what it is judged by."""

    root: Path
    name: str
    digest: str
    policy: PromoteParams

    def key(self, champion: Version | None) -> str:
        """Names the decision by everything that it depends on."""
        parts = {
            "candidate": self.digest,
            "champion": [champion.number, champion.digest] if champion else None,
            "holdout": files.digest(self.root / HOLDOUT),
            "judged": files.digest(self.root / PREDICTIONS),
            "policy": asdict(self.policy),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def decide(root: Path) -> Decision:
    """Decide about the bundle in data/bundle, register it, and move the alias if it earned it.

    Raises:
        PipelineError: the pipeline has left no bundle.
        ConfigError: the policy's metric does not fit the task.
        RegistryError: MLflow cannot be reached, or the champion changed meanwhile.
    """
    candidate = _candidate(root)
    try:
        found = _recall(Peek(root, candidate.name), candidate)
    except UnknownError:
        found = None
    if found is not None:
        return found
    registry = Registry(root, candidate.name)
    with registry.locked():
        champion = registry.champion()
        found = _recall(registry, candidate) or _complete(registry, candidate, champion)
        return found or _decide(registry, candidate, champion, candidate.key(champion))


def _recall(reader: Peek | Registry, candidate: _Candidate) -> Decision | None:
    """The finished decision about the candidate, where there is one."""
    champion = reader.champion()
    if champion is not None and champion.digest == candidate.digest:
        return None if champion.unmarked() else _already(champion, candidate.root)
    key = candidate.key(champion)
    known = reader.find(candidate.digest)
    recorded = known.decision(key) if known else None
    if known is None or recorded is None:
        return None
    if recorded["outcome"] == "promote" and not known.moved(key):
        return None
    return _recorded(recorded, candidate.root)


def _complete(
    registry: Registry, candidate: _Candidate, champion: Version | None
) -> Decision | None:
    """Finish a decision that a crash cut short after it was recorded, where there is one."""
    if champion is not None and champion.digest == candidate.digest:
        for crowned in champion.unmarked():
            registry.move(champion, crowned["key"], expected=champion.number)
        return _already(champion, candidate.root)
    key = candidate.key(champion)
    known = registry.find(candidate.digest)
    recorded = known.decision(key) if known else None
    if known is None or recorded is None:
        return None
    registry.move(known, key, expected=champion.number if champion else None)
    return _recorded(recorded, candidate.root, cached=False)


def _candidate(root: Path) -> _Candidate:
    for path in (BUNDLE, PREDICTIONS, HOLDOUT):
        if not (root / path).exists():
            raise PipelineError(
                "there is no candidate to decide about",
                where=str(root / path),
                got="nothing there",
                do="run the pipeline first: `refit run`, or `dvc repro`",
            )
    return _Candidate(
        root=root,
        name=params.dataset_name(root / "params.yaml"),
        digest=identity(root / BUNDLE),
        policy=read_policy(root),
    )


def _already(champion: Version, root: Path) -> Decision:
    """The decision that crowned the champion, asked about again."""
    sentence = f"Version {champion.number} is the champion, and nothing newer challenges it."
    crowned = [found for found in champion.decisions() if found["outcome"] == "promote"]
    if crowned:
        return _recorded(crowned[-1] | {"sentence": sentence}, root)
    return Decision(
        outcome="promote",
        cached=True,
        version=champion.number,
        champion_before=None,
        sentence=sentence,
        report=f"**{sentence}** Its alias was set by hand.\n",
        key="",
        evidence={},
    )


def _recorded(found: Mapping[str, Any], root: Path, *, cached: bool = True) -> Decision:
    """A decision as it was written onto the version, its report made anew from the evidence."""
    measured = files.read_json(root / EVALUATION / "metrics.json")
    report = verdict.markdown(found["sentence"], found["evidence"], measured)
    return Decision(**{**found, "cached": cached, "report": report})


def _decide(
    registry: Registry, candidate: _Candidate, champion: Version | None, key: str
) -> Decision:
    lineage = origin.describe(candidate.root, candidate.name, candidate.digest)
    judgement = _judge(registry, candidate, champion)
    version = registry.register(
        candidate.digest,
        candidate.root / BUNDLE,
        fingerprint=lineage["training"],
        lineage=lineage,
        tags=origin.tags(lineage),
    )
    measured = files.read_json(candidate.root / EVALUATION / "metrics.json")
    evidence = judgement.evidence(candidate.policy)
    sentence = verdict.sentence(judgement.outcome, version.number, evidence)
    decision = Decision(
        outcome=judgement.outcome,
        cached=False,
        version=version.number,
        champion_before=champion.number if champion else None,
        sentence=sentence,
        report=verdict.markdown(sentence, evidence, measured),
        key=key,
        evidence=evidence,
    )
    registry.log(
        version,
        metrics=_flat(measured),
        folders={"evaluation": candidate.root / EVALUATION},
        report=decision.report,
        inputs=_inputs(candidate.root),
    )
    kept = {name: value for name, value in asdict(decision).items() if name not in NOT_KEPT}
    registry.record(version, key, kept)
    if judgement.outcome == "promote":
        registry.move(version, key, expected=champion.number if champion else None)
    return decision


def _judge(registry: Registry, candidate: _Candidate, champion: Version | None) -> Judgement:
    reigning = None
    if champion is not None:
        reigning = Champion(
            number=champion.number,
            bundle=registry.download(champion),
            lineage=registry.lineage(champion),
            since=None,
        )
    reuse = Reuse(decisions=0, candidates=0)
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
    tables = sorted(path for path in (root / "data/raw").iterdir() if path.is_dir())
    found = {path.relative_to(root).as_posix(): files.digest(path) for path in tables}
    return found | {HOLDOUT.as_posix(): files.digest(root / HOLDOUT)}
