"""The lineage of a version: what it was made from, and where.

The bundle's own lineage.json is a function of the stage's inputs, as every output of a stage is.
When the version is registered, the rest is added: the commit that holds exactly what ran, the
machine, the durations. All of it is uploaded beside the model as the version's lineage.json.
"""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from refit.core import files, params, paths, timings
from refit.core.errors import DataError
from refit.data import recorded
from refit.dataset import REFERENCE
from refit.evaluation import release
from refit.registry.version import (
    COMMIT,
    GRADE,
    PARTITIONS,
    RELEASE,
    Version,
    partitions_digest,
)
from refit.serving import lineage_schema
from refit.serving.digest import LINEAGE, TWIN, has_twin
from refit.workspace import constraints, git, machine


def collect_lineage(root: Path, dataset: str, digest: str) -> dict[str, Any]:
    """The lineage of the bundle in data/bundle.

    The commit is created if the workspace has changes, and a ref keeps it.

    Args:
        root: of the project, its pipeline up to date.
        dataset: its name.
        digest: of the bundle.
    """
    snapshot = git.snapshot(root)
    bundle = _bundle_lineage(root / paths.BUNDLE)
    loaded = params.load(root / paths.PARAMS)
    return {
        "dataset": dataset,
        "digest": digest,
        "commit": {
            **asdict(snapshot),
            "clean": snapshot.commit == snapshot.parent,
            "ref": git.keep(root, snapshot.commit, _ref_name(dataset, digest, snapshot.commit)),
        },
        "dvc_lock": files.digest(root / paths.DVC_LOCK),
        "params": loaded,
        "seeds": {
            f"{section}.seed": values["seed"]
            for section, values in loaded.items()
            if isinstance(values, dict) and "seed" in values
        },
        "data": _partition_digests(root),
        "partitions": bundle["partitions"],
        "constraints": files.digest(root / paths.CONSTRAINTS),
        "packages": bundle["packages"],
        "packages_not_as_pinned": constraints.differing(root / paths.CONSTRAINTS),
        "python": platform.python_version(),
        "model": bundle["model"],
        "determinism": bundle["training"]["determinism"],
        "training": bundle["training"]["fingerprint"],
        "machine": asdict(machine.this()),
        "seconds": timings.seconds(root),
        "inputs": bundle["digests"],
        **{name: bundle[name] for name in ("trained_on",) if name in bundle},
    }


def _bundle_lineage(folder: Path) -> dict[str, Any]:
    """The bundle's own lineage.

    Raises:
        DataError: it is no lineage, or does not say of a release fit what each model has learnt.
    """
    lineage = lineage_schema.read(folder / LINEAGE, lineage_schema.BUNDLE)
    if has_twin(folder) != ("trained_on" in lineage):
        raise DataError(
            "the lineage does not fit the models of the bundle",
            where=str(folder),
            got=f"{'a' if has_twin(folder) else 'no'} {TWIN}",
            expected="`trained_on` in lineage.json exactly where there is one",
            do="restore the bundle with `dvc checkout`, or run the pipeline",
        )
    return lineage


def lineage_tags(lineage: Mapping[str, Any]) -> dict[str, str]:
    """The main part of a lineage, as tags of the version."""
    data = json.dumps(lineage["data"], sort_keys=True).encode()
    return {
        COMMIT: lineage["commit"]["commit"],
        PARTITIONS: partitions_digest(lineage),
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
        **({RELEASE: "all"} if "trained_on" in lineage else {}),
    }


def lineage_lines(lineage: Mapping[str, Any], version: Version) -> list[str]:
    """A version's lineage as lines for a person."""
    commit, on = lineage["commit"], lineage["machine"]
    parent = (commit["parent"] or "no")[:12]
    origin = "the user's own" if commit["clean"] else f"created on top of {parent}"
    seconds = ", ".join(f"{stage} {value:g} s" for stage, value in lineage["seconds"].items())
    seeds = ", ".join(f"{name} {value}" for name, value in lineage["seeds"].items())
    packages = ", ".join(f"{name} {number}" for name, number in lineage["packages"].items())
    instructions = " ".join(on["instructions"])
    return [
        f"version    {version.number} of {lineage['dataset']}, bundle {lineage['digest'][:12]}",
        f"commit     {commit['commit']} ({origin}), kept as {commit['ref']}",
        f"dvc.lock   {lineage['dvc_lock'][:12]}, constraints {lineage['constraints'][:12]}",
        f"data       {len(lineage['data'])} raw partitions, {_span(lineage['data'])}",
        f"seeds      {seeds}; determinism {lineage['determinism']['level']}",
        f"packages   {packages}, Python {lineage['python']}",
        *_release_lines(lineage),
        *(f"not pinned {phrase}" for phrase in lineage["packages_not_as_pinned"]),
        f"machine    {on['processor']} ({on['vendor']}), {instructions}, {on['libc']}",
        f"MLflow run {lineage['run']}",
        f"took       {seconds or 'unknown: its stages were restored'}",
        f"grade      {version.tags.get(GRADE) or 'none yet: `refit reproduce` measures one'}",
    ]


def _release_lines(lineage: Mapping[str, Any]) -> list[str]:
    if "trained_on" not in lineage:
        return []
    return [f"live       {release.HOW}", f"trained on {trained_on(lineage)}"]


def trained_on(lineage: Mapping[str, Any]) -> str:
    """The parts that each model of a release fit has learnt from, in words."""
    models = lineage["trained_on"].items()
    return "; ".join(f"{name}: {', '.join(parts)}" for name, parts in models)


def _ref_name(dataset: str, digest: str, commit: str) -> str:
    """One ref for each commit that made the model, so that no ref is ever moved."""
    return f"{dataset}/{digest[:12]}-{commit[:12]}"


def _partition_digests(root: Path) -> dict[str, str]:
    """SHA-256 of each raw partition, by its path below data/raw.

    Raises:
        DataError: a file is not what DVC has recorded.
    """
    raw, record = root / paths.RAW, recorded.raw_rows(root)
    if record is not None:
        record.require_files(record.below(paths.RAW))
    return {
        path.relative_to(raw).as_posix(): files.digest(path)
        for path in sorted(raw.rglob("*.parquet"))
    }


def _span(data: Mapping[str, str]) -> str:
    """The first and the last partition."""
    names = sorted(Path(path).stem for path in data if Path(path).stem != REFERENCE)
    return f"{names[0]} to {names[-1]}" if names else "reference tables only"
