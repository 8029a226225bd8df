"""Two doors to one cache: each door finds the other's results, in the same dvc.lock."""

import shutil
import time
from collections.abc import Callable
from typing import Any

import pytest

from refit.pipeline.dvc import open_pipeline
from refit.pipeline.stage_output import Outcome

DIAMOND = """\
stages:
  top:
    cmd: echo top >> ran; mkdir -p top.d; cat left.out > top.d/l; cat right.out > top.d/r
    deps: [right.out, left.out]
    outs: [top.d]
  alone:
    cmd: echo alone >> ran; echo alone > alone.out
    outs: [alone.out]
  right:
    cmd: echo right >> ran; cat base.out > right.out
    deps: [base.out]
    outs: [right.out]
  left:
    cmd: echo left >> ran; cat base.out params.yaml > left.out; echo 1 > left.more
    deps: [base.out]
    params: [a]
    outs: [left.out, left.more]
  base:
    cmd: echo base >> ran; cat data/rows/*.csv > base.out
    deps: [data/rows]
    outs: [base.out]
"""
STAGES = ("base", "right", "left", "top", "alone")
LINE = """\
stages:
  first:
    cmd: echo first >> ran; cat data/rows/*.csv params.yaml > first.out
    deps: [data/rows, code.py]
    params: [a]
    outs: [first.out]
  second:
    cmd: echo second >> ran; cat first.out first.out > second.out
    deps: [first.out]
    outs: [second.out]
"""


@pytest.fixture
def line(repository: Any) -> Any:
    repository.define(LINE)
    repository.write("code.py", "code = 1\n")
    return repository


def test_both_doors_write_the_same_lock_and_find_the_others_results(
    make_repository: Callable[[str], Any],
) -> None:
    """After one door the other has nothing to do, and dvc.lock has the same bytes."""
    one, two = make_repository("one"), make_repository("two")
    for repository in (one, two):
        repository.define(DIAMOND)
    one.dvc("repro")
    assert two.run() == dict.fromkeys(STAGES, "Completed")
    assert one.ran() == two.ran() == list(STAGES), "both run the stages in the same order"
    assert one.lock() == two.lock()

    assert one.run() == dict.fromkeys(STAGES, "Cached")
    assert "Data and pipelines are up to date" in two.dvc("repro").stdout
    assert one.ran() == two.ran() == []
    assert one.lock() == two.lock()

    for repository in (one, two):
        repository.params(2)
    assert one.run() == dict.fromkeys(STAGES, "Cached") | {"left": "Completed", "top": "Completed"}
    two.dvc("repro")
    assert one.ran() == two.ran() == ["left", "top"]
    assert one.lock() == two.lock()
    assert two.run() == dict.fromkeys(STAGES, "Cached")


def test_changed_rows_are_recorded_alike(make_repository: Callable[[str], Any]) -> None:
    """A new file in the tracked folder changes its .dvc file and dvc.lock alike through both doors."""
    one, two = make_repository("one"), make_repository("two")
    for repository, door in ((one, "dvc"), (two, "refit")):
        repository.define(DIAMOND)
        repository.through(door)
        repository.write("data/rows/three.csv", "3\n")
        repository.through(door)
    assert one.read("base.out") == two.read("base.out") == "1\n3\n2\n"
    assert one.read("data/rows.dvc") == two.read("data/rows.dvc")
    assert one.lock() == two.lock()
    for repository in (one, two):
        assert repository.run() == dict.fromkeys(STAGES, "Cached")


@pytest.mark.parametrize("door", ["refit", "dvc"])
def test_a_lost_or_edited_output_is_restored(line: Any, door: str) -> None:
    """An output that was deleted or edited is restored without a run, whichever door made it."""
    line.through(door)
    line.ran()
    lock, text = line.lock(), line.read("first.out")
    (line.root / "first.out").unlink()
    line.write("second.out", "edited by hand\n")
    first, second = line.results()
    assert (first.outcome, first.reason) == (Outcome.RESTORED, "deleted output first.out")
    assert (second.outcome, second.reason) == (Outcome.RESTORED, "modified output second.out")
    assert (line.read("first.out"), line.read("second.out")) == (text, text * 2)
    assert line.ran() == []
    assert line.lock() == lock


