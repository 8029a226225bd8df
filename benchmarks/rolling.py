"""The network against LightGBM on five rolling splits of the flights: `make rolling`.

Each split trains on all months before a validation month and is judged on the month (or two) after
it, none of which shaped the recipe's weights. LightGBM has the raw numbers, learning rate .05, 63
leaves and early stopping. Both are also fitted again through the validation month, with the length
that validation chose. Everything runs on one thread, and the seconds are those of the processor.

The gain of the table's last row is the mean of the splits' gains. Its interval resamples days by
the project's own paired comparison, with the deviation of the seeds as noise.

The trainings take a quarter of an hour. They are kept in .refit/rolling, in a folder named by what
they depend on.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refit.core import determinism

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from refit.data.prepared import Arrays
    from refit.evaluation.paired_bootstrap import Comparison
    from refit.models.model import Data

SPLITS = {
    "June": ("2013-05", ("2013-06",)),
    "July": ("2013-06", ("2013-07",)),
    "August": ("2013-07", ("2013-08",)),
    "September, October": ("2013-08", ("2013-09", "2013-10")),
    "November, December": ("2013-10", ("2013-11", "2013-12")),
}
"""The validation month and the months that are judged; training is on all months before."""
SEEDS = range(5)
PATIENCE = 50
RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Predictions (N,) of the judged months, and seconds of the processor up to there."""

    predicted: "np.ndarray"
    seconds: float


def main() -> None:
    """Fit what is missing, and print the table."""
    os.environ[determinism.THREADS] = "1"
    determinism.apply()
    from bench import ROOT, machine
    from gate_study import examples_of_the_year, key

    folder = ROOT / ".refit/rolling" / key()
    rows = examples_of_the_year(folder)
    print(f"Machine: {machine()}; fits {folder.name}\n")
    splits = [Split(name, folder / name.split(",")[0].lower(), rows) for name in SPLITS]
    for split in splits:
        split.fit_missing()
    _print(splits)


