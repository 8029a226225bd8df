"""Ingestion: only new partitions are added, completely or not at all, and DVC tracks them."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from refit.core import files


def digests(root: Path) -> dict[str, str]:
    """The digest of each raw file."""
    raw = root / "data/raw"
    return {p.relative_to(raw).as_posix(): files.digest(p) for p in raw.rglob("*.parquet")}


def test_only_new_partitions_are_added(parcels: Any) -> None:
    """Each call adds only the partitions that are missing. Earlier files do not change."""
    listed = parcels.call("refit", "ingest", "--list").stdout.split()
    assert listed == [f"week-{number}" for number in range(1, 6)]
    shown = parcels.call("refit", "ingest", "--until", "week-2").stdout
    assert shown.splitlines() == ["+ week-1", "+ week-2", "2 partitions added"]
    before = digests(parcels.root)
    assert before.keys() == {
        "depots/reference.parquet",
        "parcels/week-1.parquet",
        "parcels/week-2.parquet",
    }
    pointer = (parcels.root / "data/raw.dvc").read_bytes()
    again = parcels.call("refit", "ingest", "--until", "week-1").stdout
    assert again.strip() == "nothing to add: all are there"
    assert (parcels.root / "data/raw.dvc").read_bytes() == pointer
    assert "+ week-3" in parcels.call("refit", "ingest", "--until", "next").stdout
    after = digests(parcels.root)
    assert after.keys() - before.keys() == {"parcels/week-3.parquet"}
    assert {name: after[name] for name in before} == before


def test_a_lost_folder_comes_back_with_the_same_bytes(parcels: Any) -> None:
    """Ingested again, the files and DVC's pointer have the same bytes."""
    parcels.call("refit", "ingest", "--until", "week-3")
    before, pointer = digests(parcels.root), (parcels.root / "data/raw.dvc").read_bytes()
    shutil.rmtree(parcels.root / "data/raw")
    parcels.call("refit", "ingest", "--until", "week-3")
    assert digests(parcels.root) == before
    assert (parcels.root / "data/raw.dvc").read_bytes() == pointer
    assert "up to date" in parcels.call("dvc", "status", "data/raw.dvc").stdout


def test_an_unknown_partition_is_refused(parcels: Any) -> None:
    """The error of an unknown name lists the partitions that the source offers."""
    done = parcels.call("refit", "ingest", "--until", "week-9", check=False)
    assert done.returncode == 1
    assert "one of week-1 to week-5" in done.stderr
    assert not (parcels.root / "data/raw").exists()


def test_a_dataset_without_a_source_says_so(pumps: Any) -> None:
    """Where files are added by hand, `refit ingest` says where they belong."""
    done = pumps.call("refit", "ingest", check=False)
    assert done.returncode == 1
    assert "has no source to ingest from" in done.stderr
    assert "dvc add data/raw" in done.stderr


@pytest.mark.slow
@pytest.mark.heavy
def test_a_partition_arrives(parcels: Any) -> None:
    """A new partition reruns every stage once, and DVC shows the new metrics and plots."""
    parcels.call("refit", "ingest", "--until", "week-4")
    first = parcels.call("refit", "run", "--no-server").stdout
    assert "Version 1 is" in first
    second = parcels.call("refit", "run", "--no-server", "--until", "next").stdout
    assert "Completed ingest" in second
    assert "added week-5" in second
    assert second.count("Completed") >= 7
    assert "Cached    evaluate" in parcels.call("refit", "run").stdout
    assert "macro_f1" in parcels.call("dvc", "metrics", "show").stdout
    shown = parcels.call("dvc", "plots", "show", "data/evaluation/plots/confusion.csv").stdout
    assert "index.html" in shown
