"""Every gate: passing, failing and without evidence; and days on which little can be judged."""

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

from refit.promotion import policy, seen
from refit.promotion.gate import Gate, outcome
from refit.promotion.gates import calibration, cost, groups, holdout, slices
from refit.promotion.gates import improvement as gate_improvement
from refit.promotion.gates.holdout import Reuse
from refit.promotion.gates.model import gates as model_gates
from refit.promotion.scoring import LINEAR, Part, Scored
from refit.serving.digest import MODEL

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
    """The true chances, drawn towards one half by a share."""
    inside = np.ones(N, bool) if where is None else where
    return np.where(inside, CHANCE + by * (0.5 - CHANCE), CHANCE)


def part(own: np.ndarray, rival: np.ndarray | None) -> Part:
    return Part(
        rows=pl.DataFrame({"town": TOWN, "level": LEVEL, "partition": ["new"] * N}),
        target=TARGET,
        blocks=np.arange(N) // EACH,
        own=own,
        rival=rival,
    )


def model(predict: Callable[[pl.DataFrame], np.ndarray], folder: Path = ROOT) -> Any:
    inputs = [{"name": "level", "type": "number"}, {"name": "town", "type": "string"}]
    return SimpleNamespace(predict=predict, signature={"inputs": inputs}, folder=folder)


def steady(rows: pl.DataFrame) -> np.ndarray:
    """A model that looks at its row alone."""
    return rows["level"].fill_null(0).to_numpy().astype(np.float32) / 10


def case(own: np.ndarray = CHANCE, rival: np.ndarray | None = None, **changed: Any) -> Scored:
    both = part(own, nudged(0.5) if rival is None else rival)
    given: dict[str, Any] = {
        "task": "binary",
        "holdout": both,
        "frame": pl.DataFrame(),
        "validation": both,
        "baselines": {"linear": nudged(0.6), "boosted": nudged(0.05)},
        "rival": "version 3",
        "champion": model(steady),
        "candidate": model(steady),
        "whole": both.rows,
        "predicted": own,
        "expected": own,
        "seen": 0,
        "slices": ("town",),
        "fault": "",
    }
    return Scored(**{**given, **changed})


def empty() -> Scored:
    found = case()
    return replace(
        found,
        holdout=found.holdout.only(np.zeros(N, bool)),
        whole=found.whole.head(0),
        predicted=CHANCE[:0],
        expected=CHANCE[:0],
        baselines={name: p[:0] for name, p in found.baselines.items()},
    )


def few(days: int = 5) -> Scored:
    found = case()
    kept = found.holdout.blocks < days
    return replace(
        found,
        holdout=found.holdout.only(kept),
        baselines={name: p[kept] for name, p in found.baselines.items()},
    )


def results(gates: tuple[Gate, ...]) -> dict[str, str]:
    assert len({gate.name for gate in gates}) == len(gates)
    return {gate.name: gate.result for gate in gates}


def improvement(found: Scored, outlived: int | None = None, **changed: Any) -> Gate:
    law = replace(POLICY, **changed)
    return gate_improvement.improvement(
        gate_improvement.comparison(found, law), found, law, outlived
    )


@pytest.mark.parametrize(
    ("found", "changed", "result", "said"),
    [
        (case(), {}, "pass", r"log_loss better by 0\.\d+ than version 3"),
        (case(nudged(0.5), CHANCE), {}, "fail", "worse by"),
        (case(), {"minimum_effect": 0.5}, "fail", "better by"),
        (case(nudged(0.02), nudged(0.03)), {"seed_deviation": 0.05}, "not enough evidence", ""),
        (few(), {}, "not enough evidence", "5 independent blocks prove nothing"),
        (case(), {"neighbours": 8}, "not enough evidence", "5 independent blocks prove nothing"),
        (empty(), {}, "not enough evidence", "no holdout row is left"),
        (case(fault="of another task"), {}, "not enough evidence", "of another task; keep the"),
    ],
)
def test_improvement(found: Scored, changed: dict[str, Any], result: str, said: str) -> None:
    """A proven gain passes, a proven lack of one fails; the rest, and what cannot be measured, not."""
    gate = improvement(found, **changed)
    assert gate.result == result
    assert pl.Series([gate.said]).str.contains(said).all()
    assert (gate.measured is None) == (found.fault != "" or not len(found.holdout.target))