def test_a_frozen_stage_keeps_its_output(line: Any) -> None:
    """DVC takes the output of a frozen stage as it is: nothing ran and nothing was restored."""
    line.run()
    line.ran()
    line.dvc("freeze", "second")
    line.write("second.out", "edited by hand\n")
    assert line.run() == {"first": "Cached", "second": "Cached"}
    assert line.read("second.out") == "edited by hand\n"
    assert line.ran() == []


def test_a_lost_cache_is_filled_again(line: Any) -> None:
    """A result that DVC no longer has is computed again, and the lock stays as it was."""
    line.run()
    line.ran()
    lock = line.lock()
    (line.root / "second.out").unlink()
    shutil.rmtree(line.root / ".dvc/cache")
    line.dvc("commit", "-q", "-f", "data/rows.dvc")
    assert line.run() == {"first": "Completed", "second": "Completed"}
    assert line.ran() == ["first", "second"]
    assert line.lock() == lock


def test_a_parameter_changes_there_and_back(line: Any) -> None:
    """Values A, B, A of a parameter: run, run, restore. The third lock equals the first."""
    locks, outcomes = [], []
    for value in (1, 2, 1):
        line.params(value)
        outcomes.append(set(line.run().values()))
        locks.append(line.lock())
    assert outcomes == [{"Completed"}, {"Completed"}, {"Restored"}]
    assert locks[0] == locks[2] != locks[1]
    assert line.ran() == ["first", "second"] * 2
    assert "up to date" in line.dvc("repro").stdout


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("params.yaml", "a: 2\n", "modified params.yaml: a"),
        ("params.yaml", "b: 2\n", "deleted params.yaml: a"),
        ("code.py", "code = 2\n", "modified code.py"),
        ("data/rows/one.csv", "7\n", "modified data/rows"),
        ("dvc.yaml", LINE.replace("cat data", "cat  data"), "changed command"),
    ],
)
def test_the_reason_names_what_changed(line: Any, name: str, text: str, reason: str) -> None:
    """Each kind of change has its name, before the run and in the result."""
    with open_pipeline(line.root) as pipeline:
        assert pipeline.changes() == {"first": ("never ran here",), "second": ("never ran here",)}
    line.run()
    with open_pipeline(line.root) as pipeline:
        assert pipeline.changes() == {}
    line.write(name, text)
    with open_pipeline(line.root) as pipeline:
        changes = pipeline.changes()
    assert "second" not in changes
    assert [reason in change for change in changes["first"]] == [True]
    if "b: 2" not in text:
        first, second = line.results()
        assert (first.outcome, first.reason) == (Outcome.COMPLETED, changes["first"][0])
        assert second.outcome != Outcome.RESTORED


def test_an_unrelated_parameter_changes_nothing(line: Any) -> None:
    """A parameter that no stage reads and a comment cause no run."""
    line.run()
    line.write("params.yaml", "# a comment\nb: 3\na: 1\n")
    assert line.run() == {"first": "Cached", "second": "Cached"}


def test_force_runs_what_is_cached(line: Any) -> None:
    """A forced run computes every stage, reports that, and leaves the lock as it was."""
    line.run()
    line.ran()
    lock = line.lock()
    results = line.results(force=True)
    assert [(r.outcome, r.reason) for r in results] == [(Outcome.COMPLETED, "forced")] * 2
    assert line.ran() == ["first", "second"]
    assert line.lock() == lock


def test_a_result_carries_its_seconds(line: Any) -> None:
    """The seconds of a result are those that the stage took."""
    line.define(LINE.replace("echo first >> ran", "sleep 0.4"))
    started = time.monotonic()
    first, second = line.results()
    assert first.seconds >= 0.4
    assert first.seconds + second.seconds <= time.monotonic() - started


def test_tracking_returns_whether_it_changed(line: Any) -> None:
    """Adding the same content again is not a change; new content and a new file are."""
    rows = line.root / "data/rows"
    line.run()
    with open_pipeline(line.root) as pipeline:
        assert not pipeline.track(rows)
        line.write("data/rows/one.csv", "3\n")
        assert pipeline.track(rows)
        assert not pipeline.track(rows)
        assert pipeline.changes() == {"first": ("modified data/rows",)}
        line.write("data/extra", "x\n")
        assert pipeline.track(line.root / "data/extra")
    assert "up to date" in line.dvc("status", "data/extra.dvc").stdout
    line.write("data/rows/one.csv", "1\n")
    with open_pipeline(line.root) as pipeline:
        assert pipeline.track(rows)
        assert pipeline.changes() == {}
