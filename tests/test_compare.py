"""The paired comparison: symmetric, paired, and not fooled by days that are alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refit.compare import Comparison, paired, verdict

SETTINGS = {"resamples": 300, "confidence": 0.95, "seed": 1}


def test_by_hand() -> None:
    """A challenger that is better by 0.5 on every row is better by 0.5, with no doubt left."""
    blocks = np.arange(40) // 2
    champion = np.linspace(1, 9, 40)
    found = paired(champion - 0.5, champion, blocks, **SETTINGS)
    assert found.difference == found.lower == found.upper == pytest.approx(0.5)
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
    assert there.lower == pytest.approx(-back.upper, abs=1e-12)


def test_the_interval_equals_a_plain_bootstrap_of_block_means() -> None:
    """With blocks of one size the interval is that of scipy's bootstrap of the blocks' means."""
    from scipy import stats

    rng = np.random.default_rng(3)
    difference = np.repeat(rng.normal(0.2, 1, 50), 8) + rng.normal(0, 0.1, 400)
    blocks = np.arange(400) // 8
    found = paired(np.zeros(400), difference, blocks, resamples=5000, confidence=0.95, seed=2)
    expected = stats.bootstrap(
        (difference.reshape(50, 8).mean(1),),
        np.mean,
        n_resamples=5000,
        method="percentile",
        rng=np.random.default_rng(4),
    ).confidence_interval
    assert found.lower == pytest.approx(expected.low, abs=0.02)
    assert found.upper == pytest.approx(expected.high, abs=0.02)


def test_dependent_rows_do_not_fake_a_gain() -> None:
    """Without a true difference, and with days that share their luck, promotions stay rare."""
    rng = np.random.default_rng(11)
    blocks = np.arange(1500) // 25
    by_block, by_row = 0, 0
    for trial in range(200):
        difference = np.repeat(rng.normal(0, 1, 60), 25) + rng.normal(0, 1, 1500)
        settings = {"resamples": 200, "confidence": 0.95, "seed": trial}
        zeros = np.zeros(1500)
        by_block += verdict(paired(zeros, difference, blocks, **settings), 0) == "promote"
        by_row += verdict(paired(zeros, difference, np.arange(1500), **settings), 0) == "promote"
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
        (comparison(0.010, 0.002, 0.018), "promote"),
        (comparison(0.010, -0.001, 0.021), "not proven"),
        (comparison(0.004, 0.001, 0.007), "not proven"),
        (comparison(0.002, 0.001, 0.003), "reject"),
        (comparison(-0.010, -0.018, -0.002), "reject"),
        (comparison(0.010, 0.002, 0.018, blocks=9), "not proven"),
    ],
)
def test_verdicts(found: Comparison, outcome: str) -> None:
    """Promote takes a real and large enough gain, reject a proof that there is none such."""
    assert verdict(found, 0.005) == outcome


def test_rows_must_match() -> None:
    """Losses of different rows are never compared."""
    with pytest.raises(ValueError, match="same rows"):
        paired(np.zeros(3), np.zeros(4), np.zeros(3, int), **SETTINGS)
