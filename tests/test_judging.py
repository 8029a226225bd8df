"""Every gate: passing, failing and without evidence, also on few rows and days."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from refit.evaluation.predictions import Predictions
from refit.promotion import policy
from refit.promotion.evidence import CANDIDATE, RIVAL
from refit.promotion.gate import Gate, outcome
from refit.promotion.gates import calibration, cost, groups, holdout, slices
from refit.promotion.gates import improvement as gate_improvement
from refit.promotion.gates.holdout import Reuse
from refit.promotion.gates.model import gates as model_gates
from refit.promotion.scored import LINEAR, ScoredCandidate, ScoredRows
from refit.serving.digest import MODEL
from refit.tasks.catalog import find as find_task

ROOT = Path(__file__).resolve().parent.parent
POLICY = replace(
    policy.read(ROOT), resamples=300, seed_deviation=0.0, smallest_slice=50, boosted_deficit=0.02
)
DAYS, EACH = 40, 30
N = DAYS * EACH
RNG = np.random.default_rng(1)
CHANCE = RNG.uniform(0.05, 0.95, N)
TARGET = (RNG.random(N) < CHANCE).astype(np.float64)
LEVEL = pl.Series("level", RNG.normal(0, 1, N))
TOWN = pl.Series("town", np.tile(["a", "b", "c"], N // 3))


def nudged(by: float, where: np.ndarray | None = None) -> np.ndarray:
    """The true chances, moved towards one half by a share."""
    inside = np.ones(N, bool) if where is None else where
    return np.where(inside, CHANCE + by * (0.5 - CHANCE), CHANCE)


def scored_rows(
    candidate: np.ndarray, rival: np.ndarray, target: np.ndarray = TARGET
) -> ScoredRows:
    return ScoredRows(
        rows=pl.DataFrame({"town": TOWN, "level": LEVEL, "partition": ["new"] * N}),
        blocks=np.arange(N) // EACH,
        predictions=Predictions(
            target=target,
            candidate=CANDIDATE,
            models={CANDIDATE: candidate, RIVAL: rival},
            classes=(),
        ),
    )


def model(predict: Callable[[pl.DataFrame], np.ndarray], folder: Path = ROOT) -> Any:
    inputs = [{"name": "level", "type": "number"}, {"name": "town", "type": "string"}]
    return SimpleNamespace(
        predict=predict, signature={"inputs": inputs, "classes": []}, folder=folder
    )


def steady(rows: pl.DataFrame) -> np.ndarray:
    """A model that reads one row at a time."""
    return rows["level"].fill_null(0).to_numpy().astype(np.float32) / 10


def score(
    candidate_predictions: np.ndarray = CHANCE,
    rival_predictions: np.ndarray | None = None,
    /,
    *,
    task: str = "binary",
    **changed: Any,
) -> ScoredCandidate:
    if rival_predictions is None:
        rival_predictions = nudged(0.5)
    both = scored_rows(candidate_predictions, rival_predictions)
    fields: dict[str, Any] = {
        "task": find_task(task),
        "candidate": model(steady),
        "champion": model(steady),
        "rival": "version 3",
        "comparison_error": "",
        "holdout": both,
        "stored": both.rows,
        "baselines": {"linear": nudged(0.6), "boosted": nudged(0.05)},
        "validation": both,
        "all_rows": both.rows,
        "all_predictions": candidate_predictions,
        "expected_predictions": candidate_predictions,
        "seen_rows": 0,
        "slices": ("town",),
    }
    return ScoredCandidate(**{**fields, **changed})


def empty() -> ScoredCandidate:
    scored = score()
    return replace(
        scored,
        holdout=scored.holdout.only(np.zeros(N, bool)),
        all_rows=scored.all_rows.head(0),
        all_predictions=CHANCE[:0],
        expected_predictions=CHANCE[:0],
        baselines={name: p[:0] for name, p in scored.baselines.items()},
    )


def few(days: int = 5) -> ScoredCandidate:
    scored = score()
    mask = scored.holdout.blocks < days
    return replace(
        scored,
        holdout=scored.holdout.only(mask),
        baselines={name: p[mask] for name, p in scored.baselines.items()},
    )


def results(gates: tuple[Gate, ...]) -> dict[str, str]:
    assert len({gate.name for gate in gates}) == len(gates)
    return {gate.name: gate.result for gate in gates}


def improvement(scored: ScoredCandidate, overdue: int | None = None, **changed: Any) -> Gate:
    rules = replace(POLICY, **changed)
    return gate_improvement.gate(gate_improvement.compare(scored, rules), scored, rules, overdue)


@pytest.mark.parametrize(
    ("scored", "changed", "result", "summary"),
    [
        (score(), {}, "pass", r"log_loss better by 0\.\d+ than version 3"),
        (score(nudged(0.5), CHANCE), {}, "fail", "worse by"),
        (score(), {"minimum_effect": 0.5}, "fail", "better by"),
        (score(nudged(0.02), nudged(0.03)), {"seed_deviation": 0.05}, "not enough evidence", ""),
        (few(), {}, "not enough evidence", "5 independent blocks prove nothing"),
        (score(), {"neighbours": 8}, "not enough evidence", "5 independent blocks prove nothing"),
        (empty(), {}, "not enough evidence", "no holdout row is left"),
        (
            score(comparison_error="of another task"),
            {},
            "not enough evidence",
            "of another task; keep the",
        ),
    ],
)
def test_improvement(
    scored: ScoredCandidate, changed: dict[str, Any], result: str, summary: str
) -> None:
    """A proven gain passes and a proven lack of gain fails; anything else is not enough evidence."""
    gate = improvement(scored, **changed)
    assert gate.result == result
    assert pl.Series([gate.summary]).str.contains(summary).all()
    assert (gate.measured is None) == (scored.comparison_error != "" or not len(scored.holdout))


def test_an_overdue_champion_may_be_replaced_by_its_equal() -> None:
    """Against an overdue champion, a candidate that is proven not worse passes; a worse one fails."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    rules = replace(POLICY, champion_days=90)
    assert rules.overdue(now - timedelta(days=91), now) == 91
    assert rules.overdue(now - timedelta(days=90), now) is None
    assert replace(rules, champion_days=0).overdue(now - timedelta(days=9999), now) is None
    equal = score(nudged(0.02), nudged(0.02))
    assert improvement(equal).result == "fail"
    assert improvement(equal, 91).result == "pass"
    assert "champion for 91 days" in improvement(equal, 91).summary
    assert improvement(score(nudged(0.5), CHANCE), 91).result == "fail"


