"""The release fit learns from every row, for as long as validation chose, and can resume."""

import itertools
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refit.core.determinism import STRICTEST
from refit.data.prepared import Arrays
from refit.models import final, release
from refit.models.boosted import BoostedModel, BoostedParams
from refit.models.final import EVERYTHING, TRAIN, Fits
from refit.models.model import Data, Fitted, Session
from refit.models.network import NetworkModel, NetworkParams
from refit.tasks.catalog import find
from refit.training import loop
from refit.training.stop_signals import Stopped

NETWORK = NetworkParams(
    epochs=4,
    patience=1,
    batch_size=50,
    learning_rate=0.02,
    warmup_share=0.1,
    weight_decay=0.1,
    clip_norm=1.0,
    members=2,
    hidden_width=8,
    hidden_layers=2,
    embedding_width=2,
    bins=4,
    dropout=0.2,
)
BOOSTED = BoostedParams(rounds=30, patience=3, learning_rate=0.3, leaves=7, leaf_rows=5, ridge=0.0)


def part(rows: int, seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    numeric = rng.normal(size=(rows, 3)).astype(np.float32)
    codes = rng.integers(0, 4, (rows, 1)).astype(np.int32)
    target = (numeric[:, 0] + codes[:, 0] + rng.logistic(size=rows) > 1.5).astype(np.float32)
    return Arrays(numeric=numeric, categorical=codes, target=target)


DATA = Data(
    task=find("binary"), train=part(500, 1), validation=part(200, 2), cardinalities=(4,), classes=0
)
HOLDOUT, LATER = part(300, 3), part(100, 4)


def session(folder: Path, stop: Callable[[], int | None] = lambda: None) -> Session:
    return Session(
        seed=5,
        level=STRICTEST,
        threads=1,
        checkpoints=folder,
        log=lambda *_: None,
        stop=stop,
        train=loop.train,
    )


def network(session: Session) -> Fits:
    """The three fits of the network, as the stage makes them."""
    model = NetworkModel()
    fits = final.fit(model, DATA, NETWORK, session, EVERYTHING)
    length = fits.chosen.length
    return replace(fits, release=release.fit(model, DATA, HOLDOUT, NETWORK, session, length=length))


def predicted(fitted: Fitted | None) -> bytes:
    assert fitted is not None
    return fitted.predict(LATER).tobytes()


def test_it_is_the_same_recipe_on_every_row(tmp_path: Path) -> None:
    """It equals a fit of the chosen length on all rows; its twin is as without it."""
    fits = network(session(tmp_path / "a"))
    twin = final.fit(NetworkModel(), DATA, NETWORK, session(tmp_path / "b"), EVERYTHING)
    assert predicted(fits.final) == predicted(twin.final)
    rows = [DATA.train, DATA.validation, HOLDOUT]
    joined = Arrays(
        **{name: np.concatenate([vars(each)[name] for each in rows]) for name in vars(HOLDOUT)}
    )
    assert len(joined) == 1000
    every_row = replace(DATA, train=joined)
    length = fits.chosen.length
    again = NetworkModel().fit(every_row, NETWORK, session(tmp_path / "c"), length=length)
    assert predicted(fits.release) == predicted(again)
    assert predicted(fits.release) != predicted(fits.final)


@pytest.mark.parametrize("rows", [TRAIN, EVERYTHING])
def test_trees_have_the_chosen_rounds(rows: str) -> None:
    """The trees of the release fit are as many as its twin's, whatever rows the twin has."""
    model, here = BoostedModel(), session(Path())
    fits = final.fit(model, DATA, BOOSTED, here, rows)
    released = release.fit(model, DATA, HOLDOUT, BOOSTED, here, length=fits.chosen.length)
    assert released.length == fits.final.length
    assert predicted(released) != predicted(fits.final)


@pytest.mark.parametrize("steps", [3, 15, 28, 40, 52])
def test_stopped_in_any_fit_it_resumes_to_the_same_bytes(tmp_path: Path, steps: int) -> None:
    """A training that was stopped after some steps of the three fits ends as one that was not."""
    expected = network(session(tmp_path / "a"))
    counter = itertools.count(1)

    def stop() -> int | None:
        return signal.SIGTERM if next(counter) > steps else None

    with pytest.raises(Stopped):
        network(session(tmp_path / "b", stop))
    resumed = network(session(tmp_path / "b"))
    assert predicted(resumed.final) == predicted(expected.final)
    assert predicted(resumed.release) == predicted(expected.release)


def test_the_log_keeps_the_fits_apart(tmp_path: Path) -> None:
    """What each later fit logs has its name, so that no curve has two points at one step."""
    names: set[str] = set()
    network(replace(session(tmp_path), log=lambda values, _: names.update(values)))
    plain = {name for name in names if not name.startswith(("final_", "release_"))}
    assert plain
    assert {"train_loss", "final_train_loss", "release_train_loss"} <= names
