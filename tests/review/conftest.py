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
    projects: Callable[[str], Any],
    once: Callable[[str, Callable[[Path], object]], Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Path]:
    """Copies of projects with two versions, the second with a hostile slice; tests must not change them."""

    def make(root: Path, dataset: str) -> None:
        projects(dataset).copy(root)
        _decide(root, dataset)
        files.write_json(
            root / SIGNATURE, files.read_json(root / SIGNATURE) | {"note": "challenger"}
        )
        slices = files.read_json(root / SLICES)
        for entry in slices[:1]:
            entry["value"] = HOSTILE
        files.write_json(root / SLICES, slices)
        _decide(root, dataset)

    roots: dict[str, Path] = {}

    def get(dataset: str) -> Path:
        if dataset not in roots:
            made = once(f"review-{dataset}", lambda root: make(root, dataset))
            copy = tmp_path_factory.mktemp("review") / dataset
            roots[dataset] = made.copy_with_registry(copy).root
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
