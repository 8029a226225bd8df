"""The final model learns from validation too, for as long as validation chose, and can resume."""

import itertools
import signal
from pathlib import Path

import pytest
from small import BOOSTED, DATA, NETWORK, part, session

from refit.models import final
from refit.models.boosted import BoostedModel
from refit.models.final import EVERYTHING, TRAIN
from refit.models.model import Data
from refit.models.network import NetworkModel
from refit.training.stop_signals import Stopped

LATER = part(100, 3)


def test_the_network_learns_from_both_parts_for_the_chosen_length(tmp_path: Path) -> None:
    """The first fit is as without a final one; the second is a fit of that length on all rows."""
    model = NetworkModel()
    alone = final.fit(model, DATA, NETWORK, session(tmp_path / "a"), TRAIN)
    assert alone.final is alone.chosen
    fits = final.fit(model, DATA, NETWORK, session(tmp_path / "b"), EVERYTHING)
    assert fits.chosen.predict(LATER).tobytes() == alone.chosen.predict(LATER).tobytes()
    assert fits.final.length == fits.chosen.length
    both = final.everything(DATA)
    assert len(both.train) == 700
    again = model.fit(both, NETWORK, session(tmp_path / "c"), length=fits.chosen.length)
    assert fits.final.predict(LATER).tobytes() == again.predict(LATER).tobytes()
    assert fits.final.predict(LATER).tobytes() != fits.chosen.predict(LATER).tobytes()


def test_validation_is_not_looked_at_again(tmp_path: Path) -> None:
    """Another validation part changes nothing in a fit of a given length."""
    other = Data(**{**vars(DATA), "validation": part(50, 9)})
    first, second = (
        NetworkModel().fit(data, NETWORK, session(tmp_path / name), length=2).predict(LATER)
        for name, data in (("a", DATA), ("b", other))
    )
    assert first.tobytes() == second.tobytes()


def test_trees_have_the_chosen_rounds() -> None:
    """The final trees are as many as the best round, and of all rows."""
    fits = final.fit(BoostedModel(), DATA, BOOSTED, session(Path()), EVERYTHING)
    assert 1 <= fits.final.length == fits.chosen.length < 30
    assert fits.final.predict(LATER).tobytes() != fits.chosen.predict(LATER).tobytes()


@pytest.mark.parametrize("steps", [3, 15, 28])
def test_stopped_in_either_fit_it_resumes_to_the_same_bytes(tmp_path: Path, steps: int) -> None:
    """A training that was stopped after some steps of both fits ends as one that was not."""
    expected = final.fit(NetworkModel(), DATA, NETWORK, session(tmp_path / "a"), EVERYTHING)
    counter = itertools.count(1)

    def stop() -> int | None:
        return signal.SIGTERM if next(counter) > steps else None

    with pytest.raises(Stopped):
        final.fit(NetworkModel(), DATA, NETWORK, session(tmp_path / "b", stop), EVERYTHING)
    resumed = final.fit(NetworkModel(), DATA, NETWORK, session(tmp_path / "b"), EVERYTHING)
    assert resumed.final.predict(LATER).tobytes() == expected.final.predict(LATER).tobytes()