def test_baselines() -> None:
    """Beaten, within the allowed deficit, behind it, for information, and not measurable."""
    assert results(gate_improvement.baselines(score(), POLICY)) == {
        "baseline linear": "pass",
        "baseline boosted": "pass",
    }
    behind = score(nudged(0.3))
    assert results(gate_improvement.baselines(behind, POLICY))["baseline boosted"] == "fail"
    lenient = replace(POLICY, boosted_deficit=0.5)
    assert results(gate_improvement.baselines(behind, lenient))["baseline boosted"] == "pass"
    unnamed = gate_improvement.baselines(behind, replace(POLICY, baselines=("linear",)))
    assert unnamed[1].result == "pass"
    assert "for information" in unnamed[1].summary
    assert set(results(gate_improvement.baselines(few(), POLICY)).values()) == {
        "not enough evidence"
    }
    assert set(results(gate_improvement.baselines(empty(), POLICY)).values()) == {
        "not enough evidence"
    }
    broken = score(np.where(np.arange(N) == 3, np.nan, CHANCE))
    assert set(results(gate_improvement.baselines(broken, POLICY)).values()) == {
        "not enough evidence"
    }


def test_calibration() -> None:
    """True chances pass, chances moved towards a half fail; the interval contains the error."""
    good = calibration.gate(score(), POLICY)
    assert good.result == "pass"
    assert good.measured is not None
    assert good.lower is not None
    assert good.upper is not None
    assert good.lower <= good.measured <= 0.1
    bad = calibration.gate(score(nudged(0.8)), POLICY)
    assert bad.result == "fail"
    assert bad.lower is not None
    assert bad.lower > 0.1
    unsure = replace(POLICY, calibration_limit=0.01)
    assert calibration.gate(score(nudged(0.1)), unsure).result == "not enough evidence"
    assert calibration.gate(few(), POLICY).result == "not enough evidence"
    assert calibration.gate(empty(), POLICY).result == "not enough evidence"
    regression = calibration.gate(score(task="regression"), POLICY)
    assert (regression.result, "does not apply" in regression.summary) == ("pass", True)


def test_calibration_of_classes() -> None:
    """Of several classes, the probability of the predicted class must be calibrated."""
    sure = np.stack([CHANCE, 1 - CHANCE], axis=1)
    truth = 1 - TARGET
    both = scored_rows(sure, sure, truth)
    assert calibration.gate(score(holdout=both, task="multiclass"), POLICY).result == "pass"


