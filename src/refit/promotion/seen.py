"""Which rows a model has learnt from: the partitions that its version's lineage names.

Training rows shaped its weights, validation rows chose its epoch and its thresholds; a comparison
on either flatters it.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from refit.dataset import REFERENCE

LEARNT_FROM = ("train", "validation")


def trained_on(lineage: Mapping[str, Any]) -> frozenset[str] | None:
    """The partitions behind a version, or None where its lineage does not say.

    A version that was registered before lineages named them is asked for its raw partitions and
    the windows of its parameters, which say the same.
    """
    if "partitions" in lineage:
        parts = lineage["partitions"]
        return frozenset(name for part in LEARNT_FROM for name in parts.get(part, ()))
    windows = lineage.get("params", {}).get("preprocess", {})
    if "data" not in lineage or "holdout_partitions" not in windows:
        return None
    names = sorted({PurePosixPath(path).stem for path in lineage["data"]} - {REFERENCE})
    kept = names[: len(names) - windows["holdout_partitions"]]
    learnt = windows["train_partitions"] + windows["validation_partitions"]
    return frozenset(kept[-learnt:] if windows["train_partitions"] else kept)
