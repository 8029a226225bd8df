"""Promotion: a decision about one candidate, made once, with its evidence.

The first version must beat the linear baseline; a later one must beat the champion, both scored on
the same holdout rows, compared row by row and resampled by blocks of time (refit.compare). A
decision is keyed by what it depends on: candidate, champion, holdout (with its blocks and the
baselines' predictions) and policy. Asked again, it is found on the registered version, and finished
if a crash had cut it short.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from refit import compare, metrics, origin, verdict
from refit.compare import Comparison, Outcome
from refit.core import files, params
from refit.core.errors import ConfigError, DataError, PipelineError
from refit.core.params import param
from refit.dataset import Task
from refit.identity import identity
from refit.peek import Peek, UnknownError
from refit.registry import Registry, Version

if TYPE_CHECKING:
    from refit.bundle import Bundle

BUNDLE = Path("data/bundle")
EVALUATION = Path("data/evaluation")
HOLDOUT = Path("data/prepared/holdout.parquet")
PREDICTIONS = EVALUATION / "predictions.parquet"
LINEAR = "the linear baseline"
NOT_KEPT = {"cached", "report"}
"""What a recorded decision leaves out: it is made anew when the decision is read."""


@dataclass(frozen=True, kw_only=True)
class PromoteParams:
    """Section `promote` of params.yaml: the policy."""

    metric: str = param(
        "row-wise loss that decides",
        choices=("log_loss", "brier", "squared_error", "absolute_error"),
    )
    minimum_effect: float = param("smallest gain in that loss that matters", minimum=0)
    confidence: float = param("confidence of the interval", minimum=0.5, maximum=0.999)
    resamples: int = param("bootstrap samples", minimum=100)
    seed: int = param("seed of the bootstrap", minimum=0)
    accept_several_results: bool = param(
        "decide even when the same inputs have given different results"
    )


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


def policy(root: Path) -> PromoteParams:
    """The policy of the project."""
    return params.read(PromoteParams, "promote", root / "params.yaml")


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
        policy=policy(root),
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
    compared = _compare(registry, candidate, champion)
    outcome = compare.verdict(compared, candidate.policy.minimum_effect)
    version = registry.register(
        candidate.digest,
        candidate.root / BUNDLE,
        fingerprint=lineage["training"],
        lineage=lineage,
        tags=origin.tags(lineage),
    )
    rival = f"version {champion.number}" if champion else LINEAR
    measured = files.read_json(candidate.root / EVALUATION / "metrics.json")
    evidence = files.rounded(asdict(compared)) | asdict(candidate.policy) | {"rival": rival}
    sentence = verdict.sentence(outcome, version.number, evidence)
    decision = Decision(
        outcome=outcome,
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
    if outcome == "promote":
        registry.move(version, key, expected=champion.number if champion else None)
    return decision


def _compare(registry: Registry, candidate: _Candidate, champion: Version | None) -> Comparison:
    """The candidate against the champion's bundle, or the linear baseline, on the holdout."""
    from refit import bundle

    policy = candidate.policy
    challenger = bundle.load(candidate.root / BUNDLE)
    task: Task = challenger.signature["task"]
    predictions = files.read_parquet(candidate.root / PREDICTIONS)
    target = predictions["target"].to_numpy()
    if champion is None:
        rival = _stored(predictions, "linear", challenger)
        own = _stored(predictions, "network", challenger)
    else:
        rows = files.read_parquet(candidate.root / HOLDOUT)
        _require_same_rows(rows, predictions)
        own, rival = _both(challenger, bundle.load(registry.download(champion)), rows, champion)
    try:
        losses = [metrics.losses(policy.metric, task, target, p) for p in (own, rival)]
    except ValueError as error:
        raise ConfigError(
            str(error),
            where="params.yaml, `promote.metric`",
            expected=f"a loss of a {task} task, such as {metrics.PRIMARY[task]}",
        ) from error
    _require_finite(losses)
    return compare.paired(
        losses[0],
        losses[1],
        predictions["block"].to_numpy(),
        resamples=policy.resamples,
        confidence=policy.confidence,
        seed=policy.seed,
    )


def _stored(predictions: pl.DataFrame, model: str, challenger: "Bundle") -> np.ndarray:
    classes = challenger.signature["classes"]
    columns = [f"{model}_{name}" for name in classes] or [model]
    values = predictions.select(columns).to_numpy().astype(np.float64)
    return values if classes else values[:, 0]


def _require_same_rows(rows: pl.DataFrame, predictions: pl.DataFrame) -> None:
    shared = [name for name in rows.columns if name in predictions.columns and name != "target"]
    if not rows.select(shared).equals(predictions.select(shared)):
        raise PipelineError(
            "the evaluation is not of these holdout rows",
            where=str(PREDICTIONS),
            got=f"{predictions.height:,} rows",
            expected=f"the {rows.height:,} rows of {HOLDOUT}, in their order",
            do="run the pipeline: `refit run`, or `dvc repro`",
        )


def _require_finite(losses: Sequence[np.ndarray]) -> None:
    for who, found in zip(("candidate", "champion"), losses, strict=True):
        wrong = int(np.count_nonzero(~np.isfinite(found)))
        if wrong:
            raise DataError(
                f"the {who}'s loss is not a finite number",
                where=str(HOLDOUT),
                got=f"{wrong:,} of {len(found):,} rows",
                expected="a finite prediction for every row",
                do="look at the model's predictions for these rows before deciding about it",
            )


def _both(
    challenger: "Bundle", reigning: "Bundle", rows: pl.DataFrame, champion: Version
) -> tuple[np.ndarray, np.ndarray]:
    """The challenger's and the champion's predictions of the same rows: (N,) or (N, K).

    The K classes are the challenger's, in its order, then those that only the champion knows; a
    class that a model does not know has probability zero.
    """
    new, old = (model.signature for model in (challenger, reigning))
    classes = list(dict.fromkeys([*new["classes"], *old["classes"]]))
    try:
        own, rival = (_spread(m, new["task"], rows, classes) for m in (challenger, reigning))
    except DataError as error:
        raise DataError(
            "candidate and champion cannot be compared on these rows",
            where=f"champion version {champion.number}",
            got=str(error),
            do="keep the columns that the champion reads, or, to begin anew against the linear"
            " baseline, delete the alias `champion` in MLflow",
        ) from error
    return own, rival


def _spread(model: "Bundle", task: Task, rows: pl.DataFrame, classes: list[str]) -> np.ndarray:
    if model.signature["task"] != task:
        raise DataError(f"the champion is a {model.signature['task']} model", expected=task)
    values = model.predict(rows).astype(np.float64)
    if not classes:
        return values
    spread = np.zeros((len(values), len(classes)))
    spread[:, [classes.index(name) for name in model.signature["classes"]]] = values
    return spread


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
