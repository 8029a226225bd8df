"""What promotion refuses to compare: other rows, another task, predictions that are no numbers."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from refit import promote
from refit.core import files
from refit.core.errors import DataError, PipelineError
from refit.identity import identity
from refit.judging import scored
from refit.registry import Registry

SIGNATURE = Path("data/bundle/signature.json")


@pytest.fixture
def decided(
    projects: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of a project whose pipeline has run; the champion has the same network."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    copy = tmp_path / "copy"
    shutil.copytree(projects("pumps").root, copy, symlinks=True)
    shutil.rmtree(copy / ".refit", ignore_errors=True)
    promote.decide(copy)
    files.write_json(copy / SIGNATURE, files.read_json(copy / SIGNATURE) | {"note": "challenger"})
    return copy


@pytest.mark.slow
def test_an_evaluation_of_other_rows_is_refused(decided: Path) -> None:
    """Holdout rows and stored predictions must be the same rows in the same order."""
    path = decided / scored.HOLDOUT
    files.write_parquet(files.read_parquet(path).reverse(), path)
    with pytest.raises(PipelineError, match="the evaluation is not of these holdout rows"):
        promote.decide(decided)
    assert Registry(decided, "pumps").find(identity(decided / "data/bundle")) is None


@pytest.mark.slow
def test_other_predictions_of_the_same_model_are_decided_anew(decided: Path) -> None:
    """Blocks and baselines are part of what a decision depends on."""
    first = promote.decide(decided)
    path = decided / scored.PREDICTIONS
    wide = files.read_parquet(path).with_columns(pl.col("block") // 2)
    files.write_parquet(wide, path)
    second = promote.decide(decided)
    assert not second.cached
    assert second.version == first.version
    assert second.evidence["blocks"] < first.evidence["blocks"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": "regression"}, "the champion is a binary model"),
        ({"columns": None}, ""),
    ],
    ids=["task", "column"],
)
def test_a_champion_that_cannot_be_compared_is_said(
    decided: Path, change: dict[str, Any], said: str
) -> None:
    """Another task, or a column that is gone, names the champion and the ways out."""
    if "task" in change:
        files.write_json(decided / SIGNATURE, files.read_json(decided / SIGNATURE) | change)
    else:
        for path in (scored.HOLDOUT, scored.PREDICTIONS):
            frame = files.read_parquet(decided / path)
            files.write_parquet(frame.drop("heat", strict=False), decided / path)
        said = "heat"
    with pytest.raises(
        DataError, match=rf"(?s)champion version 1.*{said}.*refit rollback --to none"
    ):
        promote.decide(decided)


def bundle(*classes: str) -> Any:
    """A model that knows these classes and gives each the same probability."""
    signature = {"task": "multiclass", "classes": list(classes)}
    uniform = lambda rows: np.full((rows.height, len(classes)), 1 / len(classes))  # noqa: E731
    return SimpleNamespace(signature=signature, predict=uniform)


def test_a_new_class_is_impossible_to_the_old_model() -> None:
    """Classes are matched by name; one that a model does not know has probability zero."""
    rows = pl.DataFrame({"x": [1.0, 2.0]})
    own, rival = scored.both(bundle("a", "b", "c"), bundle("c", "a"), rows, 1)
    assert own.tolist() == [[1 / 3, 1 / 3, 1 / 3]] * 2
    assert rival.tolist() == [[0.5, 0.0, 0.5]] * 2
    own, rival = scored.both(bundle("a"), bundle("b", "a"), rows, 1)
    assert own.tolist() == [[1.0, 0.0]] * 2
    assert rival.tolist() == [[0.5, 0.5]] * 2


def test_a_loss_that_is_no_number_is_refused() -> None:
    """One NaN among the losses would make any difference a NaN: it is counted and said."""
    losses = [np.array([0.1, 0.2]), np.array([0.1, np.nan])]
    with pytest.raises(DataError, match=r"the champion's loss is not a finite.*1 of 2 rows"):
        scored.require_finite(losses)
    scored.require_finite(losses[:1] * 2)
