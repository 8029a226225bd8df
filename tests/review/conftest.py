"""Registered versions of small projects, decided and reviewed once for all tests here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from refit.core import files
from refit.promotion import decide
from refit.registry.registry import Registry
from refit.review import publish

HOSTILE = '<script>alert("x")</script>'
SLICES = Path("data/evaluation/slices.json")
SIGNATURE = Path("data/bundle/signature.json")


@pytest.fixture(autouse=True)
def _own_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def decided(
    projects: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Copies of projects with two versions, the second with a hostile slice; tests must not change them."""
    roots: dict[str, Path] = {}

    def get(dataset: str) -> Path:
        if dataset not in roots:
            copy = projects(dataset).copy(tmp_path_factory.mktemp("review") / dataset).root
            _decide(copy, dataset)
            changed = files.read_json(copy / SIGNATURE) | {"note": "challenger"}
            files.write_json(copy / SIGNATURE, changed)
            slices = files.read_json(copy / SLICES)
            for entry in slices[:1]:
                entry["value"] = HOSTILE
            files.write_json(copy / SLICES, slices)
            _decide(copy, dataset)
            roots[dataset] = copy
        return roots[dataset]

    return get


def _decide(root: Path, dataset: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        done = decide.decide(root)
        assert publish.publish(root, Registry.open(root, dataset), done.version, done.key)


@pytest.fixture
def pumps(decided: Callable[[str], Path]) -> Path:
    """The project of the binary task."""
    return decided("pumps")
