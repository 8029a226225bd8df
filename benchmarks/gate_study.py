"""How often the gates promote a model that is no better, and one that is: `make gate-study`.

The example's model is retrained with the newest training month from January to October of 2013,
each time with thirteen seeds (retrains.py). A retrain that differs from the one before by its seed
alone is no better: a promotion of it is false. A retrain with one month more is what `refit run
--until next` makes. Both are judged on the two months after the month that follows the training
(of October, on December alone), which neither has seen, by four methods:

- points: the mean loss is lower;
- rows: the 95 % interval over rows lies above zero, and the gain reaches the minimum effect (the
  normal interval, which equals that of a bootstrap over 27,000 to 57,000 rows);
- days: the same with whole days resampled, without the noise of seeds;
- policy: the gates of params.yaml that need predictions alone: improvement with the deviation of
  seeds, baselines, calibration, declared and found slices.

The trainings take about half an hour on one core. They are kept in .refit/gate-study, in a folder
named by what they depend on, so a second run takes a minute.
"""

import hashlib
import itertools
import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
from bench import ROOT, call, clone, machine
from retrains import MONTHS, SEEDS

from refit.core import files, params
from refit.dataset import PARTITION, roles
from refit.evaluation import paired_bootstrap
from refit.evaluation.baselines import BASELINES
from refit.evaluation.predictions import Predictions
from refit.evaluation.time_blocks import block_codes
from refit.promotion import judge, policy, scoring
from refit.promotion.evidence import CANDIDATE, RIVAL
from refit.promotion.gate import Outcome, better, outcome
from refit.promotion.gates import improvement
from refit.promotion.policy import PromoteParams
from refit.promotion.scored import ScoredCandidate, ScoredRows
from refit.tasks.catalog import find as find_task

STUDY = ROOT / ".refit/gate-study"
LATEST = 12
TRIALS = 1000
POLICY = policy.read(ROOT)
ROLES = roles("flights")
TASK = find_task(ROLES.task)


def main() -> None:
    """Train what is missing, judge, print."""
    folder = STUDY / key()
    examples_of_the_year(folder)
    _train(folder)
    study = Study(folder)
    print(f"Machine: {machine()}; trainings {folder.name}\n")
    _deviations(study)
    _seeds(study)
    _months(study)
    _simulations()