class Split:
    """One split with its fits on disk."""

    def __init__(self, name: str, folder: Path, examples: "pl.DataFrame") -> None:
        import polars as pl

        self.name, self.folder = name, folder
        validation, judged = SPLITS[name]
        partition = pl.col("partition")
        self.rows = {
            "train": examples.filter(partition < validation),
            "validation": examples.filter(partition == validation),
            "judged": examples.filter(partition.is_in(judged)),
        }

    def fit_missing(self) -> None:
        """Fit every model that has no predictions yet."""
        wanted: dict[str, Callable[[], dict[str, Fit]]] = {"lightgbm-0": self._lightgbm}
        wanted |= {f"network-{seed}": partial(self._network, seed) for seed in SEEDS}
        for name, make in wanted.items():
            if not (self.folder / f"{name}.json").exists():
                self._store(name, make())
                print(f"{self.name}: {name}", file=sys.stderr, flush=True)

    def _store(self, name: str, fits: dict[str, Fit]) -> None:
        from refit.core import files

        for kind, fit in fits.items():
            files.write_array(self.folder / f"{name}-{kind}.npy", fit.predicted)
        seconds = {kind: fit.seconds for kind, fit in fits.items()}
        files.write_json(self.folder / f"{name}.json", seconds)

    def _data(self) -> "tuple[Data, Arrays]":
        """What the network is fitted on, and the judged rows."""
        from refit.core import params
        from refit.data import prepared
        from refit.data.encoder import fit_encoder
        from refit.data.split import PreprocessParams
        from refit.dataset import roles as roles_of
        from refit.models.model import Data
        from refit.tasks.catalog import find as find_task

        roles, settings = roles_of("flights"), params.read(PreprocessParams, "preprocess")
        task = find_task(roles.task)
        encoder = fit_encoder(
            self.rows["train"], roles, quantiles=settings.quantiles, min_count=settings.min_count
        )
        parts = {
            part: prepared.Arrays(
                numeric=encoder.encode_numeric(frame),
                categorical=encoder.encode_categorical(frame),
                target=task.encode(frame[roles.target], encoder.classes),
            )
            for part, frame in self.rows.items()
        }
        data = Data(
            task=task,
            train=parts["train"],
            validation=parts["validation"],
            cardinalities=encoder.cardinalities,
            classes=0,
        )
        return data, parts["judged"]

    def _network(self, seed: int) -> dict[str, Fit]:
        from refit.core import params
        from refit.models import final
        from refit.models.model import Session
        from refit.models.network import NetworkModel, NetworkParams
        from refit.training import loop

        data, judged = self._data()
        settings, model = params.read(NetworkParams, "network"), NetworkModel()
        with tempfile.TemporaryDirectory() as checkpoints, redirect_stdout(StringIO()):
            session = Session(
                seed=seed,
                level=determinism.STRICTEST,
                threads=1,
                checkpoints=Path(checkpoints),
                log=lambda *_: None,
                stop=lambda: None,
                train=loop.train,
            )
            started = time.process_time()
            chosen = model.fit(data, settings, session)
            first = time.process_time() - started
            again = replace(session, checkpoints=Path(checkpoints, "final"))
            last = model.fit(final.everything(data), settings, again, length=chosen.length)
            both = time.process_time() - started
        return {
            "train": Fit(predicted=chosen.predict(judged), seconds=first),
            "all": Fit(predicted=last.predict(judged), seconds=both),
        }

    def _lightgbm(self) -> dict[str, Fit]:
        import lightgbm as lgb
        import numpy as np

        from refit.data.encoder import fit_encoder
        from refit.dataset import roles as roles_of

        roles = roles_of("flights")
        encoder = fit_encoder(self.rows["train"], roles, quantiles=2, min_count=20)
        inputs = {
            part: np.hstack(
                [
                    frame.select(roles.numeric).to_numpy().astype(np.float64),
                    encoder.encode_categorical(frame),
                ]
            )
            for part, frame in self.rows.items()
        }
        target = {part: frame[roles.target].to_numpy() for part, frame in self.rows.items()}
        options: dict[str, Any] = {
            "objective": "binary",
            "learning_rate": 0.05,
            "num_leaves": 63,
            "seed": 2013,
            "num_threads": 1,
            "verbose": -1,
        }
        categorical = list(range(len(roles.numeric), len(roles.features)))
        started = time.process_time()
        data = lgb.Dataset(inputs["train"], target["train"], categorical_feature=categorical)
        valid = lgb.Dataset(inputs["validation"], target["validation"], reference=data)
        stopping = lgb.early_stopping(PATIENCE, verbose=False)
        chosen = lgb.train(options, data, 2000, valid_sets=[valid], callbacks=[stopping])
        first = time.process_time() - started
        parts = ("train", "validation")
        everything = lgb.Dataset(
            np.concatenate([inputs[part] for part in parts]),
            np.concatenate([target[part] for part in parts]),
            categorical_feature=categorical,
        )
        final = lgb.train(options, everything, chosen.best_iteration)
        both = time.process_time() - started
        return {
            kind: Fit(
                predicted=np.asarray(model.predict(inputs["judged"], num_threads=1), np.float32),
                seconds=seconds,
            )
            for kind, model, seconds in (("train", chosen, first), ("all", final, both))
        }

    def losses(self, model: str, kind: str) -> "np.ndarray":
        """(seeds, N) log loss of each judged row."""
        return _stack(self._target_losses(p) for p in self._predictions(model, kind))

    def scores(self, model: str, kind: str) -> tuple[float, float, float]:
        """Log loss, AUC and seconds, each the mean over the seeds."""
        import numpy as np

        from refit.evaluation.bootstrap import score
        from refit.tasks.catalog import find as find_task

        target = self._target()
        auc = [
            score(find_task("binary"), target, p.astype(float))["roc_auc"] or 0.0
            for p in self._predictions(model, kind)
        ]
        seconds = [
            json.loads(path.read_text())[kind] for path in self.folder.glob(f"{model}-*.json")
        ]
        loss = float(self.losses(model, kind).mean())
        return loss, float(np.mean(auc)), float(np.mean(seconds))

    def days(self) -> "np.ndarray":
        """(N,) the number of each judged row's day."""
        from refit.dataset import roles as roles_of
        from refit.evaluation.time_blocks import block_codes

        return block_codes(self.rows["judged"][roles_of("flights").time], "1d")

    def _predictions(self, model: str, kind: str) -> "list[np.ndarray]":
        import numpy as np

        return [np.load(path) for path in sorted(self.folder.glob(f"{model}-*-{kind}.npy"))]

    def _target(self) -> "np.ndarray":
        from refit.dataset import roles as roles_of

        return self.rows["judged"][roles_of("flights").target].to_numpy().astype(float)

    def _target_losses(self, predicted: "np.ndarray") -> "np.ndarray":
        from refit.tasks.catalog import find as find_task

        return find_task("binary").row_loss("log_loss", self._target(), predicted.astype(float))


