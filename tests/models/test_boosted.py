"""The boosted trees: the same bytes on any number of threads, on disk and in the bundle."""

import functools
from dataclasses import replace
from pathlib import Path
from signal import Signals
from typing import Any

import numpy as np
import polars as pl
import pytest

from refit.core.determinism import LEVELS, Level
from refit.core.errors import DataError
from refit.data.encoder import Encoder, fit_encoder
from refit.data.prepared import Arrays
from refit.dataset import Roles
from refit.evaluation import predictions
from refit.evaluation.predictions import TOLERANCE
from refit.models.boosted import (
    THRESHOLD,
    TREES,
    BoostedModel,
    BoostedParams,
    FittedTrees,
    _rounded_down,
)
from refit.models.model import Data, Session
from refit.serving import bundle, export
from refit.tasks.catalog import TASKS, find
from refit.training import loop
from refit.training.stop_signals import Stop, Stopped

SETTINGS = BoostedParams(
    rounds=40, patience=5, learning_rate=0.1, leaves=15, leaf_rows=20, ridge=0.0
)
MODEL = BoostedModel()
VOCABULARY = [f"place {number}" for number in range(40)]


def roles(task: str) -> Roles:
    return Roles(
        task=task,
        key=("id",),
        time="id",
        target="y",
        numeric=("steps", "wide", "sparse"),
        categorical=("colour", "place"),
    )


def rows(task: str, count: int, seed: int) -> pl.DataFrame:
    """Rows with missing numbers (null, NaN and infinity) and missing, rare and many categories."""
    rng = np.random.default_rng(seed)
    steps, wide = rng.integers(0, 12, count) / 3, rng.normal(0, 1e4, count)
    sparse = pl.Series(rng.normal(size=count)).set(pl.Series(rng.random(count) < 0.4), None)
    colour = rng.choice(["red", "green", "blue", ""], count, p=[0.4, 0.3, 0.2, 0.1])
    place = rng.choice(VOCABULARY, count)
    signal = steps - 2 + wide / 1e4 + sparse.is_null().to_numpy() + 2 * (colour == "red")
    signal += np.array([VOCABULARY.index(name) % 3 for name in place])
    noisy = signal + rng.normal(size=count)
    targets: dict[str, Any] = {
        "binary": (noisy > 1).astype(np.int8),
        "multiclass": np.array(["low", "middle", "high"])[np.digitize(noisy, [0, 2])],
        "regression": noisy,
        "counts": rng.poisson(np.exp(signal / 3)),
    }
    return pl.DataFrame(
        {
            "id": range(count),
            "steps": steps,
            "wide": pl.Series(wide).set(pl.Series(rng.random(count) < 0.1), np.nan),
            "sparse": sparse,
            "colour": pl.Series(colour).set(pl.Series(rng.random(count) < 0.1), None),
            "place": place,
            "y": targets[task],
        }
    )


def later_rows(task: str) -> pl.DataFrame:
    """Rows after training, some with values that training never saw."""
    table = rows(task, 3000, seed=3)
    last = pl.col("id") >= 2700
    return table.with_columns(
        steps=pl.when(last).then(pl.col("steps") * 1e6).otherwise("steps"),
        wide=pl.when(pl.col("id") >= 2900).then(-np.inf).otherwise("wide"),
        colour=pl.when(last).then(pl.lit("ultraviolet")).otherwise("colour"),
        place=pl.when(pl.col("id") % 50 == 0).then(pl.lit("nowhere")).otherwise("place"),
    )


@functools.cache
def encoder(task: str) -> Encoder:
    return fit_encoder(rows(task, 1500, seed=1), roles(task), quantiles=101, min_count=5)


def arrays(task: str, table: pl.DataFrame) -> Arrays:
    fitted = encoder(task)
    return Arrays(
        numeric=fitted.encode_numeric(table),
        categorical=fitted.encode_categorical(table),
        target=find(task).encode(table["y"], fitted.classes),
    )


