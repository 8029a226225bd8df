"""Different results of one computation are found, from either door."""

from typing import Any

import pytest

from refit.pipeline.dvc import open_pipeline

STAGES = """\
stages:
  steady:
    cmd: cat params.yaml > steady.out
    params: [a]
    outs: [steady.out]
  moody:
    cmd: 'date +%N > moody.out  # -m refit moody'
    deps: [steady.out]
    outs: [moody.out]
"""


def counts(repository: Any) -> dict[str, int]:
    with open_pipeline(repository.root) as pipeline:
        return dict(pipeline.results())


def told(repository: Any) -> list[str]:
    with open_pipeline(repository.root) as pipeline:
        return [str(found).partition(" (key")[0] for found in pipeline.several()]


@pytest.mark.parametrize("door", ["refit", "dvc"])
def test_a_second_result_is_counted_and_said(repository: Any, door: str) -> None:
    """The deterministic stage has one result however often it runs, the other as many as runs."""
    repository.define(STAGES)
    repository.through(door)
    assert counts(repository) == {"steady": 1, "moody": 1}
    assert told(repository) == []
    if door == "refit":
        repository.run(force=True)
    else:
        repository.dvc("repro", "--force")
    assert counts(repository) == {"steady": 1, "moody": 2}
    assert told(repository) == ["moody: 2 different results from the same inputs"]


def test_results_of_earlier_inputs_are_still_said(repository: Any) -> None:
    """A changed parameter makes other inputs; the proof from before does not go away."""
    repository.define(STAGES)
    repository.run()
    repository.run(force=True)
    repository.params(2)
    repository.run()
    assert counts(repository) == {"steady": 1, "moody": 1}
    assert told(repository) == ["moody: 2 different results from the same earlier inputs"]


def test_what_never_ran_has_no_result(repository: Any) -> None:
    """Before the first run there is nothing to count."""
    repository.define(STAGES)
    assert counts(repository) == {}
    assert told(repository) == []


def test_a_stage_whose_inputs_are_not_here_is_passed_over(repository: Any) -> None:
    """As in a fresh clone: dvc.lock says what ran, but no output has been restored yet."""
    repository.define(STAGES)
    repository.run()
    (repository.root / "steady.out").unlink()
    assert counts(repository) == {"steady": 1}
    assert told(repository) == []
