"""The release fit learns from every row, for as long as validation chose, and can resume."""

import itertools
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import BOOSTED, DATA, NETWORK, part, session

from refit.data.prepared import Arrays
from refit.models import final, release
from refit.models.boosted import BoostedModel
from refit.models.final import EVERYTHING, TRAIN, Fits
from refit.models.model import Fitted, Session
from refit.models.network import NetworkModel
from refit.training.stop_signals import Stopped

HOLDOUT, LATER = part(300, 3), part(100, 4)


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
