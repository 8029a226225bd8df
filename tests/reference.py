"""The digests of a small pipeline, kept in Git: `make reference` updates them after an upgrade.

The pipeline of the dataset `pumps` is computed from scratch. A stage whose bytes are not those of
tests/reference.json has moved; how far its predictions moved is printed before the file is written.
Only results count: names of runs and digests of code do not.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from refit.core import files
from refit.serving.digest import identity

HERE = Path(__file__).resolve().parent
KEPT = HERE / "reference.json"
PREDICTIONS = Path("data/evaluation/predictions.parquet")
MODELS = ("network", "linear", "boosted")
DIGITS = 6
"""Digits of the stored predictions, which measure how far something moved, not whether."""
ROWS = 100


def digests(root: Path) -> dict[str, str]:
    """A digest for each stage's result, in the order of the stages."""
    return {
        "validate": files.digest(root / "data/validated"),
        "preprocess": files.digest(root / "data/prepared"),
        "baseline": files.digest(root / "data/baseline"),
        "train": files.digest(root / "data/model/weights.safetensors"),
        "evaluate": files.digest(root / "data/evaluation"),
        "bundle": identity(root / "data/bundle"),
    }


def predictions(root: Path) -> dict[str, list[float]]:
    """The first predictions of each model on the holdout."""
    table = files.read_parquet(root / PREDICTIONS).head(ROWS)
    return {model: [round(value, DIGITS) for value in table[model].to_list()] for model in MODELS}


def moved(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """The stages whose bytes are not the old ones."""
    return [stage for stage, digest in new.items() if old.get(stage) != digest]


def far(old: dict[str, list[float]], new: dict[str, list[float]]) -> list[str]:
    """How far each model's predictions moved, a sentence for each."""
    both = [model for model in new if len(old.get(model, [])) == len(new[model])]
    largest = {model: np.abs(np.subtract(new[model], old[model])).max() for model in both}
    return [f"{model}: predictions moved by at most {by:.2g}" for model, by in largest.items()]


def main() -> None:
    """Compute the pipeline from scratch, print what moved, and write the new reference."""
    sys.path.insert(0, str(HERE.parent))
    from tests.conftest import make_project

    old = files.read_json(KEPT) if KEPT.exists() else {"digests": {}, "predictions": {}}
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder) / "pumps", "pumps")
        project.call("dvc", "repro")
        new = {"digests": digests(project.root), "predictions": predictions(project.root)}
    stages = moved(old["digests"], new["digests"])
    print("\n".join(f"{stage} moved" for stage in stages) or "nothing moved")
    if stages:
        print("\n".join(far(old["predictions"], new["predictions"])))
        files.write_json(KEPT, new)
        print(f"wrote {KEPT.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
