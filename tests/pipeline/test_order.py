"""The order of stages, and what has changed in them."""

import re
from collections.abc import Callable
from typing import Any

from refit.pipeline.dvc import open_pipeline

DIAMOND = """\
stages:
  join:
    cmd: cat left.out right.out > join.out
    deps: [left.out, right.out]
    outs: [join.out]
  left:
    cmd: cat first.out > left.out
    deps: [first.out]
    outs: [left.out]
  right:
    cmd: cat first.out > right.out
    deps: [first.out]
    outs: [right.out]
  first:
    cmd: cat data/rows/* > first.out
    deps: [data/rows]
    outs: [first.out]
"""


def test_stages_come_in_dvc_s_order(make_repository: Callable[[str], Any]) -> None:
    """Stages that are written last one first run in DVC's order, with the same lock."""
    theirs, ours = make_repository("theirs"), make_repository("ours")
    theirs.define(DIAMOND)
    ours.define(DIAMOND)
    order = re.findall(r"Running stage '(\w+)'", theirs.dvc("repro").stdout)
    assert list(ours.run()) == order
    assert ours.lock() == theirs.lock()


def test_changes_are_named_in_order_and_by_kind(repository: Any) -> None:
    """Changes of tracked data, commands, outputs and files are named in words."""
    repository.define(DIAMOND)
    with open_pipeline(repository.root) as pipeline:
        assert list(pipeline.changes()) == ["first", "left", "right", "join"]
        assert set(pipeline.changes().values()) == {("never ran here",)}
    repository.run()
    repository.write("data/rows/one.csv", "3\n")
    repository.define(DIAMOND.replace("cat first.out > left", "cat  first.out > left"))
    (repository.root / "right.out").unlink()
    with open_pipeline(repository.root) as pipeline:
        assert pipeline.changes() == {
            "data/rows.dvc": ("modified output data/rows",),
            "first": ("modified data/rows",),
            "left": ("changed command",),
            "right": ("deleted output right.out",),
            "join": ("deleted right.out",),
        }


def test_a_stage_s_reason_is_its_own(repository: Any) -> None:
    """The stages after the one that ran stay changed until they run."""
    repository.define(DIAMOND)
    repository.run()
    repository.write("data/rows/one.csv", "3\n")
    with open_pipeline(repository.root) as pipeline:
        result = pipeline.run("first", on_output=print)
        assert (str(result.outcome), result.reason) == ("Completed", "modified data/rows")
        assert list(pipeline.changes()) == ["left", "right"]
