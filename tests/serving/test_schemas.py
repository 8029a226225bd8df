"""signature.json and lineage.json are checked when they are read: one error names the fields."""

import json
from pathlib import Path
from typing import Any

import hostile_json
import pytest

from refit.core.errors import DataError
from refit.serving import lineage_schema, signature

HEX = "0123456789abcdef" * 4
SIGNATURE: dict[str, Any] = {
    "task": "binary",
    "target": "late",
    "inputs": [
        {"name": "distance", "type": "number", "lowest": 1.0, "highest": 5.0},
        {"name": "carrier", "type": "string", "known": ["AA", "UA"]},
    ],
    "classes": [],
    "thresholds": {"best_f1": 0.3},
}
PARTITIONS = {"train": ["2013-01"], "validation": ["2013-02"], "holdout": ["2013-03"]}
MODEL = {"name": "network", "settings": {"epochs": 3}}
BUNDLE: dict[str, Any] = {
    "partitions": PARTITIONS,
    "digests": {"prepared": HEX},
    "model": MODEL,
    "training": {"fingerprint": HEX, "seed": 0, "determinism": {"level": "threads"}},
    "packages": {"torch": "2.0"},
}
VERSION: dict[str, Any] = {
    "dataset": "flights",
    "digest": HEX,
    "commit": {
        "commit": HEX[:40],
        "parent": None,
        "branch": "main",
        "left_out": [],
        "clean": False,
        "ref": "refs/refit/flights/0123-4567",
    },
    "dvc_lock": HEX,
    "params": {"evaluate": {"confidence": 0.95, "seed": 0}},
    "seeds": {"train.seed": 0},
    "data": {"flights/2013-01.parquet": HEX},
    "partitions": PARTITIONS,
    "constraints": HEX,
    "packages": {"torch": "2.0"},
    "packages_not_as_pinned": [],
    "python": "3.12",
    "model": MODEL,
    "determinism": {"level": "threads"},
    "training": HEX,
    "machine": {
        "processor": "A",
        "vendor": "B",
        "instructions": ["avx2"],
        "cores": 2,
        "system": "Linux",
        "libc": "glibc",
    },
    "seconds": {"train": 3.5},
    "inputs": {"prepared": HEX},
    "run": "1234",
}
SIGNATURES = hostile_json.texts(SIGNATURE, hostile_json.SIGNATURE)
LINEAGES = hostile_json.texts(VERSION, hostile_json.LINEAGE)


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_hostile_signature_is_one_error(name: str, tmp_path: Path) -> None:
    """It names the file and the field, in a few lines that can be printed."""
    path = tmp_path / "signature.json"
    path.write_text(SIGNATURES[name])
    with pytest.raises(DataError, match=r"signature.json is not what it must be. Got") as error:
        signature.read(path)
    assert len(str(error.value).encode()) < 1000


@pytest.mark.parametrize("name", LINEAGES)
def test_a_hostile_lineage_is_one_error(name: str, tmp_path: Path) -> None:
    """It names the file and the field, in a few lines that can be printed."""
    path = tmp_path / "lineage.json"
    path.write_text(LINEAGES[name])
    with pytest.raises(DataError, match=r"lineage.json is not what it must be. Got") as error:
        lineage_schema.read(path, lineage_schema.VERSION)
    assert len(str(error.value).encode()) < 1000


def test_right_files_are_read_as_they_are(tmp_path: Path) -> None:
    """Fields that no schema names are kept."""
    path = tmp_path / "file.json"
    path.write_text(json.dumps(SIGNATURE | {"note": "ü"}))
    assert signature.read(path) == SIGNATURE | {"note": "ü"}
    for check, right in ((lineage_schema.BUNDLE, BUNDLE), (lineage_schema.VERSION, VERSION)):
        path.write_text(json.dumps(right))
        assert lineage_schema.read(path, check) == right


@pytest.mark.parametrize("field", VERSION)
def test_every_field_of_a_lineage_is_needed(field: str, tmp_path: Path) -> None:
    """A lineage without one of its fields is refused, and the error names it."""
    path = tmp_path / "lineage.json"
    path.write_text(json.dumps({name: VERSION[name] for name in VERSION if name != field}))
    with pytest.raises(DataError, match=f"no {field}"):
        lineage_schema.read(path, lineage_schema.VERSION)
