"""Where a version came from, whether it was reproduced, and how long its stages took."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refit.dataset import REFERENCE
from refit.registry.version import DIFFERS, GRADE, REPRODUCED, Version
from refit.reproducibility.lineage import trained_on
from refit.review.formatting import span
from refit.review.stored import StoredVersion

UNGRADED = "not measured yet"


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of a stage; None if its result was restored from the cache."""

    stage: str
    version: float | None
    rival: float | None


def timings(version: StoredVersion, rival: StoredVersion | None) -> tuple[Timing, ...]:
    """Seconds of each stage, from the lineages."""
    ours, theirs = _seconds(version), _seconds(rival) if rival else {}
    return tuple(
        Timing(stage=stage, version=ours.get(stage), rival=theirs.get(stage))
        for stage in dict.fromkeys([*ours, *theirs])
    )


def _seconds(version: StoredVersion) -> Mapping[str, float]:
    seconds: Mapping[str, float] = version.lineage["seconds"] if version.lineage else {}
    return seconds


def reproductions(version: Version) -> tuple[str, ...]:
    """When and where the version was reproduced, and the result."""
    return tuple(
        _reproduction(tag, text)
        for tag, text in sorted(version.tags.items())
        if tag.startswith(REPRODUCED) or tag == DIFFERS
    )


def _reproduction(tag: str, text: str) -> str:
    reached = tag.removeprefix(REPRODUCED)
    try:
        record = json.loads(text)
        if tag == DIFFERS:
            return f"different bytes on {record['at']}, first in {record['path']}"
        at, where = record["at"], record["machine"]["processor"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return f"the record {tag} was changed by hand: it cannot be read"
    return f"the same bytes at grade {reached} on {at} ({where})"


def grade(version: Version) -> str:
    """The grade of reproducibility, or that none was measured."""
    return version.tags.get(GRADE) or UNGRADED


def terms(version: StoredVersion) -> tuple[tuple[str, str], ...]:
    """Where the version came from: terms with their values."""
    registered = version.version
    rows = [
        ("Registered", registered.registered),
        ("Bundle", registered.digest),
        ("MLflow run", registered.run),
    ]
    if version.lineage is not None:
        rows += _recorded(version.lineage)
    if version.others:
        rows.append(("Beside the bundle", f"{', '.join(version.others)} (never loaded)"))
    return (*rows, ("Reproducibility", grade(registered)))


def _recorded(lineage: Mapping[str, Any]) -> list[tuple[str, str]]:
    commit, machine = lineage["commit"], lineage["machine"]
    parent = (commit["parent"] or "no commit")[:12]
    origin = "the user's own" if commit["clean"] else f"the workspace as it ran, on top of {parent}"
    names = [Path(path).stem for path in lineage["data"]]
    partitions = sorted({name for name in names if name != REFERENCE})
    packages, seeds = lineage["packages"], lineage["seeds"]
    learnt = [("Trained on", trained_on(lineage))] if "trained_on" in lineage else []
    return [
        ("Commit", f"{commit['commit']} ({origin})"),
        ("Kept as", commit["ref"]),
        ("dvc.lock", lineage["dvc_lock"]),
        ("Raw data", f"{len(names)} files, partitions {span(partitions)}"),
        *learnt,
        ("Seeds", ", ".join(f"{name} {value}" for name, value in seeds.items())),
        ("Determinism", lineage["determinism"]["level"]),
        ("Packages", ", ".join(f"{name} {number}" for name, number in packages.items())),
        ("Not as pinned", "; ".join(lineage["packages_not_as_pinned"]) or "none"),
        ("Python", lineage["python"]),
        ("Processor", f"{machine['processor']} ({machine['vendor']}), {machine['cores']} cores"),
        ("Instructions", " ".join(machine["instructions"])),
        ("System", f"{machine['system']}, {machine['libc']}"),
    ]
