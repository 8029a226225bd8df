"""A review is built from the registry alone, and names what is missing."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from refit.core import files, paths
from refit.core.errors import RegistryError
from refit.evaluation.bootstrap import score
from refit.promotion import evidence
from refit.registry import resolve
from refit.registry.registry import Registry
from refit.registry.version import decision_tag
from refit.review import build, gain, html, model_card, pair, stored
from refit.review.gain import Comparing
from refit.tasks.catalog import find as find_task
from refit.tracking.client import connect

pytestmark = pytest.mark.slow


def artifacts(root: Path, name: str) -> list[Path]:
    return sorted((root / ".refit/mlartifacts").rglob(name))


def test_both_sides_are_measured_on_the_same_rows(pumps: Path) -> None:
    """The rival's metrics are those of its own predictions on the rows of the decision."""
    registry = Registry.open(pumps, "pumps")
    review = build.review_version(pumps, registry, registry.versions.get(1))
    predictions = files.read_parquet(pumps / paths.PREDICTIONS)
    target, linear = (
        predictions[name].to_numpy().astype(np.float64) for name in ("target", "linear")
    )
    expected = score(find_task("binary"), target, linear)
    for row in review.metrics:
        models = dict(row.models)
        assert list(models)[:2] == ["version 1", "linear baseline"]
        assert models["linear baseline"].value == pytest.approx(expected[row.name], rel=1e-4)
    assert review.metrics[0].name == "log_loss"


def test_the_slices_add_up_to_the_whole(pumps: Path) -> None:
    """The gains of a column's slices, weighted by their rows, are the gain of the decision."""
    registry = Registry.open(pumps, "pumps")
    review = build.review_version(pumps, registry, registry.versions.get(1))
    assert review.gain is not None
    total = sum((row.gain.value or 0) * row.rows for row in review.slices)
    assert total / review.gain.rows == pytest.approx(review.gain.estimate.value, rel=1e-3)


def test_everything_comes_from_the_registry(pumps: Path, tmp_path: Path) -> None:
    """Without the project's data, the review is the same except for what Git knows."""
    registry = Registry.open(pumps, "pumps")
    whole = build.review_version(pumps, registry, registry.versions.get(2))
    bare = build.review_version(tmp_path, registry, registry.versions.get(2))
    assert bare.metrics == whole.metrics
    assert bare.chart_data == whole.chart_data
    assert bare.tables == whole.tables
    assert bare.changes is not None
    assert bare.changes.code.files is None


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("metrics.json", "its metrics"),
        ("slices.json", "its metrics by slice"),
        (evidence.SCORED, "the scored rows"),
        (paths.VALIDATION.name, "the validation report"),
        ("lineage.json", "its lineage"),
        ("signature.json", "the signature of its bundle"),
        (evidence.ABOUT, "the description of its dataset"),
    ],
)
def test_a_missing_piece_is_named(pumps: Path, name: str, phrase: str) -> None:
    """Without a file the page is still made, and it names the missing piece."""
    originals = {path: path.read_bytes() for path in artifacts(pumps, name)}
    registry = Registry.open(pumps, "pumps")
    try:
        for path in originals:
            path.unlink()
        review = build.review_version(pumps, registry, registry.versions.get(2))
        assert any(phrase in piece for piece in review.missing)
        assert phrase in html.render(review)
        for path in originals:
            path.write_bytes(b"{ half")
        damaged = build.review_version(pumps, registry, registry.versions.get(2))
        assert any(f"{phrase} (its file is damaged" in piece for piece in damaged.missing)
        assert html.render(damaged)
        assert model_card.markdown(damaged)
    finally:
        for path, data in originals.items():
            path.write_bytes(data)


def test_two_versions_are_compared_on_common_rows(pumps: Path) -> None:
    """The same model twice: no difference, on every row of the holdout."""
    registry = Registry.open(pumps, "pumps")
    review = build.compare_versions(
        pumps, registry, registry.versions.get(1), registry.versions.get(2)
    )
    assert review.gain is not None
    assert review.gain.rows == files.read_json(pumps / "data/evaluation/metrics.json")["rows"]
    assert review.gain.estimate.value == 0
    assert "not shown to differ from version 1" in review.sentence
    assert not review.groups
    assert html.render(review)


