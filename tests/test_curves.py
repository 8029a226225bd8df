"""The tables behind the plots."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import auc, roc_auc_score

from refit.core.errors import ConfigError
from refit.evaluation import time_blocks
from refit.tasks import plot_tables
from refit.tasks.catalog import find
from refit.tasks.statistics import CALIBRATION_BINS

RNG = np.random.default_rng(2)
PROBABILITY = RNG.random(3000)
TARGET = (RNG.random(3000) < PROBABILITY).astype(float)


def test_roc_keeps_its_area_when_thinned() -> None:
    """At most 201 points from (0, 0) to (1, 1), and the area stays within 0.001."""
    table = plot_tables.roc(TARGET, PROBABILITY)
    assert table.height <= plot_tables.POINTS + 1
    assert table.row(0)[:2] == (0.0, 0.0)
    assert table.row(-1)[:2] == (1.0, 1.0)
    area = auc(table["false_positive_rate"], table["true_positive_rate"])
    assert area == pytest.approx(roc_auc_score(TARGET, PROBABILITY), abs=1e-3)


def test_calibration_of_a_true_forecast_is_the_diagonal() -> None:
    """Each of the 15 groups is observed about as often as predicted, and no row is lost."""
    table = plot_tables.calibration(TARGET, PROBABILITY)
    assert table.height == CALIBRATION_BINS
    assert table["rows"].sum() == len(TARGET)
    assert (table["predicted"] - table["observed"]).abs().max() < 0.12


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("binary", {"calibration", "roc", "pr", "confusion"}),
        ("multiclass", {"calibration", "roc", "confusion"}),
        ("regression", {"calibration", "residuals"}),
        ("counts", {"calibration", "residuals"}),
    ],
)
def test_each_task_has_its_plots(task: str, names: set[str]) -> None:
    """Every task gets its own tables, the same each time."""
    target, prediction = TARGET, PROBABILITY
    if task == "multiclass":
        prediction = RNG.dirichlet(np.ones(3), 500)
        target = prediction.argmax(1)
    first, second = (
        find(task).plots(("a", "b", "c"), target, prediction, {"best_f1": 0.4}) for _ in range(2)
    )
    assert first.keys() == second.keys() == names
    assert all(first[name].equals(second[name]) for name in names)


def test_blocks_of_each_kind_of_time() -> None:
    """Days of a datetime, days of a date and tens of an integer become 0, 1, 2 in time's order."""
    hours = pl.Series("t", ["2013-03-02 01:00", "2013-03-01 23:00", "2013-03-02 22:00"])
    when = hours.str.to_datetime("%Y-%m-%d %H:%M", time_zone="UTC")
    assert time_blocks.block_codes(when, "1d").tolist() == [1, 0, 1]
    assert time_blocks.block_codes(when.dt.date(), "1d").tolist() == [1, 0, 1]
    assert time_blocks.block_codes(pl.Series("t", [25, 3, 7, 61]), "10i").tolist() == [1, 0, 0, 2]


@pytest.mark.parametrize(
    ("series", "block"),
    [
        (pl.Series("t", [1, 2]), "1d"),
        (pl.Series("t", ["2013-03-02"]).str.to_date(), "10i"),
        (pl.Series("t", ["2013-03-02"]).str.to_date(), "soon"),
    ],
)
def test_blocks_that_do_not_fit_the_time(series: pl.Series, block: str) -> None:
    """A length of another kind than the time column's is an error of params.yaml."""
    with pytest.raises(ConfigError, match=r"evaluate\.block"):
        time_blocks.block_codes(series, block)