def test_a_holdout_with_one_class_is_judged() -> None:
    """Loss, calibration and slices are defined where the event never happened."""
    quiet = score(holdout=scored_rows(CHANCE / 50, nudged(0.5), np.zeros(N)))
    gates = (*slices.declared(quiet, POLICY), calibration.gate(quiet, POLICY))
    assert set(results(gates).values()) == {"pass"}
    assert all(math.isfinite(gate.measured) for gate in gates if gate.measured is not None)


def test_only_the_slice_that_loses_fails() -> None:
    """For one town the candidate is worse than the champion: its gate fails, the others pass."""
    town = (TOWN == "b").to_numpy()
    gates = slices.declared(score(nudged(0.6, town), CHANCE), POLICY)
    assert results(gates) == {
        "slice town=a": "pass",
        "slice town=b": "fail",
        "slice town=c": "pass",
    }
    lost = gates[1]
    assert lost.measured is not None
    assert lost.limit is not None
    assert lost.lower is not None
    assert lost.upper is not None
    assert lost.lower < lost.measured < lost.upper < lost.limit < 0
    assert (lost.rows, lost.blocks) == (N // 3, DAYS)
    tolerant = replace(POLICY, slice_tolerance=0.9)
    assert set(results(slices.declared(score(nudged(0.6, town), CHANCE), tolerant)).values()) == {
        "pass"
    }


def test_small_slices_are_pooled_and_do_not_bind() -> None:
    """Rare values are judged together; where they are still too few, the gate does not bind."""
    towns = pl.Series("town", np.where(np.arange(N) % 100 == 0, "rare", "common"))
    scored = score()
    rows = scored.holdout.rows.with_columns(towns)
    gates = slices.declared(replace(scored, holdout=replace(scored.holdout, rows=rows)), POLICY)
    assert results(gates) == {
        "slice town=common": "pass",
        "slice town=all others": "not enough evidence",
    }
    assert not gates[1].binding
    assert outcome(gates) == "promote"
    pooled = slices.split(pl.Series("x", [str(i % 60) for i in range(N)]), np.arange(N) // EACH, 25)
    assert [each.name for each in pooled] == ["x=all others"]
    assert pooled[0].rows == N


def test_slices_that_do_not_apply_or_cannot_be_measured() -> None:
    """A dataset without slices passes; without a comparison or rows there is not enough evidence."""
    none = slices.declared(score(slices=()), POLICY)
    assert (none[0].result, "does not apply" in none[0].summary) == ("pass", True)
    for scored in (score(comparison_error="of another task"), empty()):
        assert results(slices.declared(scored, POLICY)) == {"slices": "not enough evidence"}
        assert results(slices.searched(scored, POLICY)) == {"found slices": "not enough evidence"}


def test_a_hidden_slice_is_found_on_validation_and_confirmed_on_the_holdout() -> None:
    """Rows of a high level lose: the search names their quarter, which the dataset did not declare."""
    high = (LEVEL > 0.8).to_numpy()
    hidden = score(nudged(0.9, high), CHANCE)
    gates = slices.searched(hidden, POLICY)
    assert gates[0].result == "fail"
    assert gates[0].name.startswith("found slice level=(0.")
    assert gates[0].name.endswith(", inf]")
    by_chance = replace(hidden, holdout=scored_rows(CHANCE, CHANCE))
    assert set(results(slices.searched(by_chance, POLICY)).values()) == {"pass"}
    no_loss = slices.searched(score(CHANCE, nudged(0.3)), POLICY)
    assert (no_loss[0].name, no_loss[0].result) == ("found slices", "pass")
    off = slices.searched(hidden, replace(POLICY, found_slices=0))
    assert (off[0].result, "does not apply" in off[0].summary) == ("pass", True)


def test_cells_cover_every_row_once() -> None:
    """Every row is in one quarter, category or `missing`; the holdout uses the cells of validation."""
    numbers = pl.Series("x", [None, float("nan"), 1.0, 2.0, 3.0, 4.0, 99.0])
    cells = slices.cells_of(numbers, numbers)
    assert (sum(mask.astype(int) for mask in cells.values()) == 1).all()
    assert cells["missing"].tolist() == [True, True, *[False] * 5]
    other = slices.cells_of(pl.Series("x", [-5.0, 1e9, None]), numbers)
    assert list(other) == list(cells)
    assert (sum(mask.astype(int) for mask in other.values()) == 1).all()
    words = pl.Series("w", ["a", None, "b"])
    assert {k: v.tolist() for k, v in slices.cells_of(words, words).items()} == {
        "missing": [False, True, False],
        "a": [True, False, False],
        "b": [False, False, True],
    }
    many = pl.Series("w", [f"{i:03}" for i in range(150)] + ["149"])
    assert list(slices.cells_of(many, many)) == ["missing", *(f"{i:03}" for i in range(99)), "149"]
    empty_column = pl.Series("x", [None, None], dtype=pl.Float64)
    assert list(slices.cells_of(empty_column, empty_column)) == ["missing"]


def test_groups() -> None:
    """A group served far worse than the others fails, with its gap and interval; the others pass."""
    rules = replace(POLICY, groups=("town",))
    town = (TOWN == "c").to_numpy()
    gates = groups.gates(score(nudged(0.95, town)), rules)
    assert results(gates) == {
        "group town=a": "pass",
        "group town=b": "pass",
        "group town=c": "fail",
    }
    worst = gates[2]
    loss = -np.log(np.where(TARGET > 0.5, nudged(0.95, town), 1 - nudged(0.95, town)))
    assert worst.measured == pytest.approx(loss[town].mean() - loss[~town].mean())
    assert worst.lower is not None
    assert worst.upper is not None
    assert worst.lower < worst.measured < worst.upper
    assert set(results(groups.gates(score(), rules)).values()) == {"pass"}
    undeclared = groups.gates(score(), POLICY)
    assert (undeclared[0].result, "declares no groups" in undeclared[0].summary) == ("pass", True)
    unknown = groups.gates(score(), replace(POLICY, groups=("shire",)))
    assert (unknown[0].result, "shire" in unknown[0].summary) == ("not enough evidence", True)
    assert groups.gates(empty(), rules)[0].result == "not enough evidence"
    assert {g.result for g in groups.gates(few(), rules)} == {"not enough evidence"}


def test_the_holdout_is_unseen() -> None:
    """Rows that the champion has trained on are left out and counted; too few left prove nothing."""
    unused = Reuse(decisions=0, candidates=0)
    assert holdout.gates(score(), POLICY, unused)[0].result == "pass"
    some = replace(few(20), seen_rows=600)
    gate = holdout.gates(some, POLICY, unused)[0]
    assert gate.result == "pass"
    assert (
        "has trained on 600 of 1,200 rows; compared on the 600 that neither has seen"
        in gate.summary
    )
    gate = holdout.gates(replace(few(), seen_rows=1050), POLICY, unused)[0]
    assert gate.result == "not enough evidence"
    assert "5 blocks" in gate.summary
    assert holdout.gates(empty(), POLICY, unused)[0].result == "not enough evidence"


def test_the_holdout_decides_only_so_often() -> None:
    """Below the limit the gate states the risk; at the limit the holdout proves nothing more."""
    rules = replace(POLICY, holdout_decisions=5, confidence=0.95)
    fresh = holdout.gates(score(), rules, Reuse(decisions=4, candidates=3))[1]
    assert (fresh.result, fresh.measured, fresh.limit) == ("pass", 4, 5)
    assert "at most 10.0%" in fresh.summary
    used = holdout.gates(score(), rules, Reuse(decisions=5, candidates=3))[1]
    assert used.result == "not enough evidence"
    assert "ingest a newer partition" in used.summary


def test_the_model_itself() -> None:
    """In range, equal to training, and equal in batches, by row and served."""
    assert set(results(model_gates(score(all_predictions=CHANCE))).values()) == {"pass"}
    assert set(results(model_gates(empty())).values()) == {"not enough evidence"}


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.01, 1.01])
def test_a_prediction_out_of_range_fails(wrong: float) -> None:
    """One invalid probability among all rows is counted and fails the gate."""
    predicted = np.where(np.arange(N) == 7, wrong, CHANCE)
    gate = model_gates(score(all_predictions=predicted, expected_predictions=predicted))[0]
    assert (gate.result, gate.measured) == ("fail", 1)
    assert "1,199 of 1,200" in gate.summary


