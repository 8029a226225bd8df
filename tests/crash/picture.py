"""What a project holds after a run: the pictures of equal projects are equal.

MLflow's tables are read directly, because its client takes two seconds to load. Left out are times,
durations, identifiers, and what a killed training may lose by design: the curves of its metrics.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

QUERIES = {
    "versions": "select name, version, status, length(description) > 0 from model_versions",
    "version tags": "select name, version, key, value from model_version_tags"
    " where substr(key, 1, 11) != 'refit.entry' and substr(key, 1, 15) != 'refit.decision.'",
    "marks": "select name, version, key from model_version_tags"
    " where substr(key, 1, 12) = 'refit.entry.'",
    "aliases": "select name, alias, version from registered_model_aliases",
    "runs": "select name, status, lifecycle_stage from runs",
    "run tags": "select r.name, t.key, t.value from tags t join runs r using (run_uuid)"
    " where t.key like 'refit.%'",
    "run params": "select r.name, p.key, p.value from params p join runs r using (run_uuid)",
    "run scores": "select r.name, m.key, m.value, count(*) from metrics m join runs r"
    " using (run_uuid) where m.key like 'holdout.%' group by 1, 2, 3",
    "inputs": "select d.name, d.digest, count(*) from datasets d join inputs i"
    " on i.source_id = d.dataset_uuid group by 1, 2",
}
DECISIONS = "select version, substr(key, 1, 31), value from model_version_tags where substr(key, 1, 15) = 'refit.decision.'"
LEDGER = "select version, value from model_version_tags where key = 'refit.entry' order by version"
TIMES = {"at", "previous"}
"""Fields of an entry that depend on when it was written."""
TIMED = ("decision-", "review-", "model-card-")
"""Beginnings of artifacts that contain times and durations."""
DATABASE = Path(".refit/mlflow.db")


def picture(root: Path) -> dict[str, Any]:
    """What of dvc.lock, the outputs and the registry must be equal."""
    return {
        "dvc.lock": (root / "dvc.lock").read_text(),
        "outputs": digests(root / "data"),
        "artifacts": sorted(_artifacts(root / ".refit/mlartifacts")),
        "decisions": [
            (number, key, _decision(text)) for number, key, text in rows(root, DECISIONS)
        ],
        "ledger": [(number, _entry(root, text)) for number, text in rows(root, LEDGER)],
        "temporary files": sorted(str(path) for path in (root / ".refit").glob("*.part*")),
    } | {name: rows(root, query) for name, query in QUERIES.items()}


def differences(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    """Where two pictures differ, as an assertion's message."""
    texts = []
    for key in (key for key in one if one[key] != two[key]):
        parts = [_parts(each[key]) for each in (one, two)]
        only = [[part for part in parts[i] if part not in parts[1 - i]] for i in (0, 1)]
        texts.append(f"{key}: {only[0]}\n  against {only[1]}")
    return texts


def _parts(value: Any) -> list[Any]:
    if isinstance(value, str):
        return value.splitlines()
    return list(value.items()) if isinstance(value, dict) else value


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file below the folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows(root: Path, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query on the project's MLflow database; none without a database."""
    if not (root / DATABASE).exists():
        return []
    address = f"{(root / DATABASE).as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=30)) as database:
        return sorted(database.execute(query).fetchall(), key=repr)


def damaged(root: Path) -> list[str]:
    """The objects of DVC's cache whose content does not have the digest in their name."""
    objects = [path for path in (root / ".dvc/cache/files/md5").glob("??/*") if path.is_file()]
    return [
        str(path)
        for path in objects
        if hashlib.md5(path.read_bytes()).hexdigest() != path.parent.name + path.name[:30]
    ]


def _artifacts(folder: Path) -> Iterator[tuple[str, str]]:
    """Each path below a run's folder, which has a random name, with its digest or content.

    What is left of an upload that was killed is not an artifact to MLflow.
    """
    for path, digest in digests(folder).items():
        name = "/".join(Path(path).parts[2:])
        if "/.artifact.uploading." not in name:
            is_timed = Path(name).name.startswith(TIMED)
            content = _lineage(folder / path) if path.endswith("/lineage.json") else digest
            yield name, "" if is_timed else content


def _decision(text: str) -> str:
    """A recorded decision, with only the results of its gates: some measure seconds."""
    found = json.loads(text)
    found["evidence"]["gates"] = [(g["name"], g["result"]) for g in found["evidence"]["gates"]]
    return str(found)


def _entry(root: Path, text: str) -> str:
    """An entry without time and previous digest, and whether its evidence is stored."""
    found = json.loads(text)
    kept = {hashlib.sha256(row[2].encode()).hexdigest() for row in rows(root, DECISIONS)}
    found["evidence"] = found["evidence"] in kept
    found["facts"] = bool(found["facts"])  # the digest of what names the run
    return str({key: value for key, value in found.items() if key not in TIMES})


def _lineage(path: Path) -> str:
    """A version's lineage without the name of the run and its durations."""
    found = json.loads(path.read_text())
    return str({key: value for key, value in found.items() if key not in {"run", "seconds"}})
