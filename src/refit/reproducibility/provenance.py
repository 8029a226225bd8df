"""Where a registered version came from: enough to make it again, and to know where it was made.

The bundle's own lineage.json is a function of its inputs alone, as every output of a stage is. What
is added here when the version is registered is of the world: the commit that holds exactly what
ran, the machine, the durations. It is logged beside the model as the version's lineage.json.
"""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from refit.core import files, params, paths, timings
from refit.serving.digest import LINEAGE
from refit.workspace import constraints, git, machine


def describe(root: Path, dataset: str, digest: str) -> dict[str, Any]:
    """The lineage of the bundle in data/bundle; its commit is made if need be, and kept by a ref.

    Args:
        root: of the project, its pipeline up to date.
        dataset: its name.
        digest: of the bundle.
    """
    held = git.snapshot(root)
    bundle = files.read_json(root / paths.BUNDLE / LINEAGE)
    loaded = params.load(root / paths.PARAMS)
    return {
        "dataset": dataset,
        "digest": digest,
        "commit": {
            **asdict(held),
            "clean": held.commit == held.parent,
            "ref": git.keep(root, held.commit, _name(dataset, digest, held.commit)),
        },
        "dvc_lock": files.digest(root / paths.DVC_LOCK),
        "params": loaded,
        "seeds": {
            f"{section}.seed": values["seed"]
            for section, values in loaded.items()
            if isinstance(values, dict) and "seed" in values
        },
        "data": partitions(root),
        "partitions": bundle["partitions"],
        "constraints": files.digest(root / paths.CONSTRAINTS),
        "packages": bundle["packages"],
        "packages_not_as_pinned": constraints.differing(root / paths.CONSTRAINTS),
        "python": platform.python_version(),
        "determinism": bundle["training"]["determinism"],
        "model": bundle["model"],
        "training": bundle["training"]["fingerprint"],
        "machine": asdict(machine.this()),
        "seconds": timings.seconds(root),
        "inputs": bundle["digests"],
    }


def _name(dataset: str, digest: str, commit: str) -> str:
    """The ref's name: one for each commit that made the model, so that none is ever moved."""
    return f"{dataset}/{digest[:12]}-{commit[:12]}"


def partitions(root: Path) -> dict[str, str]:
    """SHA-256 of each raw partition, by its path below data/raw."""
    raw = root / paths.RAW
    return {
        path.relative_to(raw).as_posix(): files.digest(path)
        for path in sorted(raw.rglob("*.parquet"))
    }


def tags(lineage: Mapping[str, Any]) -> dict[str, str]:
    """The lineage in brief, as tags of the version."""
    data = json.dumps(lineage["data"], sort_keys=True).encode()
    return {
        "refit.commit": lineage["commit"]["commit"],
        "refit.ref": lineage["commit"]["ref"],
        "refit.dvc_lock": lineage["dvc_lock"],
        "refit.data": hashlib.sha256(data).hexdigest(),
        "refit.constraints": lineage["constraints"],
        "refit.python": lineage["python"],
        "refit.torch": lineage["packages"]["torch"],
        "refit.processor": lineage["machine"]["processor"],
        "refit.instructions": " ".join(lineage["machine"]["instructions"]),
        "refit.determinism": lineage["determinism"]["level"],
        "refit.seed": str(lineage["seeds"].get("train.seed", "")),
    }