def test_probabilities_of_classes_must_add_up() -> None:
    """Probabilities whose sum is not one are out of range; in a regression any finite value is not."""
    rows = np.stack([CHANCE, 1 - CHANCE], axis=1)
    assert (
        model_gates(score(task="multiclass", all_predictions=rows, expected_predictions=rows))[
            0
        ].result
        == "pass"
    )
    rows = rows * 0.9
    assert (
        model_gates(score(task="multiclass", all_predictions=rows, expected_predictions=rows))[
            0
        ].result
        == "fail"
    )
    wide = CHANCE * 1e6
    assert (
        model_gates(score(task="regression", all_predictions=wide, expected_predictions=wide))[
            0
        ].result
        == "pass"
    )


def test_a_bundle_that_differs_from_training_fails() -> None:
    """A difference of 0.0001 in one row is more than the order of sums can cause."""
    expected = CHANCE + 1e-4 * (np.arange(N) == 5)
    gate = model_gates(score(expected_predictions=expected))[1]
    assert gate.result == "fail"
    assert gate.measured == pytest.approx(1e-4)


def test_predictions_that_depend_on_other_rows_fail() -> None:
    """Predictions that depend on the batch differ when rows are predicted one at a time."""
    batch_dependent = lambda rows: steady(rows) - steady(rows).mean()  # noqa: E731
    gate = model_gates(score(candidate=model(batch_dependent)))[2]
    assert gate.result == "fail"
    assert "row by row 0." in gate.summary


