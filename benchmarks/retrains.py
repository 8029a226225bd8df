"""Retrain the example's network month by month with many seeds, and keep what each one predicts.

Run by gate_study.py in a process of its own: the settings of determinism must stand in the
environment before NumPy and torch are loaded. What is there already is not trained again.

    FOLDER/examples.parquet          all examples of 2013
    FOLDER/upto-MM/MODEL.npy         predictions (float32) of every row after month MM, in order;
                                     MODEL is seed-N, linear or boosted
"""

import sys
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from refit.core import determinism

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from refit.data.prepared import Arrays

MONTHS = range(1, 11)
"""Newest training months: October leaves November for validation and December to judge."""
SEEDS = 13
"""So that each month has twelve retrains that differ from the one before by their seed alone."""


def main(folder: Path, threads: int) -> None:
    """Train what is missing in the folder."""
    determinism.apply()
    from refit.core import files
    from refit.training import linear_layer

    determinism.seed_everything(0)
    linear_layer.use(determinism.STRICTEST, threads)
    examples = files.read_parquet(folder / "examples.parquet")
    for month in MONTHS:
        _month(folder / f"upto-{month:02}", examples, f"2013-{month:02}")


def _month(folder: Path, examples: "pl.DataFrame", newest: str) -> None:
    import numpy as np
    import polars as pl

    from refit.core import files, params
    from refit.data import prepared
    from refit.data.encoder import fit_encoder
    from refit.data.split import PreprocessParams
    from refit.dataset import roles as roles_of
    from refit.models import baselines
    from refit.models.baselines import BaselineParams

    models = [*baselines.NAMES, *(f"seed-{seed}" for seed in range(SEEDS))]
    missing = [name for name in models if not (folder / f"{name}.npy").exists()]
    if not missing:
        return
    roles, settings = roles_of("flights"), params.read(PreprocessParams, "preprocess")
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
            target=encoder.encode_target(frame[roles.target]),
        )
        for part, frame in rows.items()
    }
    sizes = encoder.cardinalities
    for name in missing:
        if name.startswith("seed-"):
            predicted = _network(parts, sizes, int(name.removeprefix("seed-")))
        else:
            predicted = baselines.fit(
                roles.task,
                "linear" if name == "linear" else "boosted",
                parts["train"],
                parts["validation"],
                cardinalities=sizes,
                settings=params.read(BaselineParams, "baseline"),
            ).predict(parts["later"])
        files.write_array(folder / f"{name}.npy", np.asarray(predicted, np.float32))
        print(f"trained until {newest}: {name}", file=sys.stderr, flush=True)


def _network(
    parts: "Mapping[str, Arrays]", cardinalities: tuple[int, ...], seed: int
) -> "np.ndarray":
    """What the network of params.yaml says of the later rows, trained with this seed."""
    from refit.core import params
    from refit.training.inference import predict
    from refit.training.loop import TrainParams, configure, fit

    settings = replace(params.read(TrainParams, "train"), seed=seed)
    train = parts["train"]
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        trained = fit(
            train,
            parts["validation"],
            task="binary",
            config=configure(train, "binary", cardinalities, 0, settings),
            settings=settings,
            checkpoints=Path(folder),
            log=lambda *_: None,
        )
    return predict(trained.network, "binary", parts["later"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