def test_an_old_champion_gives_way_to_its_equal() -> None:
    """After its time, a candidate that is proven not worse follows the champion; a worse one not."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    law = replace(POLICY, champion_days=90)
    assert law.outlived(now - timedelta(days=91), now) == 91
    assert law.outlived(now - timedelta(days=90), now) is None
    assert law.outlived(None, now) is None
    assert replace(law, champion_days=0).outlived(now - timedelta(days=9999), now) is None
    equal = case(nudged(0.02), nudged(0.02))
    assert improvement(equal).result == "fail"
    assert improvement(equal, 91).result == "pass"
    assert "reigned for 91 days" in improvement(equal, 91).said
    assert improvement(case(nudged(0.5), CHANCE), 91).result == "fail"


def test_baselines() -> None:
    """Beaten, within the allowed deficit, behind it, not asked for, and not measurable."""
    assert results(gate_improvement.baselines(case(), POLICY)) == {
        "baseline linear": "pass",
        "baseline boosted": "pass",
    }
    behind = case(nudged(0.3))
    assert results(gate_improvement.baselines(behind, POLICY))["baseline boosted"] == "fail"
    lenient = replace(POLICY, boosted_deficit=0.5)
    assert results(gate_improvement.baselines(behind, lenient))["baseline boosted"] == "pass"
    unnamed = gate_improvement.baselines(behind, replace(POLICY, baselines=("linear",)))
    assert unnamed[1].result == "pass"
    assert "for information" in unnamed[1].said
    assert set(results(gate_improvement.baselines(few(), POLICY)).values()) == {
        "not enough evidence"
    }
    assert set(results(gate_improvement.baselines(empty(), POLICY)).values()) == {
        "not enough evidence"
    }
    broken = case(np.where(np.arange(N) == 3, np.nan, CHANCE))
    assert set(results(gate_improvement.baselines(broken, POLICY)).values()) == {
        "not enough evidence"
    }


def test_calibration() -> None:
    """Honest chances pass; chances squeezed towards a half fail; the interval is around the error."""
    good = calibration.gate(case(), POLICY)
    assert good.result == "pass"
    assert good.measured is not None
    assert good.lower is not None
    assert good.upper is not None
    assert good.lower <= good.measured <= 0.1
    bad = calibration.gate(case(nudged(0.8)), POLICY)
    assert bad.result == "fail"
    assert bad.lower is not None
    assert bad.lower > 0.1
    unsure = replace(POLICY, calibration_limit=0.01)
    assert calibration.gate(case(nudged(0.1)), unsure).result == "not enough evidence"
    assert calibration.gate(few(), POLICY).result == "not enough evidence"
    assert calibration.gate(empty(), POLICY).result == "not enough evidence"
    regression = calibration.gate(case(task="regression"), POLICY)
    assert (regression.result, "does not apply" in regression.said) == ("pass", True)


def test_calibration_of_classes() -> None:
    """Of several classes, the chosen one's probability is what must be right."""
    sure = np.stack([CHANCE, 1 - CHANCE], axis=1)
    truth = 1 - TARGET
    found = case()
    both = replace(found.holdout, own=sure, target=truth)
    assert (
        calibration.gate(replace(found, holdout=both, task="multiclass"), POLICY).result == "pass"
    )


def test_one_class_alone_is_judged_all_the_same() -> None:
    """A holdout, or a slice of it, where nothing happened has a loss, a calibration, and gates."""
    found = case()
    quiet = replace(found, holdout=replace(found.holdout, target=np.zeros(N), own=CHANCE / 50))
    gates = (*slices.declared(quiet, POLICY), calibration.gate(quiet, POLICY))
    assert set(results(gates).values()) == {"pass"}
    assert all(math.isfinite(gate.measured) for gate in gates if gate.measured is not None)


