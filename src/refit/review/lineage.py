"""Where a version came from, whether it was reproduced, and how long its stages took."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from refit.dataset import REFERENCE
from refit.registry.version import DIFFERS, GRADE, REPRODUCED, Version
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
    lines = []
    for tag, text in sorted(version.tags.items()):
        if tag.startswith(REPRODUCED):
            record = json.loads(text)
            lines.append(
                f"the same bytes at grade {tag.removeprefix(REPRODUCED)} on {record['at']}"
                f" ({record['machine']['processor']})",
            )
        elif tag == DIFFERS:
            record = json.loads(text)
            lines.append(f"different bytes on {record['at']}, first in {record['path']}")
    return tuple(lines)


def grade(version: Version) -> str:
    """The grade of reproducibility, or that none was measured."""
    return version.tags.get(GRADE) or UNGRADED


def terms(version: StoredVersion) -> tuple[tuple[str, str], ...]:
    """Where the version came from: terms with their values."""
    registered = version.version
    rows = [
        ("Registered", _moment(registered.created)),
        ("Bundle", registered.digest),
        ("MLflow run", registered.run),
    ]
    if version.lineage is not None:
        rows += _recorded(version.lineage)
    if version.others:
        rows.append(("Beside the bundle", f"{', '.join(version.others)} (never loaded)"))
    return (*rows, ("Reproducibility", grade(registered)))


def _moment(milliseconds: int) -> str:
    """`2013-11-15 12:00 UTC` of milliseconds since 1970."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _recorded(lineage: Mapping[str, Any]) -> list[tuple[str, str]]:
    commit, machine = lineage["commit"], lineage["machine"]
    parent = (commit["parent"] or "no commit")[:12]
    origin = "the user's own" if commit["clean"] else f"the workspace as it ran, on top of {parent}"
    names = [Path(path).stem for path in lineage["data"]]
    partitions = sorted({name for name in names if name != REFERENCE})
    packages, seeds = lineage["packages"], lineage["seeds"]
    return [
        ("Commit", f"{commit['commit']} ({origin})"),
        ("Kept as", commit["ref"]),
        ("dvc.lock", lineage["dvc_lock"]),
        ("Raw data", f"{len(names)} files, partitions {span(partitions)}"),
        ("Seeds", ", ".join(f"{name} {value}" for name, value in seeds.items())),
        ("Determinism", lineage["determinism"]["level"]),
        ("Packages", ", ".join(f"{name} {number}" for name, number in packages.items())),
        ("Not as pinned", "; ".join(lineage["packages_not_as_pinned"]) or "none"),
        ("Python", lineage["python"]),
        ("Processor", f"{machine['processor']} ({machine['vendor']}), {machine['cores']} cores"),
        ("Instructions", " ".join(machine["instructions"])),
        ("System", f"{machine['system']}, {machine['libc']}"),
    ]
