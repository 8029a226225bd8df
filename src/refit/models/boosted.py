"""Gradient-boosted trees: LightGBM on the encoded features, categories as categories.

LightGBM (Ke et al., "LightGBM: A Highly Efficient Gradient Boosting Decision Tree", 2017) runs with
its deterministic settings, so the trees do not depend on the number of threads. That they are the
same on processors of other makers has not been measured, so no more than `threads` is promised.
The model is saved in LightGBM's text format, which is data. A stopped fit starts again: it has no
checkpoints, and takes seconds.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refit.core import files
from refit.core.determinism import Level, at_most
from refit.core.errors import DataError
from refit.core.params import param
from refit.data.prepared import Arrays
from refit.models import trees
from refit.models.model import Data, Session
from refit.tasks.task import Task
from refit.training.stop_signals import Stopped

if TYPE_CHECKING:
    from lightgbm import Booster
    from lightgbm.callback import CallbackEnv
    from onnx import ModelProto

    from refit.serving.onnx_encoder import Features
    from refit.serving.onnx_graph import Graph

TREES = "trees.txt"
THRESHOLD = "threshold="
"""How the line of a tree begins that holds its thresholds."""
CONVERTER_OPSET = 15
"""The newest operator set that the converter knows; the nodes it uses mean the same in ours."""


@dataclass(frozen=True, kw_only=True)
class BoostedParams:
    """Section `boosted` of params.yaml."""

    rounds: int = param("boosting rounds, at most", minimum=1, maximum=100_000)
    patience: int = param(
        "rounds without a better validation loss before stopping", minimum=1, maximum=100_000
    )
    learning_rate: float = param("shrinkage of each tree", minimum=1e-4, maximum=1)
    leaves: int = param("leaves of a tree, at most", minimum=2, maximum=131_072)
    leaf_rows: int = param("training rows of a leaf, at least", minimum=1)
    ridge: float = param("L2 penalty on the values of leaves", minimum=0, maximum=1e9)


@dataclass(frozen=True, kw_only=True)
class FittedTrees:
    """Fitted trees."""

    text: str
    """In LightGBM's format."""
    settings: BoostedParams
    level: Level
    history: list[dict[str, float]]
    """The validation loss of every tenth round."""

    @cached_property
    def booster(self) -> "Booster":
        """The trees, ready to predict."""
        import lightgbm

        return lightgbm.Booster(model_str=self.text)

    @property
    def length(self) -> int:
        """The trees, or those of each class."""
        return self.booster.current_iteration()

    def predict(self, arrays: Arrays) -> np.ndarray:
        """(N,) or (N, K) float32."""
        predicted = self.booster.predict(trees.rows(arrays), num_threads=1)
        return np.asarray(predicted).astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write trees.txt."""
        files.write_text(folder / TREES, self.text)

    def describe(self) -> dict[str, Any]:
        """The digest of the trees, their parameters and level, and the validation losses."""
        return {
            "level": self.level,
            "trees": _digest(self.text),
            "settings": asdict(self.settings),
            "best_round": self.length,
            "history": files.rounded(self.history),
        }

    def to_onnx(self, graph: "Graph", features: "Features") -> str:
        """The encoded features as one matrix, then the converted trees."""
        from onnx import TensorProto

        parts = [features.numbers()]
        if features.encoder.categorical:
            parts.append(graph.to_float(features.code_matrix()))
        rows = graph.add("Concat", *parts, axis=1)
        converted = _convert(self.booster)
        outputs = graph.embed(converted, {converted.graph.input[0].name: rows})
        prediction = outputs[-1]
        if len(outputs) == 1:  # of a regression: (rows, 1)
            return graph.add("Squeeze", prediction, graph.constant([1]))
        if features.encoder.classes:
            return graph.cast(prediction, TensorProto.FLOAT)
        return graph.add("Gather", prediction, graph.constant(np.array(1, np.int64)), axis=1)


class BoostedModel:
    """`train.model: boosted`."""

    name = "boosted"
    params = BoostedParams

    def fit(
        self,
        data: Data,
        settings: BoostedParams,
        session: Session,
        *,
        length: int | None = None,
    ) -> FittedTrees:
        """Boost until the validation loss stops falling, or for the given number of rounds."""
        history: list[dict[str, float]] = []

        def report(environment: "CallbackEnv") -> None:
            for result in (environment.evaluation_result_list or [])[:1]:
                round_, loss = environment.iteration + 1, float(result[2])
                history.append({"round": round_, "validation_loss": loss})
                session.log({"validation_loss": loss}, round_)
            signal = session.stop()
            if signal is not None:
                raise Stopped(signal, 0)

        booster = trees.boost(
            data,
            _options(settings),
            rounds=length or settings.rounds,
            patience=None if length else settings.patience,
            seed=session.seed,
            threads=session.threads,
            callbacks=(report,),
        )
        best = length or booster.best_iteration
        if length is None:
            print(f"round {best} of {len(history)} has the best validation loss", flush=True)
        return FittedTrees(
            text=_single_precision(booster.model_to_string(num_iteration=best)),
            settings=settings,
            level=at_most(session.level, "threads"),
            history=history[9::10],
        )

    def load(self, folder: Path, task: Task, description: Mapping[str, Any]) -> FittedTrees:
        """The trees that `save` and `describe` left."""
        del task
        text = _read(folder / TREES, description["trees"])
        return FittedTrees(
            text=text,
            settings=BoostedParams(**description["settings"]),
            level=description["level"],
            history=description["history"],
        )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path, digest: str) -> str:
    """The trees of that digest. LightGBM itself takes a truncated text for fewer trees."""
    try:
        text = path.read_text(encoding="utf-8")
        problem = "" if _digest(text) == digest else "another text than the one that was saved"
    except (OSError, UnicodeDecodeError) as error:
        text, problem = "", str(error)
    if problem:
        raise DataError(
            "the trees cannot be read",
            where=str(path),
            got=problem,
            do="restore them with `dvc checkout`, or train again",
        )
    return text


def _options(settings: BoostedParams) -> dict[str, Any]:
    return {
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": settings.leaf_rows,
        "lambda_l2": settings.ridge,
    }


def _single_precision(text: str) -> str:
    """The trees with each threshold rounded down to float32.

    A float32 value is at most t exactly when it is at most t rounded down, so no row changes its
    leaf; the converter would round to the nearest, which can move a row that lies on a threshold.
    The settings that are listed after the trees do not belong to the model and name the threads.
    """
    lines = text[: text.index("\nparameters:")].split("\n")
    # The sizes are of the old text. Without them, LightGBM looks for the beginning of each tree.
    return "\n".join(
        _rounded_down(line) if line.startswith(THRESHOLD) else line
        for line in lines
        if not line.startswith("tree_sizes=")
    )


def _rounded_down(line: str) -> str:
    values = np.array(line.removeprefix(THRESHOLD).split(), np.float64)
    rounded = values.astype(np.float32)
    above = rounded > values
    rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return THRESHOLD + " ".join(map(repr, rounded.astype(np.float64).tolist()))


def _convert(booster: "Booster") -> "ModelProto":
    """The trees as ONNX: one input, (rows, F + C) float."""
    from onnxmltools.convert import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    rows = FloatTensorType([None, booster.num_feature()])
    return convert_lightgbm(
        booster, initial_types=[("rows", rows)], zipmap=False, target_opset=CONVERTER_OPSET
    )
