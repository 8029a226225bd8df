"""The inputs that a bundle was made of, as digests, without dates or names."""

import importlib.metadata
from pathlib import Path
from typing import Any

import polars as pl

from refit.core import files
from refit.dataset import PARTITION
from refit.serving.digest import MODEL, TWIN

PACKAGES = ("torch", "numpy", "polars", "pandera", "scikit-learn", "onnx", "onnxruntime", "dvc")
EVERY_PART = ("train", "validation", "holdout")


def describe(
    training: dict[str, Any], paths: dict[str, Path], seen: dict[str, list[str]]
) -> dict[str, Any]:
    """lineage.json: the digests of the paths, the training, and the versions of the packages.

    Args:
        training: training.json. With a release fit in it, the parts that each model has learnt from
            are named.
        paths: files and folders to digest, by name.
        seen: the partitions of each part of the split.
    """
    described = {
        "partitions": seen,
        "digests": {name: files.digest(path) for name, path in paths.items()},
        "model": {key: training["model"][key] for key in ("name", "settings")},
        "training": {key: training[key] for key in ("fingerprint", "seed", "final", "determinism")},
        # Without the label of a build: torch 2.13.0+cpu and 2.13.0 compute the same.
        "packages": {name: importlib.metadata.version(name).split("+")[0] for name in PACKAGES},
    }
    if "release" in training:
        described["trained_on"] = {MODEL: list(EVERY_PART), TWIN: training["final"].split("+")}
    return described


def partitions(prepared: Path) -> dict[str, list[str]]:
    """The partitions of each part of the split, from data/prepared."""
    return {
        path.stem: pl.read_parquet(path, columns=[PARTITION], memory_map=False)[PARTITION]
        .unique()
        .sort()
        .to_list()
        for path in sorted(prepared.glob("*.parquet"))
    }
