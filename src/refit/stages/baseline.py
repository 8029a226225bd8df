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
from refit.tasks.catalog import find as find_task


def main() -> None:
    """Fit each baseline on train and predict the later parts. Validation stops the boosting."""
    settings = params.read(BaselineParams, "baseline")
    roles, encoder = prepared.read_description(paths.PREPARED)
    task = find_task(roles.task)
    parts = {
        part: prepared.map_part(paths.PREPARED, part) for part in ("train", "validation", "holdout")
    }
    shutil.rmtree(paths.BASELINE, ignore_errors=True)
    fitted = {
        name: baselines.fit(
            task,
            name,
            parts["train"],
            parts["validation"],
            cardinalities=encoder.cardinalities,
            settings=settings,
        )
        for name in BASELINES
    }
    for part in ("validation", "holdout"):
        arrays = parts[part]
        predictions = {name: model.predict(arrays) for name, model in fitted.items()}
        for name, values in predictions.items():
            files.write_array(paths.BASELINE / part / f"{name}.npy", values.astype("float32"))
        print(f"{part}: {len(arrays):,} rows predicted by {', '.join(predictions)}")