def data(task: str) -> Data:
    return Data(
        task=find(task),
        train=arrays(task, rows(task, 1500, seed=1)),
        validation=arrays(task, rows(task, 800, seed=2)),
        cardinalities=encoder(task).cardinalities,
        classes=len(encoder(task).classes),
    )


def session(*, threads: int = 1, level: Level = "any-x86", stop: Stop = lambda: None) -> Session:
    return Session(
        seed=7,
        level=level,
        threads=threads,
        checkpoints=Path("unused"),
        log=lambda _values, _step: None,
        stop=stop,
        train=loop.train,
    )


@functools.cache
def fitted_trees(task: str) -> FittedTrees:
    """The trees of a task, fitted on one thread."""
    return MODEL.fit(data(task), SETTINGS, session())


@pytest.mark.parametrize("task", TASKS)
def test_the_trees_learn(task: str) -> None:
    """On later rows the loss is at most three quarters of that of a constant prediction."""
    holdout = arrays(task, rows(task, 2000, seed=5))
    prediction = fitted_trees(task).predict(holdout)
    assert prediction.dtype == np.float32
    if task == "multiclass":
        constant = np.tile(np.bincount(holdout.target) / len(holdout), (len(holdout), 1))
    else:
        constant = np.full(len(holdout), float(holdout.target.mean()))
    assert prediction.shape == constant.shape
    assert find(task).in_range(prediction.reshape(len(holdout), -1)).all()
    loss, constant_loss = (
        find(task).row_loss(find(task).row_losses[0], holdout.target, values).mean()
        for values in (prediction.astype(np.float64), constant)
    )
    assert loss < constant_loss * 3 / 4


@pytest.mark.parametrize("task", TASKS)
def test_the_number_of_threads_changes_no_byte(task: str, tmp_path: Path) -> None:
    """trees.txt has the same bytes after a fit on one thread and on two."""
    fitted_trees(task).save(tmp_path / "one")
    MODEL.fit(data(task), SETTINGS, session(threads=2)).save(tmp_path / "two")
    one, two = ((tmp_path / name / TREES).read_bytes() for name in ("one", "two"))
    assert one == two
    assert b"num_threads" not in one


@pytest.mark.parametrize("task", TASKS)
def test_saved_trees_predict_the_same_bytes(task: str, tmp_path: Path) -> None:
    """Loaded trees have the same description, the same file and the same predictions."""
    trees, later = fitted_trees(task), arrays(task, later_rows(task))
    trees.save(tmp_path)
    loaded = MODEL.load(tmp_path, find(task), trees.describe())
    assert loaded.predict(later).tobytes() == trees.predict(later).tobytes()
    assert loaded.describe() == trees.describe()
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again" / TREES).read_bytes() == (tmp_path / TREES).read_bytes()


def largest_difference(task: str, trees: FittedTrees, folder: Path) -> float:
    """Between the bundle and the trees on later rows."""
    table = later_rows(task)
    signature = export.signature(roles(task), encoder(task), {})
    bundle.write(folder, export.to_onnx(trees, encoder(task)), signature, {})
    prediction = bundle.load(folder).predict(table)
    expected = trees.predict(arrays(task, table))
    assert (prediction.dtype, prediction.shape) == (expected.dtype, expected.shape)
    return predictions.largest_difference(prediction, expected)


@pytest.mark.parametrize("task", TASKS)
def test_the_bundle_equals_the_trees(task: str, tmp_path: Path) -> None:
    """From raw rows, missing and unknown values included, the bundle predicts what the trees do."""
    assert largest_difference(task, fitted_trees(task), tmp_path) <= TOLERANCE


