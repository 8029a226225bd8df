"""Stage `evaluate`: data/prepared, data/model, data/baseline -> data/evaluation and data/bundle."""

import shutil
from typing import Any

import numpy as np
import polars as pl

from refit.core import files, params, paths
from refit.core.errors import ConfigError, TrainingError
from refit.data import prepared
from refit.data.encoder import Encoder
from refit.dataset import PARTITION, Roles
from refit.evaluation import release as release_fit
from refit.evaluation import report as evaluation
from refit.evaluation.baselines import prediction_name
from refit.evaluation.predictions import (
    TOLERANCE,
    Predictions,
    as_table,
    largest_difference,
    to_columns,
)
from refit.evaluation.report import EvaluateParams
from refit.evaluation.time_blocks import block_codes
from refit.models import catalog
from refit.models.model import Fitted
from refit.serving import bundle, export, lineage
from refit.serving.bundle import Bundle
from refit.serving.digest import has_twin
from refit.tasks.catalog import find as find_task
from refit.tasks.task import Task


def main() -> None:
    """Evaluate candidate and baselines on the holdout, write the bundle, and prove it equal."""
    settings = params.read(EvaluateParams, "evaluate")
    roles, encoder = prepared.read_description(paths.PREPARED)
    training = files.read_json(paths.TRAINING)
    task, chosen = find_task(roles.task), training["model"]
    kind = catalog.find(chosen["name"], training["dataset"])
    model, release, released = kind.load(paths.MODEL, task, chosen), None, None
    if "release" in training:
        release = kind.load(paths.RELEASE, task, training["release"])
        released = _predict_release(task, release)
    holdout = _predict(chosen["name"], model, encoder)
    examples = prepared.read_examples(paths.PREPARED, "holdout")
    blocks = block_codes(examples[roles.time], settings.block)
    thresholds = _thresholds(task)
    for folder in (paths.EVALUATION, paths.BUNDLE):
        shutil.rmtree(folder, ignore_errors=True)
    _write_bundle(model, release, roles, encoder, thresholds=thresholds, training=training)
    written, described = bundle.load(paths.BUNDLE), None
    _require_equal(written.evaluated, examples, holdout.models[holdout.candidate])
    if released is not None:
        _require_equal(written, examples, released["holdout"])
        described = _write_release(model, released, encoder)
    _write_evaluation(
        task,
        roles,
        examples,
        holdout=holdout,
        blocks=blocks,
        thresholds=thresholds,
        settings=settings,
        release=described,
    )


def _thresholds(task: Task) -> dict[str, float]:
    """Chosen on the validation part, from predictions of the model that had not seen it."""
    target = np.array(prepared.map_part(paths.PREPARED, "validation").target)
    predictions = files.map_array(paths.VALIDATION_PREDICTIONS).astype(np.float64)
    return task.thresholds(target, predictions)


def _predict(candidate: str, model: Fitted, encoder: Encoder) -> Predictions:
    """What candidate and baselines predict for the holdout."""
    arrays = prepared.map_part(paths.PREPARED, "holdout")
    models = {candidate: model.predict(arrays).astype(np.float64)}
    for path in sorted((paths.BASELINE / "holdout").glob("*.npy")):
        stored = np.array(files.map_array(path), dtype=np.float64)
        models[prediction_name(path.stem, candidate)] = stored
    return Predictions(
        target=np.array(arrays.target),
        candidate=candidate,
        models=models,
        classes=encoder.classes,
    )


def _write_bundle(
    model: Fitted,
    release: Fitted | None,
    roles: Roles,
    encoder: Encoder,
    *,
    thresholds: dict[str, float],
    training: dict[str, Any],
) -> None:
    """Write the bundle; where there is a release fit, it goes live and the model is its twin."""
    made_of = {
        "prepared": paths.PREPARED,
        "model": paths.MODEL,
        "constraints": paths.CONSTRAINTS,
    }
    bundle.write(
        paths.BUNDLE,
        export.to_onnx(release or model, encoder),
        export.signature(roles, encoder, thresholds),
        lineage.describe(training, made_of, lineage.partitions(paths.PREPARED)),
        twin=export.to_onnx(model, encoder) if release else None,
    )