def _stack(rows: "Iterator[np.ndarray]") -> "np.ndarray":
    import numpy as np

    return np.stack(list(rows))


def gain(splits: list[Split], better: tuple[str, str], worse: tuple[str, str]) -> "Comparison":
    """How much lower the mean loss of the first model is, each split with the same weight."""
    import numpy as np

    from refit.evaluation.paired_bootstrap import paired

    first: list[np.ndarray] = []
    second: list[np.ndarray] = []
    days: list[np.ndarray] = []
    total = sum(split.rows["judged"].height for split in splits)
    for split in splits:
        weight = total / (len(splits) * split.rows["judged"].height)
        first.append(split.losses(*better) * weight)
        second.append(split.losses(*worse) * weight)
        days.append(split.days() + (days[-1].max() + 1 if days else 0))
    each, rival = np.concatenate(first, axis=1), np.concatenate(second, axis=1)
    noise = np.hypot(_error(each.mean(axis=1)), _error(rival.mean(axis=1)))
    return paired(
        each.mean(axis=0),
        rival.mean(axis=0),
        np.concatenate(days),
        resamples=RESAMPLES,
        confidence=CONFIDENCE,
        seed=2013,
        noise=float(noise),
    )


def _error(by_seed: "np.ndarray") -> float:
    """The standard error of a mean over seeds; 0 with one seed."""
    return float(by_seed.std(ddof=1) / len(by_seed) ** 0.5) if len(by_seed) > 1 else 0.0


def _print(splits: list[Split]) -> None:
    models = [(model, kind) for kind in ("train", "all") for model in ("network", "lightgbm")]
    titles = " | ".join(f"{model}, {kind}" for model, kind in models)
    print(f"Log loss / AUC / seconds\n\n| Judged | {titles} | gain, train | gain, all |")
    print("| --- |" + " ---: |" * 6)
    for name, group in [*((split.name, [split]) for split in splits), ("mean", splits)]:
        cells = []
        for each in models:
            scores = [split.scores(*each) for split in group]
            loss, auc, seconds = (sum(part) / len(group) for part in zip(*scores, strict=True))
            cells.append(f"{loss:.5f} / {auc:.4f} / {seconds:.1f}")
        cells += [
            _interval(gain(group, ("network", kind), ("lightgbm", kind)))
            for kind in ("train", "all")
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    print("\nGain of training through the validation month, mean of the splits:\n")
    for model in ("network", "lightgbm"):
        print(f"- {model}: {_interval(gain(splits, (model, 'all'), (model, 'train')))}")


def _interval(comparison: "Comparison") -> str:
    return f"{comparison.difference:.5f} [{comparison.lower:.5f}, {comparison.upper:.5f}]"


if __name__ == "__main__":
    main()
