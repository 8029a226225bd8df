"""The paired comparison: symmetric, paired by row, and correct for days whose rows are alike."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from refit.evaluation import paired_bootstrap
from refit.evaluation.paired_bootstrap import Comparison, paired
from refit.promotion import multiple_testing, policy
from refit.promotion.gate import better, not_worse

SETTINGS = {"resamples": 300, "confidence": 0.95, "seed": 1}
POLICY = policy.read(Path(__file__).resolve().parent.parent)


def test_by_hand() -> None:
    """A candidate that is better by 0.5 on every row is better by 0.5, without uncertainty."""
    blocks = np.arange(40) // 2
    rival = np.linspace(1, 9, 40)
    compared = paired(rival - 0.5, rival, blocks, **SETTINGS)
    assert (compared.difference, compared.lower, compared.upper) == pytest.approx((0.5, 0.5, 0.5))
    assert (compared.rows, compared.blocks) == (40, 20)
    assert compared.minimum_detectable == pytest.approx(0, abs=1e-12)


@given(st.lists(st.floats(-5, 5), min_size=12, max_size=30))
def test_swapping_the_models_changes_the_sign(differences: list[float]) -> None:
    """Candidate compared with rival mirrors rival compared with candidate."""
    loss = np.array(differences)
    blocks = np.arange(len(loss)) // 2
    forward = paired(loss, np.zeros(len(loss)), blocks, **SETTINGS)
    backward = paired(np.zeros(len(loss)), loss, blocks, **SETTINGS)
    assert forward.difference == pytest.approx(-backward.difference, abs=1e-12)
    assert forward.lower == pytest.approx(-backward.upper, rel=1e-9, abs=1e-12)


def test_the_interval_equals_a_slow_loop() -> None:
    """With days of different sizes, the bounds equal those of resampling the days one by one."""
    rng = np.random.default_rng(3)
    blocks = np.sort(np.concatenate([np.arange(30), rng.integers(0, 30, 300)]))
    difference = rng.normal(0.2, 1, 30)[blocks] + rng.normal(0, 1, len(blocks))

    def mean_and_error(days: np.ndarray) -> tuple[float, float]:
        rows = [difference[blocks == day] for day in days]
        mean = np.concatenate(rows).mean()
        error = np.sqrt(sum((r - mean).sum() ** 2 for r in rows)) / sum(len(r) for r in rows)
        return float(mean), float(error)

    mean, error = mean_and_error(np.arange(30))
    drawn = paired_bootstrap.draw(30, resamples=300, seed=1).counts.astype(int)
    ratios = [
        (other - mean) / its_error
        for other, its_error in (mean_and_error(np.repeat(np.arange(30), c)) for c in drawn)
    ]
    low, high = np.quantile(ratios, [0.025, 0.975])
    compared = paired(np.zeros(len(blocks)), difference, blocks, **SETTINGS)
    expected = (mean - high * error, mean - low * error)
    assert (compared.lower, compared.upper) == pytest.approx(expected, rel=1e-9)


@given(st.permutations(range(40)))
def test_the_order_of_rows_does_not_matter(order: list[int]) -> None:
    """The comparison depends on the rows and their blocks, not on their order."""
    loss, blocks = np.linspace(-1, 2, 40) ** 3, np.arange(40) // 3
    in_order = paired(np.zeros(40), loss, blocks, **SETTINGS)
    mixed = paired(np.zeros(40), loss[order], blocks[order], **SETTINGS)
    assert (mixed.lower, mixed.difference, mixed.upper) == pytest.approx(
        (in_order.lower, in_order.difference, in_order.upper), rel=1e-9
    )


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_too_few_blocks_prove_nothing(blocks: int) -> None:
    """However large the gain, fewer than ten blocks leave it not proven, with finite bounds."""
    rows = np.arange(30) % blocks
    compared = paired(np.zeros(30), 5 + rows.astype(float), rows, **SETTINGS)
    assert np.isfinite([compared.lower, compared.upper]).all()
    assert better(compared, 0) == "not enough evidence"


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
    ("compared", "result"),
    [
        (comparison(0.010, 0.002, 0.018), "pass"),
        (comparison(0.010, -0.001, 0.021), "not enough evidence"),
        (comparison(0.004, 0.001, 0.007), "not enough evidence"),
        (comparison(0.002, 0.001, 0.003), "fail"),
        (comparison(-0.010, -0.018, -0.002), "fail"),
        (comparison(0.010, 0.002, 0.018, blocks=9), "not enough evidence"),
    ],
)
def test_better(compared: Comparison, result: str) -> None:
    """A proven gain of the minimum effect passes; a proof that there is none fails."""
    assert better(compared, 0.005) == result


def test_rows_must_match() -> None:
    """Losses of different rows are never compared."""
    with pytest.raises(ValueError, match="same rows"):
        paired(np.zeros(3), np.zeros(4), np.zeros(3, int), **SETTINGS)


def test_neighbours_are_drawn_together_as_a_slow_loop_does() -> None:
    """Runs of three days in a circle: means and errors equal those of drawing runs one by one."""
    rng = np.random.default_rng(4)
    sums, sizes = rng.normal(0.3, 1, 21), rng.integers(5, 30, 21).astype(float)
    runs = [np.arange(start, start + 3) % 21 for start in range(21)]
    mean = sums.sum() / sizes.sum()

    def error(drawn: list[np.ndarray], centre: float, scale: float) -> float:
        squares = sum((sums[run] - centre * sizes[run]).sum() ** 2 for run in drawn)
        return float(np.sqrt(squares * scale) / (sum(sizes[r].sum() for r in drawn) * scale))

    draws = paired_bootstrap.draw(21, resamples=200, seed=7, neighbours=3)
    means = paired_bootstrap.means(sums[:, None], sizes[:, None], draws)
    assert means.error[0] == pytest.approx(error(runs, mean, 1 / 3))
    for resample in range(200):
        drawn = [
            run for run, n in zip(runs, draws.counts[resample], strict=True) for _ in range(int(n))
        ]
        assert len(drawn) == 7
        resampled = sum(sums[r].sum() for r in drawn) / sum(sizes[r].sum() for r in drawn)
        assert means.means[resample, 0] == pytest.approx(resampled)
        assert means.errors[resample, 0] == pytest.approx(error(drawn, resampled, 1))


def test_against_scipy() -> None:
    """With days of one row, the bounds are close to those of SciPy's bias-corrected bootstrap."""
    rows = np.random.default_rng(2).normal(0.1, 1, 80)
    settings = {"resamples": 20_000, "confidence": 0.9, "seed": 3}
    compared = paired(np.zeros(80), rows, np.arange(80), **settings)
    expected = stats.bootstrap(
        (rows,), np.mean, confidence_level=0.9, n_resamples=20_000, rng=np.random.default_rng(3)
    )
    student = stats.ttest_1samp(rows, 0).confidence_interval(0.9)
    width = student.high - student.low
    assert compared.lower == pytest.approx(expected.confidence_interval.low, abs=0.05 * width)
    assert compared.upper == pytest.approx(expected.confidence_interval.high, abs=0.05 * width)
    assert (compared.lower, compared.upper) == pytest.approx(tuple(student), abs=0.03 * width)


