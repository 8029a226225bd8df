"""The paired comparison: symmetric, paired, and not fooled by days that are alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refit.judging.compare import Comparison, paired, verdict
from refit.metrics import draws

SETTINGS = {"resamples": 300, "confidence": 0.95, "seed": 1}


def test_by_hand() -> None:
    """A challenger that is better by 0.5 on every row is better by 0.5, with no doubt left."""
    blocks = np.arange(40) // 2
    champion = np.linspace(1, 9, 40)
    found = paired(champion - 0.5, champion, blocks, **SETTINGS)
    assert (found.difference, found.lower, found.upper) == pytest.approx((0.5, 0.5, 0.5))
    assert (found.rows, found.blocks) == (40, 20)
    assert found.minimum_detectable == pytest.approx(0, abs=1e-12)


@given(st.lists(st.floats(-5, 5), min_size=12, max_size=30))
def test_swapping_sides_turns_the_sign(differences: list[float]) -> None:
    """Challenger against champion is the mirror of champion against challenger."""
    loss = np.array(differences)
    blocks = np.arange(len(loss)) // 2
    there = paired(loss, np.zeros(len(loss)), blocks, **SETTINGS)
    back = paired(np.zeros(len(loss)), loss, blocks, **SETTINGS)
    assert there.difference == pytest.approx(-back.difference, abs=1e-12)
    assert there.lower == pytest.approx(-back.upper, rel=1e-9, abs=1e-12)


def test_the_interval_equals_a_slow_loop() -> None:
    """With days of different sizes, the bounds are those of resampling the days one by one."""
    rng = np.random.default_rng(3)
    blocks = np.sort(np.concatenate([np.arange(30), rng.integers(0, 30, 300)]))
    difference = rng.normal(0.2, 1, 30)[blocks] + rng.normal(0, 1, len(blocks))

    def mean_and_error(days: np.ndarray) -> tuple[float, float]:
        rows = [difference[blocks == day] for day in days]
        mean = np.concatenate(rows).mean()
        error = np.sqrt(sum((r - mean).sum() ** 2 for r in rows)) / sum(len(r) for r in rows)
        return float(mean), float(error)

    mean, error = mean_and_error(np.arange(30))
    ratios = [
        (other - mean) / its_error
        for other, its_error in (
            mean_and_error(np.repeat(np.arange(30), counts)) for counts in draws(30, 300, seed=1)
        )
    ]
    low, high = np.quantile(ratios, [0.025, 0.975])
    found = paired(np.zeros(len(blocks)), difference, blocks, **SETTINGS)
    expected = (mean - high * error, mean - low * error)
    assert (found.lower, found.upper) == pytest.approx(expected, rel=1e-9)


@given(st.permutations(range(40)))
def test_the_order_of_rows_does_not_matter(order: list[int]) -> None:
    """The comparison is of the rows and their blocks, not of the order they come in."""
    loss, blocks = np.linspace(-1, 2, 40) ** 3, np.arange(40) // 3
    plain = paired(np.zeros(40), loss, blocks, **SETTINGS)
    mixed = paired(np.zeros(40), loss[order], blocks[order], **SETTINGS)
    assert (mixed.lower, mixed.difference, mixed.upper) == pytest.approx(
        (plain.lower, plain.difference, plain.upper), rel=1e-9
    )


def test_a_few_bad_days_do_not_fake_a_gain() -> None:
    """With 20 days of which rare bad ones cancel the good ones, promotions stay near 1 in 40."""
    rng = np.random.default_rng(5)
    promoted = 0
    for trial in range(400):
        difference = 1 - rng.exponential(size=20)
        settings = {"resamples": 300, "confidence": 0.95, "seed": trial}
        found = paired(np.zeros(20), difference, np.arange(20), **settings)
        promoted += verdict(found, 0) == "pass"
    assert promoted / 400 <= 0.06


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_too_few_blocks_prove_nothing(blocks: int) -> None:
    """However large the gain, fewer than ten blocks leave it not proven, with finite bounds."""
    rows = np.arange(30) % blocks
    found = paired(np.zeros(30), 5 + rows.astype(float), rows, **SETTINGS)
    assert np.isfinite([found.lower, found.upper]).all()
    assert verdict(found, 0) == "not enough evidence"


def test_dependent_rows_do_not_fake_a_gain() -> None:
    """Without a true difference, and with days that share their luck, promotions stay rare."""
    rng = np.random.default_rng(11)
    blocks = np.arange(1500) // 25
    by_block, by_row = 0, 0
    for trial in range(200):
        difference = np.repeat(rng.normal(0, 1, 60), 25) + rng.normal(0, 1, 1500)
        settings = {"resamples": 200, "confidence": 0.95, "seed": trial}
        zeros = np.zeros(1500)
        by_block += verdict(paired(zeros, difference, blocks, **settings), 0) == "pass"
        by_row += verdict(paired(zeros, difference, np.arange(1500), **settings), 0) == "pass"
    assert by_block / 200 <= 0.06
    assert by_row / 200 > 0.2


def comparison(difference: float, lower: float, upper: float, blocks: int = 60) -> Comparison:
    return Comparison(
        difference=difference,
        lower=lower,
        upper=upper,
        rows=1000,
        blocks=blocks,
        minimum_detectable=0.01,
    )


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (comparison(0.010, 0.002, 0.018), "pass"),
        (comparison(0.010, -0.001, 0.021), "not enough evidence"),
        (comparison(0.004, 0.001, 0.007), "not enough evidence"),
        (comparison(0.002, 0.001, 0.003), "fail"),
        (comparison(-0.010, -0.018, -0.002), "fail"),
        (comparison(0.010, 0.002, 0.018, blocks=9), "not enough evidence"),
    ],
)
def test_verdicts(found: Comparison, outcome: str) -> None:
    """Promote takes a real and large enough gain, reject a proof that there is none such."""
    assert verdict(found, 0.005) == outcome


def test_rows_must_match() -> None:
    """Losses of different rows are never compared."""
    with pytest.raises(ValueError, match="same rows"):
        paired(np.zeros(3), np.zeros(4), np.zeros(3, int), **SETTINGS)