def test_the_bundle_equals_the_trees_of_large_values(tmp_path: Path) -> None:
    """A target a hundred times as large, of both signs, makes no difference."""
    plain = data("regression")
    large = replace(
        plain,
        train=replace(plain.train, target=plain.train.target * 100),
        validation=replace(plain.validation, target=plain.validation.target * 100),
    )
    trees = MODEL.fit(large, SETTINGS, session())
    assert largest_difference("regression", trees, tmp_path) <= TOLERANCE


@pytest.mark.parametrize("level", LEVELS)
def test_no_more_than_threads_is_promised(level: Level) -> None:
    """The level of the trees is the session's, and `threads` at most."""
    quick = replace(SETTINGS, rounds=2)
    fitted = MODEL.fit(data("binary"), quick, session(level=level))
    assert fitted.level == ("machine" if level == "machine" else "threads")


def test_a_signal_stops_the_fit() -> None:
    """The fit polls the signal each round and stops with the status of the signal."""
    polls: list[int] = []

    def third_round() -> Signals | None:
        polls.append(1)
        return Signals.SIGTERM if len(polls) == 3 else None

    with pytest.raises(Stopped, match="SIGTERM") as caught:
        MODEL.fit(data("binary"), SETTINGS, session(stop=third_round))
    assert caught.value.status == 128 + Signals.SIGTERM
    assert len(polls) == 3


def test_each_round_is_logged() -> None:
    """The log gets the validation loss of every round, which falls to the best round."""
    logged: list[tuple[float, int]] = []
    watched = replace(
        session(), log=lambda values, step: logged.append((values["validation_loss"], step))
    )
    trees = MODEL.fit(data("regression"), SETTINGS, watched)
    losses = [loss for loss, _ in logged]
    assert [step for _, step in logged] == list(range(1, len(logged) + 1))
    assert trees.describe()["best_round"] == int(np.argmin(losses)) + 1


def require_damage_reported(folder: Path) -> None:
    """Loading trees.txt is a DataError that names the file and how to restore it."""
    trees = fitted_trees("binary")
    description = trees.describe()
    with pytest.raises(DataError, match=r"dvc checkout") as caught:
        MODEL.load(folder, find("binary"), description)
    assert str(folder / TREES) in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    """Without trees.txt there is no model."""
    require_damage_reported(tmp_path)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are damage."""
    (tmp_path / TREES).write_bytes(b"\xff\xfe trees")
    require_damage_reported(tmp_path)


@pytest.mark.parametrize("end", ["", "Tree=0", "leaf_value=", "Tree=5", "end of trees"])
def test_a_truncated_file(end: str, tmp_path: Path) -> None:
    """Trees that end too early are damage, between two trees as well, where LightGBM reads on."""
    text = fitted_trees("binary").text
    (tmp_path / TREES).write_text(text[: text.index(end)], encoding="utf-8")
    require_damage_reported(tmp_path)


def test_rounding_a_threshold_moves_no_row() -> None:
    """A float32 on, just below or just above a threshold stays on its side of it."""
    rng = np.random.default_rng(11)
    near = rng.normal(size=2000).astype(np.float32)
    above = np.nextafter(near, np.float32(np.inf))
    thresholds = np.concatenate(
        [
            near.astype(np.float64),
            np.nextafter(near.astype(np.float64), np.inf),
            np.nextafter(near.astype(np.float64), -np.inf),
            (near.astype(np.float64) + above) / 2,
            np.array([0.0, 1e-35, -1e-35, 0.5, 1e-50, -1e-50]),
        ]
    )
    line = THRESHOLD + " ".join(map(repr, thresholds.tolist()))
    values = _rounded_down(line).removeprefix(THRESHOLD).split()
    rounded = np.array(values, np.float64)
    assert (rounded == rounded.astype(np.float32)).all()
    nearest = thresholds.astype(np.float32)
    for direction in (-np.inf, 0, np.inf):
        row = nearest if not direction else np.nextafter(nearest, np.float32(direction))
        assert ((row <= thresholds) == (row <= rounded)).all()