def test_the_noise_of_seeds_widens_the_interval_in_quadrature() -> None:
    """Where the resamples do not differ, the interval is the normal one of the seeds."""
    blocks = np.arange(40) // 2
    compared = paired(np.zeros(40), np.full(40, 0.5), blocks, noise=0.1, **SETTINGS)
    assert (compared.lower, compared.upper) == pytest.approx((0.5 - 0.196, 0.5 + 0.196), abs=1e-4)
    assert compared.minimum_detectable == pytest.approx(0.196 + 0.0842, abs=1e-4)


TRIALS = 1000


def promoted(difference: np.ndarray, days: np.ndarray, **settings: float) -> float:
    """The share of trials that are promoted; each row of `difference` is a trial."""
    passed = [
        better(
            paired(
                np.zeros(len(days)), row, days, resamples=200, confidence=0.95, seed=i, **settings
            ),
            0,
        )
        == "pass"
        for i, row in enumerate(difference)
    ]
    return float(np.mean(passed))


LEVEL = 0.025
ALLOWED = LEVEL + 3 * (LEVEL * (1 - LEVEL) / TRIALS) ** 0.5
"""Three standard errors of a share over 1,000 trials above the stated level."""


def test_days_with_common_noise_do_not_fake_a_gain() -> None:
    """Without a true difference, at most the stated 2.5 % of 1,000 trials are promoted."""
    rng = np.random.default_rng(11)
    days = np.arange(300) // 5
    noise = rng.normal(0, 1, (TRIALS, 60))[:, days] + rng.normal(0, 1, (TRIALS, 300))
    assert promoted(noise, days) <= ALLOWED
    assert promoted(noise[:200], np.arange(300)) > 0.1


