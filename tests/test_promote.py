"""What promotion refuses to compare: other rows, another task, predictions that are no numbers."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from refit.core import files, paths
from refit.core.errors import PipelineError
from refit.promotion import decide, scoring
from refit.promotion.policy import PromoteParams
from refit.registry.registry import Registry
from refit.serving.digest import identity

SIGNATURE = Path("data/bundle/signature.json")


@pytest.fixture
def decided(
    projects: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of a project whose pipeline has run; the champion has the same network."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    copy: Path = projects("pumps").copy(tmp_path / "copy").root
    decide.decide(copy)
    files.write_json(copy / SIGNATURE, files.read_json(copy / SIGNATURE) | {"note": "challenger"})
    return copy


@pytest.mark.slow
def test_an_evaluation_of_other_rows_is_refused(decided: Path) -> None:
    """Holdout rows and stored predictions must be the same rows in the same order."""
    path = decided / paths.HOLDOUT
    files.write_parquet(files.read_parquet(path).reverse(), path)
    with pytest.raises(PipelineError, match="the evaluation is not of these holdout rows"):
        decide.decide(decided)
    assert Registry.open(decided).versions.find(identity(decided / "data/bundle")) is None


@pytest.mark.slow
def test_other_predictions_of_the_same_model_are_decided_anew(decided: Path) -> None:
    """Blocks and baselines are part of what a decision depends on."""
    first = decide.decide(decided)
    path = decided / paths.PREDICTIONS
    wide = files.read_parquet(path).with_columns(pl.col("block") // 2)
    files.write_parquet(wide, path)
    second = decide.decide(decided)
    assert not second.cached
    assert second.version == first.version
    assert second.evidence["blocks"] < first.evidence["blocks"]


@pytest.mark.slow
def test_a_champion_of_another_task_leaves_it_not_proven(decided: Path) -> None:
    """The decision is recorded with its reason and the way out, and the champion stays."""
    changed = files.read_json(decided / SIGNATURE) | {"task": "regression"}
    files.write_json(decided / SIGNATURE, changed)
    path = decided / "params.yaml"
    values = yaml.safe_load(path.read_text())
    values["promote"]["metric"] = "squared_error"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    found = decide.decide(decided)
    (gate,) = (gate for gate in found.evidence["gates"] if gate["group"] == "improvement")
    assert found.outcome == "not proven"
    assert "could not be compared with version 1" in found.sentence
    assert gate["result"] == "not enough evidence"
    assert re.search("it is a binary model.*refit rollback --to none", gate["said"])
    assert gate["said"] in found.report
    registry = Registry.open(decided)
    champion = registry.champion(registry.ledger.read())
    assert champion is not None
    assert champion.number == 1


def bundle(*classes: str) -> Any:
    """A model that knows these classes and gives each the same probability."""
    signature = {"task": "multiclass", "classes": list(classes)}
    uniform = lambda rows: np.full((rows.height, len(classes)), 1 / len(classes))  # noqa: E731
    return SimpleNamespace(signature=signature, predict=uniform)


def test_a_new_class_is_impossible_to_the_old_model() -> None:
    """Classes are matched by name; one that a model does not know has probability zero."""
    rows = pl.DataFrame({"x": [1.0, 2.0]})
    own, rival = scoring.both(bundle("a", "b", "c"), bundle("c", "a"), rows)
    assert own.tolist() == [[1 / 3, 1 / 3, 1 / 3]] * 2
    assert rival.tolist() == [[0.5, 0.0, 0.5]] * 2
    own, rival = scoring.both(bundle("a"), bundle("b", "a"), rows)
    assert own.tolist() == [[1.0, 0.0]] * 2
    assert rival.tolist() == [[0.5, 0.5]] * 2


@pytest.mark.slow
def test_a_champion_that_outlives_its_time_is_decided_about_anew(
    decided: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same model in other words is rejected, until its champion is older than the policy likes."""
    first = decide.decide(decided)
    assert first.outcome == "reject"
    monkeypatch.setattr(PromoteParams, "outlived", lambda *_: 400)
    second = decide.decide(decided)
    assert (second.outcome, second.version, second.champion_before) == ("promote", 2, 1)
    assert "reigned for 400 days" in second.report


@pytest.mark.slow
@pytest.mark.parametrize("rows", [0, 30])
def test_an_empty_or_tiny_holdout_is_recorded_as_not_proven(decided: Path, rows: int) -> None:
    """Nothing is promoted on rows that prove nothing, and the decision is kept and found again."""
    for path in (paths.HOLDOUT, paths.PREDICTIONS):
        files.write_parquet(files.read_parquet(decided / path).head(rows), decided / path)
    found = decide.decide(decided)
    assert found.outcome == "not proven"
    assert found.version == 2
    assert {gate["name"] for gate in found.evidence["gates"]} > {"improvement", "holdout unseen"}
    again = decide.decide(decided)
    assert again.cached
    assert again.sentence == found.sentence