def test_predictions_that_json_changes_fail() -> None:
    """A column whose type changes on the way through JSON changes the served prediction."""
    exact = lambda rows: steady(rows) + (rows["level"].dtype == pl.Float64)  # noqa: E731
    scored = score(candidate=model(exact))
    rows = scored.all_rows.with_columns(pl.col("level").cast(pl.Float32))
    gate = model_gates(replace(scored, all_rows=rows))[2]
    assert gate.result == "fail"
    assert "row by row 0, served 1" in gate.summary


class Clock:
    """Time that passes only while a model predicts."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def takes(self, seconds: float) -> Callable[[pl.DataFrame], np.ndarray]:
        def predict(rows: pl.DataFrame) -> np.ndarray:
            self.now += seconds * rows.height
            return steady(rows)

        return predict


@pytest.mark.parametrize(("slower", "result"), [(1.9, "pass"), (2.1, "fail")])
def test_latency(tmp_path: Path, slower: float, result: str) -> None:
    """A prediction that takes more than twice the champion's time fails, by row and by batch."""
    clock = Clock()
    (tmp_path / MODEL).write_bytes(b"x")
    candidate, champion = (model(clock.takes(seconds), tmp_path) for seconds in (slower, 1.0))
    scored = score(candidate=candidate, champion=champion)
    gates = cost.gates(scored, replace(POLICY, latency_ratio=2.0), clock)
    timed = [gate for gate in gates if gate.name.startswith("latency")]
    assert [gate.result for gate in timed] == [result] * 3
    assert [gate.measured for gate in timed] == pytest.approx([slower] * 3)


def test_latency_without_champion_or_rows(tmp_path: Path) -> None:
    """The latency of a first version is measured; without rows there is not enough evidence."""
    clock = Clock()
    (tmp_path / MODEL).write_bytes(b"x")
    candidate = model(clock.takes(0.5), tmp_path)
    first = score(candidate=candidate, champion=None, rival=LINEAR)
    gates = cost.gates(first, POLICY, clock)
    assert {gate.result for gate in gates} == {"pass"}
    assert gates[0].measured == pytest.approx(0.5)
    assert all("no champion to compare with" in gate.summary for gate in gates)
    without_rows = replace(empty(), candidate=candidate, champion=None)
    unmeasured = cost.gates(without_rows, POLICY)[:3]
    assert [gate.result for gate in unmeasured] == ["not enough evidence"] * 3


@pytest.mark.parametrize(("bytes_", "result"), [(150, "pass"), (250, "fail")])
def test_size(tmp_path: Path, bytes_: int, result: str) -> None:
    """A model file of more than twice the champion's bytes fails."""
    for name, size in (("candidate", bytes_), ("champion", 100)):
        (tmp_path / name).mkdir()
        (tmp_path / name / MODEL).write_bytes(b"x" * size)
    scored = score(
        candidate=model(steady, tmp_path / "candidate"),
        champion=model(steady, tmp_path / "champion"),
    )
    gate = cost.gates(scored, POLICY)[-1]
    assert (gate.name, gate.result) == ("size", result)
    assert gate.measured == pytest.approx(bytes_ / 100)


def test_the_outcome_of_gates() -> None:
    """A failure rejects; a lack of evidence leaves it not proven, unless the gate does not bind."""
    gates = {
        result: Gate(name=result, group="model", result=result, summary="")  # type: ignore[arg-type]
        for result in ("pass", "fail", "not enough evidence")
    }
    unproven = gates["not enough evidence"]
    assert outcome([gates["pass"]]) == "promote"
    assert outcome([gates["pass"], unproven]) == "not proven"
    assert outcome([gates["pass"], unproven, gates["fail"]]) == "reject"
    assert outcome([gates["pass"], replace(unproven, binding=False)]) == "promote"
    assert outcome([gates["pass"], replace(gates["fail"], binding=False)]) == "reject"
