"""Retrain the example's model month by month with many seeds, and keep what each one predicts.

gate_study.py runs this in a separate process: the settings of determinism must be in the
environment before NumPy and torch are loaded. A file that exists is not written again.

    FOLDER/examples.parquet          all examples of 2013
    FOLDER/upto-MM/MODEL.npy         predictions (float32) of every row after month MM, in order;
                                     MODEL is seed-N, linear or boosted
"""

import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from refit.core import determinism

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from refit.data.prepared import Arrays
    from refit.models.model import Data

MONTHS = range(1, 11)
"""Newest training months: October leaves November for validation and December to judge."""
SEEDS = 13
"""Gives each month twelve retrains that differ from the one before only by their seed."""


def main(folder: Path, threads: int) -> None:
    """Train the models whose predictions are missing in the folder."""
    determinism.apply()
    from refit.core import files

    examples = files.read_parquet(folder / "examples.parquet")
    for month in MONTHS:
        _month(folder / f"upto-{month:02}", examples, f"2013-{month:02}", threads)


def _month(folder: Path, examples: "pl.DataFrame", newest: str, threads: int) -> None:
    import numpy as np

    from refit.core import files
    from refit.evaluation.baselines import BASELINES

    models = [*BASELINES, *(f"seed-{seed}" for seed in range(SEEDS))]
    missing = [name for name in models if not (folder / f"{name}.npy").exists()]
    if not missing:
        return
    data, later = _encoded(examples, newest)
    for name in missing:
        if name.startswith("seed-"):
            predicted = _trained(data, later, int(name.removeprefix("seed-")), threads)
        else:
            predicted = _baseline(data, later, name)
        files.write_array(folder / f"{name}.npy", np.asarray(predicted, np.float32))
        print(f"trained until {newest}: {name}", file=sys.stderr, flush=True)


def _encoded(examples: "pl.DataFrame", newest: str) -> "tuple[Data, Arrays]":
    """The data to fit on until the newest month, and all later rows."""
    import polars as pl

    from refit.core import params
    from refit.data import prepared
    from refit.data.encoder import fit_encoder
    from refit.data.split import PreprocessParams
    from refit.dataset import roles as roles_of
    from refit.models.model import Data
    from refit.tasks.catalog import find as find_task

    roles, settings = roles_of("flights"), params.read(PreprocessParams, "preprocess")
    task = find_task(roles.task)
    later = examples.filter(pl.col("partition") > newest)
    rows = {
        "train": examples.filter(pl.col("partition") <= newest),
        "validation": later.filter(pl.col("partition") == pl.col("partition").min()),
        "later": later,
    }
    encoder = fit_encoder(
        rows["train"], roles, quantiles=settings.quantiles, min_count=settings.min_count
    )
    parts = {
        part: prepared.Arrays(
            numeric=encoder.encode_numeric(frame),
            categorical=encoder.encode_categorical(frame),
            target=task.encode(frame[roles.target], encoder.classes),
        )
        for part, frame in rows.items()
    }
    data = Data(
        task=task,
        train=parts["train"],
        validation=parts["validation"],
        cardinalities=encoder.cardinalities,
        classes=len(encoder.classes),
    )
    return data, parts["later"]


def _baseline(data: "Data", later: "Arrays", name: str) -> "np.ndarray":
    """(N,) a baseline's predictions of the later rows."""
    from refit.core import params
    from refit.models import baselines
    from refit.models.baselines import BaselineParams
    from refit.models.final import TrainParams

    fits = baselines.fit(
        "linear" if name == "linear" else "boosted",
        data,
        params.read(BaselineParams, "baseline"),
        final=params.read(TrainParams, "train").final,
    )
    return _unseen(fits.chosen(data.validation), fits.final(later))


def _trained(data: "Data", later: "Arrays", seed: int, threads: int) -> "np.ndarray":
    """(N,) predictions of the later rows by the model of params.yaml, trained with this seed."""
    from refit.core import params
    from refit.models import catalog
    from refit.models import final as final_model
    from refit.models.final import TrainParams
    from refit.models.model import Session
    from refit.training import loop

    settings = params.read(TrainParams, "train")
    model = catalog.find(settings.model, "flights")
    with tempfile.TemporaryDirectory() as checkpoints, redirect_stdout(sys.stderr):
        session = Session(
            seed=seed,
            level=determinism.STRICTEST,
            threads=threads,
            checkpoints=Path(checkpoints),
            log=lambda *_: None,
            stop=lambda: None,
            train=loop.train,
        )
        own, final = params.read(model.params, model.name), settings.final
        fits = final_model.fit(model, data, own, session, final)
    return _unseen(fits.chosen.predict(data.validation), fits.final.predict(later))


def _unseen(validation: "np.ndarray", later: "np.ndarray") -> "np.ndarray":
    """Predictions of the later rows; of the first ones, by the model that had not seen them."""
    import numpy as np

    return np.concatenate([validation, later[len(validation) :]])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