def test_a_slice_that_loses_fails_alone() -> None:
    """One town is served worse than by the champion: its gate fails, the others pass."""
    town = (TOWN == "b").to_numpy()
    found = slices.declared(case(nudged(0.6, town), CHANCE), POLICY)
    assert results(found) == {
        "slice town=a": "pass",
        "slice town=b": "fail",
        "slice town=c": "pass",
    }
    lost = found[1]
    assert lost.measured is not None
    assert lost.limit is not None
    assert lost.lower is not None
    assert lost.upper is not None
    assert lost.lower < lost.measured < lost.upper < lost.limit < 0
    assert (lost.rows, lost.blocks) == (N // 3, DAYS)
    tolerant = replace(POLICY, slice_tolerance=0.9)
    assert set(results(slices.declared(case(nudged(0.6, town), CHANCE), tolerant)).values()) == {
        "pass"
    }


def test_small_slices_are_pooled_and_hold_nobody_up() -> None:
    """Rare values are judged together, and where even that is too little, it is said."""
    towns = pl.Series("town", np.where(np.arange(N) % 100 == 0, "rare", "common"))
    found = case()
    rows = found.holdout.rows.with_columns(towns)
    gates = slices.declared(replace(found, holdout=replace(found.holdout, rows=rows)), POLICY)
    assert results(gates) == {
        "slice town=common": "pass",
        "slice town=all others": "not enough evidence",
    }
    assert not gates[1].binding
    assert outcome(gates) == "promote"
    law = replace(POLICY, smallest_slice=10)
    pooled = slices.split(pl.Series("x", [str(i % 60) for i in range(N)]), np.arange(N) // EACH, 25)
    assert [each.name for each in pooled] == ["x=all others"]
    assert pooled[0].rows == N
    assert law.smallest_slice == 10


def test_slices_say_when_they_do_not_apply_or_cannot_be_measured() -> None:
    """No slices declared passes with a word; no comparison or no rows is no evidence."""
    none = slices.declared(case(slices=()), POLICY)
    assert (none[0].result, "does not apply" in none[0].said) == ("pass", True)
    for found in (case(fault="of another task"), empty()):
        assert results(slices.declared(found, POLICY)) == {"slices": "not enough evidence"}
        assert results(slices.found(found, POLICY)) == {"found slices": "not enough evidence"}


def test_a_hidden_slice_is_found_on_validation_and_confirmed_on_the_holdout() -> None:
    """Rows of a high level lose: the quarter is named without anybody having declared it."""
    high = (LEVEL > 0.8).to_numpy()
    hidden = case(nudged(0.9, high), CHANCE)
    found = slices.found(hidden, POLICY)
    assert found[0].result == "fail"
    assert found[0].name.startswith("found slice level=(0.")
    assert found[0].name.endswith(", inf]")
    by_chance = replace(hidden, holdout=part(CHANCE, CHANCE))
    assert set(results(slices.found(by_chance, POLICY)).values()) == {"pass"}
    unhurt = slices.found(case(CHANCE, nudged(0.3)), POLICY)
    assert (unhurt[0].name, unhurt[0].result) == ("found slices", "pass")
    off = slices.found(hidden, replace(POLICY, found_slices=0))
    assert (off[0].result, "searches for none" in off[0].said) == ("pass", True)


def test_cells_cover_every_row_once() -> None:
    """Quarters, categories and what is missing part the rows; holdout rows are cut as validation's."""
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
    """A group served far worse than the others fails, with gap and interval; else all pass."""
    law = replace(POLICY, groups=("town",))
    town = (TOWN == "c").to_numpy()
    gates = groups.gates(case(nudged(0.95, town)), law)
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
    assert set(results(groups.gates(case(), law)).values()) == {"pass"}
    undeclared = groups.gates(case(), POLICY)
    assert (undeclared[0].result, "declares no groups" in undeclared[0].said) == ("pass", True)
    unknown = groups.gates(case(), replace(POLICY, groups=("shire",)))
    assert (unknown[0].result, "shire" in unknown[0].said) == ("not enough evidence", True)
    assert groups.gates(empty(), law)[0].result == "not enough evidence"
    assert {g.result for g in groups.gates(few(), law)} == {"not enough evidence"}


def test_the_holdout_is_unseen() -> None:
    """Rows that the champion has trained on are left out and said; too few left prove nothing."""
    nobody = Reuse(decisions=0, candidates=0)
    assert holdout.gates(case(), POLICY, nobody)[0].result == "pass"
    some = replace(few(20), seen=600)
    gate = holdout.gates(some, POLICY, nobody)[0]
    assert gate.result == "pass"
    assert (
        "has trained on 600 of 1,200 rows; compared on the 600 that neither has seen" in gate.said
    )
    for found, said in ((replace(few(), seen=1050), "5 blocks"), (case(seen=None), "does not say")):
        gate = holdout.gates(found, POLICY, nobody)[0]
        assert gate.result == "not enough evidence"
        assert said in gate.said
    assert holdout.gates(empty(), POLICY, nobody)[0].result == "not enough evidence"


def test_the_holdout_is_not_asked_too_often() -> None:
    """Within the budget it counts and states the risk; beyond, it no longer proves anything."""
    law = replace(POLICY, holdout_decisions=5, confidence=0.95)
    fresh = holdout.gates(case(), law, Reuse(decisions=4, candidates=3))[1]
    assert (fresh.result, fresh.measured, fresh.limit) == ("pass", 4, 5)
    assert "at most 10.0%" in fresh.said
    used = holdout.gates(case(), law, Reuse(decisions=5, candidates=3))[1]
    assert used.result == "not enough evidence"
    assert "bring a newer partition" in used.said


@pytest.mark.parametrize(
    ("lineage", "known"),
    [
        (
            {"partitions": {"train": ["1", "2"], "validation": ["3"], "holdout": ["4"]}},
            {"1", "2", "3"},
        ),
        (
            {
                "data": {
                    "t/1.parquet": "",
                    "t/2.parquet": "",
                    "t/3.parquet": "",
                    "u/reference.parquet": "",
                },
                "params": {
                    "preprocess": {
                        "holdout_partitions": 1,
                        "validation_partitions": 1,
                        "train_partitions": 0,
                    }
                },
            },
            {"1", "2"},
        ),
        (
            {
                "data": {f"t/{i}.parquet": "" for i in range(6)},
                "params": {
                    "preprocess": {
                        "holdout_partitions": 2,
                        "validation_partitions": 1,
                        "train_partitions": 1,
                    }
                },
            },
            {"2", "3"},
        ),
        ({}, None),
    ],
    ids=["named", "derived", "window", "unknown"],
)
def test_what_a_version_has_learnt_from(lineage: dict[str, Any], known: set[str] | None) -> None:
    """Training and validation partitions, from the lineage, also from one of an older version."""
    assert seen.trained_on(lineage) == known


def test_the_model_itself() -> None:
    """In range, as trained, and the same however it is asked."""
    assert set(results(model_gates(case(predicted=CHANCE))).values()) == {"pass"}
    assert set(results(model_gates(empty())).values()) == {"not enough evidence"}


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.01, 1.01])
def test_a_prediction_out_of_range_fails(wrong: float) -> None:
    """One bad probability among all rows is counted and fails the gate."""
    predicted = np.where(np.arange(N) == 7, wrong, CHANCE)
    gate = model_gates(case(predicted=predicted, expected=predicted))[0]
    assert (gate.result, gate.measured) == ("fail", 1)
    assert "1,199 of 1,200" in gate.said


