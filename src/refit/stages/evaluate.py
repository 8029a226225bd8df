"""Stage `evaluate`: data/prepared, data/model, data/baseline -> data/evaluation and data/bundle."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl

from refit import blocks, bundle, curves, evaluate, export, prepared, weights
from refit.core import files, params
from refit.core.errors import TrainingError
from refit.dataset import Roles
from refit.evaluate import EvaluateParams, Judged
from refit.inference import predict
from refit.lineage import describe, partitions
from refit.model import Network

BASELINE = Path("data/baseline")
EVALUATION = Path("data/evaluation")
TOLERANCE = 1e-5
"""Largest difference allowed between the bundle's predictions and the network's."""


def main() -> None:
    """Judge network and baselines on the holdout, write the bundle, and hold the two equal."""
    settings = params.read(EvaluateParams, "evaluate")
    roles, encoder = prepared.read_description(prepared.PREPARED)
    network, training = weights.read(weights.MODEL)
    validation = _judged("validation", roles, network)
    holdout = _judged("holdout", roles, network)
    examples = prepared.read_examples(prepared.PREPARED, "holdout")
    days = blocks.block_codes(examples[roles.time], settings.block)
    thresholds = evaluate.thresholds(roles, validation)

    for folder in (EVALUATION, bundle.BUNDLE):
        shutil.rmtree(folder, ignore_errors=True)
    signature = export.signature(roles, encoder, thresholds)
    lineage = describe(
        training,
        {
            "prepared": prepared.PREPARED,
            "model": weights.MODEL,
            "constraints": Path("constraints.txt"),
        },
        partitions(prepared.PREPARED),
    )
    bundle.write(bundle.BUNDLE, export.to_onnx(network, encoder, roles.task), signature, lineage)
    _require_equal(examples, holdout.predictions["network"])

    report = evaluate.report(roles, holdout, days, thresholds, settings)
    files.write_json(EVALUATION / "metrics.json", files.rounded(report))
    slices = evaluate.slices(roles, examples, holdout, days, settings)
    files.write_json(EVALUATION / "slices.json", files.rounded(slices))
    for name, rows in curves.plots(
        roles.task, encoder.classes, holdout.target, holdout.predictions["network"], thresholds
    ).items():
        files.write_text(EVALUATION / "plots" / f"{name}.csv", rows.write_csv())
    context = examples.select(*dict.fromkeys((*roles.key, roles.time, "partition", *roles.slices)))
    files.write_parquet(
        context.with_columns(
            pl.Series("block", days),
            pl.Series("target", holdout.target),
            **evaluate.prediction_columns(holdout.predictions, encoder.classes),
        ),
        EVALUATION / "predictions.parquet",
    )
    print(evaluate.summary(report))


def _judged(part: str, roles: Roles, network: Network) -> Judged:
    arrays = prepared.map_part(prepared.PREPARED, part)
    predictions = {"network": predict(network, roles.task, arrays).astype(np.float64)}
    for path in sorted((BASELINE / part).glob("*.npy")):
        predictions[path.stem] = np.array(files.map_array(path), dtype=np.float64)
    return Judged(target=np.array(arrays.target), predictions=predictions)


def _require_equal(examples: pl.DataFrame, expected: np.ndarray) -> None:
    """Every holdout row through the bundle, from its raw columns, against the network's answer."""
    got = bundle.load(bundle.BUNDLE).predict(examples)
    scale = np.maximum(np.abs(expected), 1)
    worst = float(np.max(np.abs(got - expected) / scale))
    if not worst <= TOLERANCE:
        raise TrainingError(
            "the bundle does not predict what the network predicts",
            where=f"{bundle.BUNDLE}, {len(expected):,} holdout rows",
            got=f"a largest difference of {worst:.3g}",
            expected=f"at most {TOLERANCE:g}",
            do="refit.graph and refit.model or refit.encode have come apart: compare them",
        )
    print(f"bundle equals the network on {len(expected):,} rows (largest difference {worst:.1g})")