def test_a_comparison_has_a_direction(pumps: Path) -> None:
    """In the other direction, a gain changes its sign, and its bounds their places."""
    registry = Registry.open(pumps, "pumps")
    first = stored.read(registry, registry.versions.get(1), registry.ledger.read())
    assert first.scored is not None
    assert first.signature is not None
    there = pair.from_scored(first.scored, first.signature, ("version 1", "linear"))
    back = there.swapped()
    assert back.labels == ("linear", "version 1")
    comparing = Comparing(metric="log_loss", resamples=500, seed=1)
    one, other = (
        gain.paired(both.row_losses("log_loss"), both.blocks, comparing) for both in (there, back)
    )
    assert one.value is not None
    assert one.value > 0
    figures = [-value for value in (other.value, other.upper, other.lower) if value is not None]
    assert [one.value, one.lower, one.upper] == pytest.approx(figures)
    old, new = registry.versions.get(1), registry.versions.get(2)
    assert build.compare_versions(pumps, registry, old, new).labels == ("version 2", "version 1")
    assert build.compare_versions(pumps, registry, new, old).labels == ("version 1", "version 2")


def test_versions_without_common_rows_are_measured_separately(pumps: Path, tmp_path: Path) -> None:
    """Each metric is of its version's holdout, the page says so, and baselines are left out."""
    copy = tmp_path / "copy"
    shutil.copytree(pumps, copy, symlinks=True)
    registry = Registry.open(copy, "pumps")
    originals = {path: path.read_bytes() for path in artifacts(pumps, "*.parquet")}
    try:
        for path in originals:
            path.unlink()
        review = build.compare_versions(
            copy, registry, registry.versions.get(1), registry.versions.get(2)
        )
    finally:
        for path, data in originals.items():
            path.write_bytes(data)
    assert "cannot be compared row by row" in review.sentence
    assert review.gain is None
    assert not review.same_rows
    assert [name for name, _ in review.metrics[0].models] == ["version 2", "version 1"]
    assert "on its own holdout" in html.render(review)


def test_without_a_lineage_the_model_is_measured_again(pumps: Path) -> None:
    """The version's metrics are then those of the scored rows, under its own label."""
    registry = Registry.open(pumps, "pumps")
    whole = build.review_version(pumps, registry, registry.versions.get(2))
    originals = {path: path.read_bytes() for path in artifacts(pumps, "lineage.json")}
    try:
        for path in originals:
            path.unlink()
        review = build.review_version(pumps, registry, registry.versions.get(2))
    finally:
        for path, data in originals.items():
            path.write_bytes(data)
    assert [name for name, _ in review.metrics[0].models] == ["version 2", "version 1"]
    for before, after in zip(whole.metrics, review.metrics, strict=True):
        assert before.models[0][1].value == after.models[0][1].value


def test_a_decision_changed_by_hand_is_not_shown(pumps: Path, tmp_path: Path) -> None:
    """Only what the ledger entered counts; the rest of the version can still be reviewed."""
    copy = tmp_path / "copy"
    shutil.copytree(pumps, copy, symlinks=True)
    registry = Registry.open(copy, "pumps")
    (recorded,) = registry.versions.get(2).recorded.values()
    decision = json.loads(recorded)
    changed = json.dumps(decision | {"outcome": "promote", "evidence": {}}, sort_keys=True)
    registry.tags.set(2, {decision_tag(decision["key"], recorded): changed})
    review = build.review_version(copy, registry, registry.versions.get(2))
    assert "a decision about it" in review.missing
    assert (review.kind, review.outcome, review.groups) == ("version", "", ())
    assert review.metrics[0].models[0][0] == "version 2"
    assert "No decision is kept" in html.render(review)


def test_versions_have_many_names(pumps: Path) -> None:
    """A number, an alias, a run and a commit name a version; anything else is one paragraph."""
    registry = Registry.open(pumps)
    first, second = registry.versions.all()
    assert resolve.find(pumps, registry, None) == second
    assert resolve.find(pumps, registry, "1") == first
    assert resolve.find(pumps, registry, "@champion") == first
    assert resolve.find(pumps, registry, second.run) in (first, second)
    assert resolve.find(pumps, registry, second.tags["refit.commit"][:12]) == second
    for wrong in ("@nobody", "77", "no-such-thing", "0123456789ab"):
        with pytest.raises(RegistryError, match="To fix it"):
            resolve.find(pumps, registry, wrong)


def test_a_deleted_rival_is_named(pumps: Path, tmp_path: Path) -> None:
    """The decision stays on the page; only what the rival alone would add is missing."""
    copy = tmp_path / "copy"
    shutil.copytree(pumps, copy, symlinks=True)
    registry = Registry.open(copy, "pumps")
    connect(copy).delete_model_version("pumps", "1")
    review = build.review_version(copy, registry, registry.versions.get(2))
    assert any("version 1, its rival" in piece for piece in review.missing)
    assert review.labels == ("version 2", "version 1")
    assert [name for name, _ in review.metrics[0].models][:2] == ["version 2", "version 1"]
    assert review.groups
    assert html.render(review)


def test_an_unreachable_registry_is_one_paragraph(
    pumps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server at the address: the usual error, no page."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RegistryError, match="MLflow cannot be reached"):
        Registry.open(pumps)