def test_probabilities_of_classes_must_add_up() -> None:
    """A row of probabilities whose sum is not one is out of range; any finite value is a regression's."""
    rows = np.stack([CHANCE, 1 - CHANCE], axis=1)
    assert model_gates(case(task="multiclass", predicted=rows, expected=rows))[0].result == "pass"
    rows = rows * 0.9
    assert model_gates(case(task="multiclass", predicted=rows, expected=rows))[0].result == "fail"
    wide = CHANCE * 1e6
    assert model_gates(case(task="regression", predicted=wide, expected=wide))[0].result == "pass"


def test_a_bundle_that_differs_from_training_fails() -> None:
    """A difference of 0.0001 in one row is more than the order of sums explains."""
    expected = CHANCE + 1e-4 * (np.arange(N) == 5)
    gate = model_gates(case(expected=expected))[1]
    assert gate.result == "fail"
    assert gate.measured == pytest.approx(1e-4)


def test_a_model_that_looks_at_other_rows_is_found_out() -> None:
    """Predictions that depend on the batch differ when rows are asked one at a time."""
    peeking = lambda rows: steady(rows) - steady(rows).mean()  # noqa: E731
    gate = model_gates(case(candidate=model(peeking)))[2]
    assert gate.result == "fail"
    assert "row by row 0." in gate.said