def test_a_few_bad_days_do_not_fake_a_gain() -> None:
    """With 20 days, of which a few bad ones cancel the good ones, promotions stay near the level."""
    difference = 1 - np.random.default_rng(5).exponential(size=(TRIALS, 20))
    assert promoted(difference, np.arange(20)) <= 0.06


def test_neighbours_keep_the_level_where_days_depend_on_each_other() -> None:
    """Where days depend on earlier days, eight together stay near the level; single days do not."""
    rng = np.random.default_rng(13)
    shocks, spell = rng.normal(0, 1, (TRIALS, 200)), np.zeros((TRIALS, 200))
    spell[:, 0] = shocks[:, 0] / (1 - 0.5**2) ** 0.5
    for day in range(1, 200):
        spell[:, day] = 0.5 * spell[:, day - 1] + shocks[:, day]
    single = promoted(spell, np.arange(200))
    together = promoted(spell, np.arange(200), neighbours=8)
    assert single > 0.08
    assert together <= 0.05


def test_the_power_is_as_stated() -> None:
    """A true gain of the stated minimum detectable effect is promoted about four times in five."""
    rng = np.random.default_rng(17)
    days = np.arange(300) // 5
    noise = rng.normal(0, 1, (TRIALS, 60))[:, days] + rng.normal(0, 1, (TRIALS, 300))
    stated = np.mean(
        [paired(np.zeros(300), row, days, **SETTINGS).minimum_detectable for row in noise[:100]]
    )
    assert promoted(noise + stated, days) == pytest.approx(0.8, abs=0.05)


def test_seeds_do_not_fake_a_gain() -> None:
    """Retrains whose seed moves the loss of every day alike keep the level once its noise counts."""
    rng = np.random.default_rng(19)
    seeds = rng.normal(0, 0.3, (TRIALS, 1)) - rng.normal(0, 0.3, (TRIALS, 1))
    noise = seeds + rng.normal(0, 1, (TRIALS, 60))
    assert promoted(noise, np.arange(60)) > 0.1
    assert promoted(noise, np.arange(60), noise=0.3 * 2**0.5) <= ALLOWED


@pytest.mark.parametrize(
    ("lower", "upper", "result"),
    [(-0.01, 0.01, "pass"), (-0.03, 0.01, "not enough evidence"), (-0.05, -0.03, "fail")],
)
def test_not_worse(lower: float, upper: float, result: str) -> None:
    """Not worse by more than 0.02: proven, open, or refuted."""
    assert not_worse(comparison((lower + upper) / 2, lower, upper), 0.02) == result
    assert not_worse(comparison(0.0, lower, upper, blocks=9), 0.02) == "not enough evidence"


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p-values, by their definition."""
    order = np.argsort(p)
    factors = len(p) - np.arange(len(p))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return adjusted


@given(st.integers(0, 1000), st.integers(1, 6))
def test_no_adjusted_p_is_above_holms(seed: int, count: int) -> None:
    """The stepdown uses the dependence, so it is at least as powerful as Holm's method."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(0, 1, (100, count)) + rng.normal(0, 1, (100, 1))
    # Every column holds the same values, so that Bonferroni's inequality is exact.
    pivots = np.vstack([np.roll(drawn, shift, axis=1) for shift in range(count)])
    statistics = rng.normal(1, 2, count)
    single = (1 + (pivots >= statistics).sum(axis=0)) / (1 + len(pivots))
    adjusted = multiple_testing.adjusted(statistics, pivots)
    assert (adjusted <= holm(single) + 1e-12).all()
    assert (adjusted >= single - 1e-12).all()


def test_of_many_equal_slices_none_is_called_worse() -> None:
    """With 20 slices and no true loss, about 2.5 % of 400 trials have a failing slice, not 40 %."""
    rng = np.random.default_rng(23)
    few = replace(POLICY, resamples=400)
    together = alone = 0
    for _ in range(400):
        sums, sizes = rng.normal(0, 1, (60, 20)), np.ones((60, 20))
        tests = multiple_testing.test(sums, sizes, np.zeros(20), few)
        together += bool((tests.p < few.alpha).any())
        alone += bool((tests.lower > 0).any())
    assert together / 400 <= 0.05
    assert alone / 400 > 0.2
