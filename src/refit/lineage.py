"""What a bundle was made of, as digests: a function of its inputs, without dates or names."""

import importlib.metadata
from pathlib import Path
from typing import Any

from refit.core import files

PACKAGES = ("torch", "numpy", "polars", "pandera", "scikit-learn", "onnx", "onnxruntime", "dvc")


def describe(training: dict[str, Any], paths: dict[str, Path]) -> dict[str, Any]:
    """Digests of the named paths, the training's own account, and the versions that were used."""
    return {
        "digests": {name: files.digest(path) for name, path in paths.items()},
        "training": {
            key: training[key] for key in ("fingerprint", "settings", "determinism", "best_epoch")
        },
        # Without a build's label: torch 2.13.0+cpu and 2.13.0 compute the same.
        "packages": {name: importlib.metadata.version(name).split("+")[0] for name in PACKAGES},
    }