def test_a_model_that_json_changes_is_found_out() -> None:
    """A column that arrives as another type than it was trained with changes the served answer."""
    exact = lambda rows: steady(rows) + (rows["level"].dtype == pl.Float64)  # noqa: E731
    found = case(candidate=model(exact))
    rows = found.whole.with_columns(pl.col("level").cast(pl.Float32))
    gate = model_gates(replace(found, whole=rows))[2]
    assert gate.result == "fail"
    assert "row by row 0, served 1" in gate.said


class Clock:
    """Time that passes only while a model answers."""

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
    """An answer that takes more than twice the champion's time fails, by row and by batch."""
    clock = Clock()
    (tmp_path / MODEL).write_bytes(b"x")
    own, other = (model(clock.takes(seconds), tmp_path) for seconds in (slower, 1.0))
    found = case(candidate=own, champion=other)
    gates = cost.gates(found, replace(POLICY, latency_ratio=2.0), clock)
    timed = [gate for gate in gates if gate.name.startswith("latency")]
    assert [gate.result for gate in timed] == [result] * 3
    assert [gate.measured for gate in timed] == pytest.approx([slower] * 3)


def test_latency_without_champion_or_rows(tmp_path: Path) -> None:
    """The first version's is measured and said; without a row, or a comparison, there is no evidence."""
    clock = Clock()
    (tmp_path / MODEL).write_bytes(b"x")
    own = model(clock.takes(0.5), tmp_path)
    first = case(candidate=own, champion=None, rival=LINEAR)
    gates = cost.gates(first, POLICY, clock)
    assert {gate.result for gate in gates} == {"pass"}
    assert gates[0].measured == pytest.approx(0.5)
    assert all("no champion to compare with" in gate.said for gate in gates)
    assert [g.result for g in cost.gates(replace(empty(), candidate=own, champion=None), POLICY)][
        :3
    ] == ["not enough evidence"] * 3


@pytest.mark.parametrize(("own", "result"), [(150, "pass"), (250, "fail")])
def test_size(tmp_path: Path, own: int, result: str) -> None:
    """A model file of more than twice the champion's bytes fails."""
    for name, size in (("own", own), ("champion", 100)):
        (tmp_path / name).mkdir()
        (tmp_path / name / MODEL).write_bytes(b"x" * size)
    found = case(
        candidate=model(steady, tmp_path / "own"), champion=model(steady, tmp_path / "champion")
    )
    gate = cost.gates(found, POLICY)[-1]
    assert (gate.name, gate.result) == ("size", result)
    assert gate.measured == pytest.approx(own / 100)


def test_the_outcome_of_gates() -> None:
    """One failure rejects, one lack of evidence leaves it not proven, unless it does not bind."""
    gates = {
        result: Gate(name=result, group="model", result=result, said="")  # type: ignore[arg-type]
        for result in ("pass", "fail", "not enough evidence")
    }
    waiting = gates["not enough evidence"]
    assert outcome([gates["pass"]]) == "promote"
    assert outcome([gates["pass"], waiting]) == "not proven"
    assert outcome([gates["pass"], waiting, gates["fail"]]) == "reject"
    assert outcome([gates["pass"], replace(waiting, binding=False)]) == "promote"
    assert outcome([gates["pass"], replace(gates["fail"], binding=False)]) == "reject"