def key() -> str:
    """Names the trainings by everything that they depend on."""
    loaded = params.load(ROOT / "params.yaml")
    code = [*(ROOT / "src/flights").rglob("*.py"), Path(__file__).with_name("retrains.py")]
    code += [ROOT / "src/refit/data/encoder.py", *(ROOT / "src/refit/models").glob("*.py")]
    code += (ROOT / "src/refit/training").glob("*.py")
    sections = ("preprocess", "baseline", "train", loaded["train"]["model"])
    parts = {
        "params": {name: loaded[name] for name in sections},
        "code": {str(path.relative_to(ROOT)): files.digest(path) for path in sorted(code)},
        "packages": {name: version(name) for name in ("torch", "numpy", "polars", "scikit-learn")},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def examples_of_the_year(folder: Path) -> pl.DataFrame:
    """All examples of the year, made by the pipeline in a clone and kept in the folder."""
    if (folder / "examples.parquet").exists():
        return files.read_parquet(folder / "examples.parquet")
    with clone() as project:
        call(project, "refit", "ingest", "--until", f"2013-{LATEST}")
        call(project, "dvc", "repro", "preprocess")
        parts = [
            files.read_parquet(project / f"data/prepared/{part}.parquet")
            for part in ("train", "validation", "holdout")
        ]
    examples = pl.concat(parts)
    files.write_parquet(examples, folder / "examples.parquet")
    return examples


def _train(folder: Path) -> None:
    program = [sys.executable, str(Path(__file__).with_name("retrains.py")), str(folder)]
    threads = str(len(os.sched_getaffinity(0)))
    subprocess.run(["nice", *program, threads], cwd=ROOT, check=True)


@dataclass(frozen=True, kw_only=True)
class Month:
    """A holdout, and the predictions of every model for it."""

    month: int
    """The newest month that trained the models."""
    holdout: pl.DataFrame
    validation: pl.DataFrame
    blocks: np.ndarray
    predict: Callable[[str, pl.DataFrame], np.ndarray]
    """(N,) predictions of a model for some rows."""
    predict_before: Callable[[str, pl.DataFrame], np.ndarray]
    """The same, by the models that were trained without the newest month."""

    @property
    def target(self) -> np.ndarray:
        """(N,) whether the flight was late."""
        return _target(self.holdout)

    def loss(self, predicted: np.ndarray) -> np.ndarray:
        """(N,) the loss of each row."""
        return scoring.losses(POLICY.metric, TASK, self.target, predicted)


def _target(rows: pl.DataFrame) -> np.ndarray:
    return rows[ROLES.target].to_numpy().astype(np.float64)


class Study:
    """The kept predictions, month by month."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.examples = files.read_parquet(folder / "examples.parquet")
        self.numbers = self.examples.with_row_index("row")

    @cache  # noqa: B019 - one study lives as long as the process
    def month(self, month: int) -> Month:
        """A month's holdout and models."""
        names = [f"2013-{number:02}" for number in range(month + 1, min(month + 3, LATEST) + 1)]
        partition = self.numbers[PARTITION]
        holdout = self.numbers.filter(partition.is_in(names[1:]))
        return Month(
            month=month,
            holdout=holdout,
            validation=self.numbers.filter(partition == names[0]),
            blocks=block_codes(holdout[ROLES.time], "1d"),
            predict=lambda model, rows: self._load(month, model, rows),
            predict_before=lambda model, rows: self._load(month - 1, model, rows),
        )

    def _load(self, month: int, model: str, rows: pl.DataFrame) -> np.ndarray:
        """(N,) a model's predictions of the rows."""
        stored = files.map_array(self.folder / f"upto-{month:02}" / f"{model}.npy")
        first = self.examples.height - len(stored)
        return np.array(stored[rows["row"].to_numpy() - first], np.float64)

    def judged(self) -> Iterator[Month]:
        """The months that have a retrain before them."""
        return (self.month(number) for number in list(MONTHS)[1:])

    @cache  # noqa: B019 - as above
    def deviation(self, month: int) -> float:
        """Standard deviation of the mean holdout loss over seeds."""
        at = self.month(month)
        means = [at.loss(at.predict(f"seed-{s}", at.holdout)).mean() for s in range(SEEDS)]
        return float(np.std(means, ddof=1))

    def pooled(self, without: int | None = None) -> float:
        """Root mean square of the deviations of all months, or of all but one."""
        squares = [self.deviation(m.month) ** 2 for m in self.judged() if m.month != without]
        return math.sqrt(sum(squares) / len(squares))


def _deviations(study: Study) -> None:
    print("| Newest training month | Holdout rows | Days | Log loss | Deviation over 13 seeds |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for at in study.judged():
        mean = np.mean([at.loss(at.predict(f"seed-{s}", at.holdout)).mean() for s in range(SEEDS)])
        print(
            f"| {at.month} | {len(at.target):,} | {at.blocks.max() + 1} | {mean:.4f} |"
            f" {study.deviation(at.month):.5f} |"
        )
    print(f"\nPooled: {study.pooled():.5f}; params.yaml: {POLICY.seed_deviation:g}\n")


def _seeds(study: Study) -> None:
    """The table of false promotions."""
    names = ("points", "rows", "days", "days, seeds", "the same, month left out", "policy")
    print(f"| Seed-only retrains of month | Retrains | {' | '.join(names)} |")
    print("| --- | ---: |" + " ---: |" * len(names))
    total: Counter[str] = Counter()
    for at in study.judged():
        left_out = replace(POLICY, seed_deviation=study.pooled(without=at.month))
        promoted: Counter[str] = Counter()
        for seed in range(1, SEEDS):
            models = f"seed-{seed}", f"seed-{seed - 1}"
            candidate, rival = (at.predict(name, at.holdout) for name in models)
            results = (
                *_cheap(at, (candidate, rival), left_out),
                _policy(at, *models, at.predict)[0],
            )
            promoted += Counter(n for n, r in zip(names, results, strict=True) if r == "promote")
        total += promoted
        print(f"| {at.month} | {SEEDS - 1} | " + " | ".join(str(promoted[n]) for n in names) + " |")
    count = (SEEDS - 1) * (len(MONTHS) - 1)
    shares = " | ".join(f"{total[n]} ({total[n] / count:.1%})" for n in names)
    print(f"| all | {count} | {shares} |")
    _all_pairs(study, names)


def _all_pairs(study: Study, names: tuple[str, ...]) -> None:
    """The cheap methods on every ordered pair of seeds, which measures the rates more exactly."""
    total: Counter[str] = Counter()
    pairs = list(itertools.permutations(range(SEEDS), 2))
    for at in study.judged():
        left_out = replace(POLICY, seed_deviation=study.pooled(without=at.month))
        models = [at.predict(f"seed-{seed}", at.holdout) for seed in range(SEEDS)]
        for new, old in pairs:
            pair = models[new], models[old]
            results = _cheap(at, pair, left_out)
            total += Counter(n for n, r in zip(names, results, strict=False) if r == "promote")
    count = len(pairs) * (len(MONTHS) - 1)
    shares = " | ".join(f"{total[n] / count:.1%}" for n in names[:-1])
    print(f"| every ordered pair of seeds | {count:,} | {shares} | |\n")


def _months(study: Study) -> None:
    """The table of real retrains, each with one month more."""
    head = "| Retrained with month | Gain, this seed | Gain, 13 seeds | points | rows | days |"
    print(f"{head} policy | Gates that did not pass |")
    print("| ---: | ---: | ---: | --- | --- | --- | --- | --- |")
    for at in study.judged():
        gained = [
            at.loss(at.predict_before(f"seed-{s}", at.holdout)).mean()
            - at.loss(at.predict(f"seed-{s}", at.holdout)).mean()
            for s in range(SEEDS)
        ]
        pair = at.predict("seed-0", at.holdout), at.predict_before("seed-0", at.holdout)
        decided, reasons = _policy(at, "seed-0", "seed-0", at.predict_before)
        cells = (
            f"{at.month}",
            f"{gained[0]:.4f}",
            f"{np.mean(gained):.4f} ± {np.std(gained, ddof=1):.4f}",
            _by_points(at, *pair),
            _by_rows(at, *pair),
            _improved(at, *pair, replace(POLICY, seed_deviation=0.0)),
            f"**{decided}**",
            reasons,
        )
        print(f"| {' | '.join(cells)} |")
    print()


def _cheap(
    at: Month, pair: tuple[np.ndarray, np.ndarray], left_out: PromoteParams
) -> tuple[Outcome, ...]:
    """The outcomes of the methods that need the losses alone.

    Args:
        at: the month.
        pair: predictions of candidate and rival.
        left_out: the policy with the deviation of seeds in the other months.
    """
    return (
        _by_points(at, *pair),
        _by_rows(at, *pair),
        _improved(at, *pair, replace(POLICY, seed_deviation=0.0)),
        _improved(at, *pair, POLICY),
        _improved(at, *pair, left_out),
    )


def _by_points(at: Month, candidate: np.ndarray, rival: np.ndarray) -> Outcome:
    return "promote" if at.loss(candidate).mean() < at.loss(rival).mean() else "reject"


def _by_rows(at: Month, candidate: np.ndarray, rival: np.ndarray) -> Outcome:
    gain = at.loss(rival) - at.loss(candidate)
    reach = NormalDist().inv_cdf(1 - POLICY.alpha) * gain.std(ddof=1) / math.sqrt(len(gain))
    if gain.mean() - reach > 0 and gain.mean() >= POLICY.minimum_effect:
        return "promote"
    return "reject" if gain.mean() + reach < POLICY.minimum_effect else "not proven"


def _improved(at: Month, candidate: np.ndarray, rival: np.ndarray, rules: PromoteParams) -> Outcome:
    comparison = paired_bootstrap.paired(
        at.loss(candidate),
        at.loss(rival),
        at.blocks,
        resamples=rules.resamples,
        confidence=rules.confidence,
        seed=rules.seed,
        neighbours=rules.neighbours,
        noise=rules.seed_deviation * math.sqrt(2),
    )
    words: dict[str, Outcome] = {"pass": "promote", "fail": "reject"}
    return words.get(better(comparison, rules.minimum_effect), "not proven")


def _policy(
    at: Month, candidate: str, rival: str, predict: Callable[[str, pl.DataFrame], np.ndarray]
) -> tuple[Outcome, str]:
    """The outcome of all gates that need predictions alone, and the gates that did not pass.

    Args:
        at: the month.
        candidate: the name of its model.
        rival: the name of the rival's model.
        predict: gives the rival's predictions.
    """

    def scored_rows(rows: pl.DataFrame) -> ScoredRows:
        return ScoredRows(
            rows=rows,
            blocks=block_codes(rows[ROLES.time], "1d"),
            predictions=Predictions(
                target=_target(rows),
                candidate=CANDIDATE,
                models={CANDIDATE: at.predict(candidate, rows), RIVAL: predict(rival, rows)},
                classes=(),
            ),
        )

    holdout = scored_rows(at.holdout)
    signature = {"inputs": [{"name": name} for name in ROLES.features]}
    scored = ScoredCandidate(
        task=TASK,
        candidate=cast("Any", SimpleNamespace(signature=signature)),
        champion=None,
        rival="the champion",
        comparison_error="",
        holdout=holdout,
        stored=at.holdout,
        baselines={name: at.predict(name, at.holdout) for name in BASELINES},
        validation=scored_rows(at.validation),
        all_rows=at.holdout,
        all_predictions=holdout.candidate,
        expected_predictions=holdout.candidate,
        seen_rows=0,
        slices=ROLES.slices,
    )
    first = improvement.gate(improvement.compare(scored, POLICY), scored, POLICY, None)
    gates = (first, *judge.prediction_gates(scored, POLICY))
    missed = [
        f"{gate.name}: {gate.result}" for gate in gates if gate.result != "pass" and gate.binding
    ]
    return outcome(gates), "; ".join(missed)


def _simulations() -> None:
    """The table of a thousand trials each, in which the true difference is known."""
    rng = np.random.default_rng(2013)
    days = np.repeat(np.arange(60), 5)
    noise = rng.normal(0, 1, (TRIALS, 60))[:, days] + rng.normal(0, 1, (TRIALS, 300))
    dependent = np.zeros((TRIALS, 200))
    for day in range(1, 200):
        dependent[:, day] = 0.5 * dependent[:, day - 1] + rng.normal(0, 1, TRIALS)
    seeds = rng.normal(0, 0.3 * math.sqrt(2), (TRIALS, 1)) + rng.normal(0, 1, (TRIALS, 60))
    stated = np.mean([_simulated(row, days).minimum_detectable for row in noise[:100]])
    skewed = 1 - rng.exponential(size=(TRIALS, 20))
    print(f"| {TRIALS:,} simulated trials | Stated | Promoted |\n| --- | ---: | ---: |")
    for name, trials, blocks, setting in (
        ("rows of a day share noise, no gain; days resampled", noise, days, {}),
        ("the same; rows resampled", noise, np.arange(300), {}),
        ("20 skewed days, no gain", skewed, np.arange(20), {}),
        ("dependent days (AR 0.5), no gain; single days", dependent, np.arange(200), {}),
        ("the same; 8 neighbours", dependent, np.arange(200), {"neighbours": 8}),
        ("seeds differ, no gain; days alone", seeds, np.arange(60), {}),
        ("the same; seeds count", seeds, np.arange(60), {"noise": 0.3 * math.sqrt(2)}),
        ("a true gain of the minimum detectable effect", noise + stated, days, {}),
    ):
        passed = [better(_simulated(row, blocks, **setting), 0) == "pass" for row in trials]
        level = "80 %" if "true gain" in name else "2.5 %"
        print(f"| {name} | {level} | {np.mean(passed):.1%} |")


def _simulated(
    row: np.ndarray, blocks: np.ndarray, **setting: float
) -> paired_bootstrap.Comparison:
    return paired_bootstrap.paired(
        np.zeros(len(row)),
        row,
        blocks,
        resamples=500,
        confidence=0.95,
        seed=1,
        **setting,  # type: ignore[arg-type]
    )


if __name__ == "__main__":
    main()
