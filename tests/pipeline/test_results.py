"""Different results of one computation are found, through either door."""

from typing import Any

import pytest

from refit.pipeline.dvc import open_pipeline

STAGES = """\
stages:
  steady:
    cmd: cat params.yaml > steady.out
    params: [a]
    outs: [steady.out]
  random:
    cmd: 'date +%N > random.out  # -m refit random'
    deps: [steady.out]
    outs: [random.out]
"""


def counts(repository: Any) -> dict[str, int]:
    with open_pipeline(repository.root) as pipeline:
        return dict(pipeline.results())


def alarms(repository: Any) -> list[str]:
    with open_pipeline(repository.root) as pipeline:
        return [str(results).partition(" (key")[0] for results in pipeline.several()]


@pytest.mark.parametrize("door", ["refit", "dvc"])
def test_a_second_result_is_counted_and_reported(repository: Any, door: str) -> None:
    """A deterministic stage has one result after any number of runs, a random one has many."""
    repository.define(STAGES)
    repository.through(door)
    assert counts(repository) == {"steady": 1, "random": 1}
    assert alarms(repository) == []
    if door == "refit":
        repository.run(force=True)
    else:
        repository.dvc("repro", "--force")
    assert counts(repository) == {"steady": 1, "random": 2}
    assert alarms(repository) == ["random: 2 different results from the same inputs"]


def test_results_of_earlier_inputs_are_still_reported(repository: Any) -> None:
    """A changed parameter gives other inputs; the earlier proof stays."""
    repository.define(STAGES)
    repository.run()
    repository.run(force=True)
    repository.params(2)
    repository.run()
    assert counts(repository) == {"steady": 1, "random": 1}
    assert alarms(repository) == ["random: 2 different results from the same earlier inputs"]


def test_a_stage_that_never_ran_has_no_result(repository: Any) -> None:
    """Before the first run there are no results."""
    repository.define(STAGES)
    assert counts(repository) == {}
    assert alarms(repository) == []


def test_a_stage_without_its_inputs_is_skipped(repository: Any) -> None:
    """As in a fresh clone: dvc.lock records the run, but no output has been restored yet."""
    repository.define(STAGES)
    repository.run()
    (repository.root / "steady.out").unlink()
    assert counts(repository) == {"steady": 1}
    assert alarms(repository) == []
