"""A small pipeline computed from scratch gives the bytes whose digests are in Git."""

from collections.abc import Callable
from typing import Any

import pytest

from refit.core import files
from tests import reference


@pytest.mark.slow
def test_the_reference_pipeline_gives_the_known_bytes(projects: Callable[[str], Any]) -> None:
    """Each stage's result has the digest in tests/reference.json; `make reference` updates them."""
    root = projects("pumps").root
    known = files.read_json(reference.KEPT)
    stages = reference.moved(known["digests"], reference.digests(root))
    distances = reference.far(known["predictions"], reference.predictions(root))
    assert stages == [], f"{stages} moved; {distances}; if that is intended, run `make reference`"


def test_moved_stages_and_distances_are_reported() -> None:
    """Stages with other digests are listed in order, predictions with their largest difference."""
    old, new = {"train": "a", "evaluate": "b"}, {"train": "a", "evaluate": "c", "bundle": "d"}
    assert reference.moved(old, new) == ["evaluate", "bundle"]
    assert reference.far({"network": [0.5, 0.25]}, {"network": [0.5, 0.125]}) == [
        "network: predictions moved by at most 0.12"
    ]
