"""The engine is independent of the dataset: three small ones run through both doors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from refit.core import files
from refit.serving import bundle

pytestmark = pytest.mark.slow

METRICS = {
    "pumps": {"roc_auc", "pr_auc", "log_loss", "brier", "ece", "prevalence"},
    "parcels": {"log_loss", "brier", "accuracy", "macro_f1", "macro_roc_auc", "ece"},
    "meters": {"rmse", "mae", "median_absolute_error", "bias", "r2"},
}
CASES = [d if d == "pumps" else pytest.param(d, marks=pytest.mark.heavy) for d in METRICS]


@pytest.mark.parametrize("dataset", CASES)
def test_a_dataset_goes_through_both_doors(
    projects: Callable[[str], Any], dataset: str, tmp_path: Path
) -> None:
    """After `dvc repro`, `refit run` finds every stage cached and the lock as it was."""
    project = projects(dataset).copy(tmp_path / dataset)
    lock = (project.root / "dvc.lock").read_bytes()
    shown = project.call("refit", "run", "--no-server").stdout
    stages = ("validate", "preprocess", "baseline", "train", "evaluate")
    states = dict(reversed(line.split()[:2]) for line in shown.splitlines() if line[0] != " ")
    assert {name: states[name] for name in stages} == dict.fromkeys(stages, "Cached")
    assert "promoted to champion" in shown or "is the champion" in shown
    assert (project.root / "dvc.lock").read_bytes() == lock


@pytest.mark.parametrize("dataset", CASES)
def test_each_task_is_measured_by_its_own_metrics(
    projects: Callable[[str], Any], dataset: str
) -> None:
    """All models have the metrics of the task, and the network is better than the linear baseline."""
    measured = files.read_json(projects(dataset).root / "data/evaluation/metrics.json")
    models = measured["models"]
    assert models.keys() == {"network", "linear", "boosted"}
    assert all(model.keys() == METRICS[dataset] for model in models.values())
    better = {"pumps": "log_loss", "parcels": "log_loss", "meters": "rmse"}[dataset]
    assert models["network"][better]["value"] < models["linear"][better]["value"]


@pytest.mark.parametrize("dataset", CASES)
def test_the_bundle_takes_raw_rows(projects: Callable[[str], Any], dataset: str) -> None:
    """Unknown categories, missing and extreme values get finite predictions of the right shape."""
    root = projects(dataset).root
    model = bundle.load(root / "data/bundle")
    rows = files.read_parquet(root / "data/prepared/holdout.parquet").head(6)
    for entry in model.signature["inputs"]:
        name = entry["name"]
        kind = rows.schema[name]
        odd = ["no such word", None] if entry["type"] == "string" else [10**12, None]
        rows = rows.with_columns(
            pl.Series(name, [*odd, *rows[name].to_list()[2:]], dtype=kind, strict=False)
        )
    predicted = model.predict(rows)
    assert predicted.shape == ((6, 3) if dataset == "parcels" else (6,))
    assert np.isfinite(predicted).all()
    if dataset == "parcels":
        assert predicted.sum(1) == pytest.approx(np.ones(6), abs=1e-5)


@pytest.mark.parametrize("dataset", CASES)
def test_batch_and_single_rows_agree(projects: Callable[[str], Any], dataset: str) -> None:
    """A single row is predicted as in a batch."""
    root = projects(dataset).root
    model = bundle.load(root / "data/bundle")
    rows = files.read_parquet(root / "data/prepared/holdout.parquet").head(5)
    together = model.predict(rows)
    alone = np.concatenate([model.predict(rows[i : i + 1]) for i in range(5)])
    assert alone == pytest.approx(together, rel=1e-5)
