"""The release fit: the model that goes live learns from the holdout as well.

The newest rows are those that a model is asked about next, but as long as they are the holdout, no
evaluated model has learnt from them. So the recipe is fitted once more on train, validation and
holdout, with the length that validation chose. No rows are left to evaluate that fit on: the
evidence is that of its twin, the model of the same recipe without the holdout. Off by default,
because what goes live is then not what was evaluated.
"""

from dataclasses import replace
from typing import Any

from refit.data.prepared import Arrays
from refit.models import final
from refit.models.model import Data, Fitted, Model, Session


def fit(
    model: Model, data: Data, holdout: Arrays, settings: Any, session: Session, *, length: int
) -> Fitted:
    """Fit on every row, for the length that validation chose.

    Args:
        model: of the twin.
        data: of the twin.
        holdout: rows that the twin has not seen.
        settings: of the twin.
        session: of the twin; the release fit has checkpoints of its own.
        length: of the twin.
    """
    print(f"again on all rows including the holdout, length {length}", flush=True)
    every_row = replace(data, train=data.train.joined(data.validation, holdout))
    return model.fit(every_row, settings, final.session_of(session, "release"), length=length)
