"""Stage `baseline`: data/prepared -> data/baseline, what simple models predict for the same rows.

It is separate from `train`, so that a changed parameter of the model does not fit the baselines
again.
"""

import shutil

from refit.core import files, params, paths
from refit.data import prepared
from refit.evaluation.baselines import BASELINES
from refit.models import baselines
from refit.models.baselines import BaselineParams
from refit.models.final import TrainParams
from refit.models.model import Data


def main() -> None:
    """Fit each baseline on train and predict validation; then the holdout, as the model does."""
    settings = params.read(BaselineParams, "baseline")
    final = params.read(TrainParams, "train").final
    data = Data.read(paths.PREPARED)
    holdout = prepared.map_part(paths.PREPARED, "holdout")
    shutil.rmtree(paths.BASELINE, ignore_errors=True)
    for name in BASELINES:
        fits = baselines.fit(name, data, settings, final=final)
        for part, predicted in (
            ("validation", fits.chosen(data.validation)),
            ("holdout", fits.final(holdout)),
        ):
            path = paths.BASELINE / part / f"{name}.npy"
            files.write_array(path, predicted.astype("float32"))
    print(
        f"{len(data.validation):,} validation and {len(holdout):,} holdout rows predicted by"
        f" {', '.join(BASELINES)}"
    )