def _predict_release(task: Task, release: Fitted) -> dict[str, np.ndarray]:
    """What the release fit predicts for validation and holdout, by part; it has learnt both."""
    predicted = {}
    for part in ("validation", "holdout"):
        predicted[part] = release.predict(prepared.map_part(paths.PREPARED, part))
        _require_possible(task, predicted[part], part)
    return predicted


def _write_release(
    twin: Fitted, released: dict[str, np.ndarray], encoder: Encoder
) -> dict[str, Any]:
    """Write the release fit's predictions of the holdout.

    Returns:
        What the report says of it: that its twin is evaluated, and how far the two are apart.
    """
    columns = to_columns(release_fit.NAME, released["holdout"], encoder.classes)
    files.write_parquet(pl.DataFrame(columns), paths.RELEASE_PREDICTIONS)
    distances = {
        part: release_fit.distance(twin.predict(prepared.map_part(paths.PREPARED, part)), predicted)
        for part, predicted in released.items()
    }
    print(f"{release_fit.sentence()} {release_fit.distance_words(distances['holdout'])}")
    return {"statement": release_fit.sentence(), "distance": distances}


def _require_possible(task: Task, predicted: np.ndarray, part: str) -> None:
    """Raise TrainingError if the release fit, which nobody evaluates, predicts the impossible."""
    wrong = int((~task.in_range(as_table(predicted))).sum())
    if wrong:
        raise TrainingError(
            "the release fit predicts what cannot be",
            where=f"{paths.RELEASE}, {len(predicted):,} {part} rows",
            got=f"{wrong:,} predictions that are not finite {task.predictions}",
            expected="none",
            do="look at the training's log, or set `train.release: none` in params.yaml",
        )


def _require_equal(model: Bundle, examples: pl.DataFrame, expected: np.ndarray) -> None:
    """Every holdout row through the bundle, from its raw columns, against the model's answer."""
    got = model.predict(examples)
    largest = largest_difference(got, expected)
    if not largest <= TOLERANCE:
        raise TrainingError(
            "the bundle does not predict what the model predicts",
            where=f"{model.path}, {len(expected):,} holdout rows",
            got=f"a largest difference of {largest:.3g}",
            expected=f"at most {TOLERANCE:g}",
            do="compare the model's `to_onnx` with its `predict`",
        )
    name = model.file if has_twin(model.folder) else "bundle"
    print(f"{name} equals the model on {len(expected):,} rows (largest difference {largest:.1g})")


def _write_evaluation(
    task: Task,
    roles: Roles,
    examples: pl.DataFrame,
    *,
    holdout: Predictions,
    blocks: np.ndarray,
    thresholds: dict[str, float],
    settings: EvaluateParams,
    release: dict[str, Any] | None,
) -> None:
    report = evaluation.report(task, holdout, blocks, thresholds, settings)
    if release is not None:
        report["release"] = release
    files.write_json(paths.METRICS, files.rounded(report))
    labels = {name: examples[name] for name in roles.slices}
    slices = evaluation.slices(task, holdout, blocks, settings, labels=labels)
    files.write_json(paths.SLICES, files.rounded(slices))
    candidate = holdout.models[holdout.candidate]
    plots = task.plots(holdout.classes, holdout.target, candidate, thresholds)
    for name, rows in plots.items():
        files.write_text(paths.PLOTS / f"{name}.csv", rows.write_csv())
    context = examples.select(*dict.fromkeys((*roles.key, roles.time, PARTITION, *roles.slices)))
    added = [pl.Series("block", blocks), pl.Series("target", holdout.target), *holdout.columns()]
    _require_other_names(context.columns, [column.name for column in added])
    files.write_parquet(context.with_columns(added), paths.PREDICTIONS)
    print(evaluation.summary(report))


def _require_other_names(columns: list[str], added: list[str]) -> None:
    """Raise ConfigError if a column would be replaced by one of the predictions."""
    taken = sorted(set(columns) & set(added))
    if taken:
        raise ConfigError(
            "a key, time or slice column has the name of a column of predictions",
            where=str(paths.PREDICTIONS),
            got=", ".join(taken),
            expected=f"other names than {', '.join(added)}",
            do="rename the column in the dataset's `build` and ROLES",
        )
