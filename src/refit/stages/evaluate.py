"""Stage `evaluate`: data/prepared, data/model, data/baseline -> data/evaluation and data/bundle."""

import shutil

import numpy as np
import polars as pl

from refit.core import files, params, paths
from refit.core.errors import TrainingError
from refit.data import prepared
from refit.dataset import Roles
from refit.evaluation import curves, time_blocks
from refit.evaluation import report as evaluation
from refit.evaluation.report import EvaluateParams, Judged
from refit.models import weights
from refit.models.network import Network
from refit.serving import bundle, export
from refit.serving.lineage import describe, partitions
from refit.training.inference import predict

TOLERANCE = 1e-5
"""Largest difference allowed between the bundle's predictions and the network's."""


def main() -> None:
    """Judge network and baselines on the holdout, write the bundle, and hold the two equal."""
    settings = params.read(EvaluateParams, "evaluate")
    roles, encoder = prepared.read_description(paths.PREPARED)
    network, training = weights.read(paths.MODEL)
    validation = _judged("validation", roles, network)
    holdout = _judged("holdout", roles, network)
    examples = prepared.read_examples(paths.PREPARED, "holdout")
    days = time_blocks.block_codes(examples[roles.time], settings.block)
    thresholds = evaluation.thresholds(roles, validation)

    for folder in (paths.EVALUATION, paths.BUNDLE):
        shutil.rmtree(folder, ignore_errors=True)
    signature = export.signature(roles, encoder, thresholds)
    lineage = describe(
        training,
        {
            "prepared": paths.PREPARED,
            "model": paths.MODEL,
            "constraints": paths.CONSTRAINTS,
        },
        partitions(paths.PREPARED),
    )
    bundle.write(paths.BUNDLE, export.to_onnx(network, encoder, roles.task), signature, lineage)
    _require_equal(examples, holdout.predictions["network"])

    report = evaluation.report(roles, holdout, days, thresholds, settings)
    files.write_json(paths.METRICS, files.rounded(report))
    slices = evaluation.slices(roles, examples, holdout, days, settings)
    files.write_json(paths.SLICES, files.rounded(slices))
    for name, rows in curves.plots(
        roles.task, encoder.classes, holdout.target, holdout.predictions["network"], thresholds
    ).items():
        files.write_text(paths.PLOTS / f"{name}.csv", rows.write_csv())
    context = examples.select(*dict.fromkeys((*roles.key, roles.time, "partition", *roles.slices)))
    files.write_parquet(
        context.with_columns(
            pl.Series("block", days),
            pl.Series("target", holdout.target),
            **evaluation.prediction_columns(holdout.predictions, encoder.classes),
        ),
        paths.PREDICTIONS,
    )
    print(evaluation.summary(report))


def _judged(part: str, roles: Roles, network: Network) -> Judged:
    arrays = prepared.map_part(paths.PREPARED, part)
    predictions = {"network": predict(network, roles.task, arrays).astype(np.float64)}
    for path in sorted((paths.BASELINE / part).glob("*.npy")):
        predictions[path.stem] = np.array(files.map_array(path), dtype=np.float64)
    return Judged(target=np.array(arrays.target), predictions=predictions)


def _require_equal(examples: pl.DataFrame, expected: np.ndarray) -> None:
    """Every holdout row through the bundle, from its raw columns, against the network's answer."""
    got = bundle.load(paths.BUNDLE).predict(examples)
    scale = np.maximum(np.abs(expected), 1)
    worst = float(np.max(np.abs(got - expected) / scale))
    if not worst <= TOLERANCE:
        raise TrainingError(
            "the bundle does not predict what the network predicts",
            where=f"{paths.BUNDLE}, {len(expected):,} holdout rows",
            got=f"a largest difference of {worst:.3g}",
            expected=f"at most {TOLERANCE:g}",
            do="compare how refit.serving.export and the model compute it",
        )
    print(f"bundle equals the network on {len(expected):,} rows (largest difference {worst:.1g})")
