"""The final model learns from validation too, for as long as validation chose, and can resume."""

import itertools
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from refit.core.determinism import STRICTEST
from refit.data.prepared import Arrays
from refit.models import final
from refit.models.boosted import BoostedModel, BoostedParams
from refit.models.final import EVERYTHING, TRAIN
from refit.models.model import Data, Session
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
    task=find("binary"),
    train=part(500, 1),
    validation=part(200, 2),
    cardinalities=(4,),
    classes=0,
)
LATER = part(100, 3)


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
