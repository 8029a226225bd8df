"""Hostile signature.json and lineage.json: each name with the text of the file."""

import copy
import json
from collections.abc import Callable
from typing import Any

DEEP = "[" * 500 + "]" * 500
Change = Callable[[dict[str, Any]], object]


def _set(*path: str | int, to: object) -> Change:
    """Sets the field at the path."""

    def change(value: Any) -> None:
        for step in path[:-1]:
            value = value[step]
        value[path[-1]] = to

    return change


def _without(*path: str | int) -> Change:
    """Deletes the field at the path."""

    def change(value: Any) -> None:
        for step in path[:-1]:
            value = value[step]
        del value[path[-1]]

    return change


WHOLE = {
    "empty": "",
    "cut": '{"task": ',
    "a list": "[]",
    "null": "null",
    "a number": "3",
    "a text": '"x"',
    "an empty object": "{}",
    "nested too deep for Python": "[" * 200_000,
    "half of a pair": '{"task": "\\ud800"}',
    "a number of 5,000 digits": f'{{"task": {"9" * 5000}}}',
}
SIGNATURE: dict[str, Change] = {
    "a task that is unknown": _set("task", to="clustering"),
    "a task that is a list": _set("task", to=[]),
    "a target that is a number": _set("target", to=7),
    "no inputs": _without("inputs"),
    "inputs of nothing": _set("inputs", to=[]),
    "inputs as an object": _set("inputs", to={"x": "number"}),
    "an input that is a text": _set("inputs", 0, to="x"),
    "an input without a name": _without("inputs", 0, "name"),
    "an input of another type": _set("inputs", 0, "type", to="tensor"),
    "the same input twice": lambda value: value["inputs"].append(value["inputs"][0]),
    "a lowest value that is infinite": _set("inputs", 0, "lowest", to=float("inf")),
    "a lowest value above the highest": _set("inputs", 0, "lowest", to=1e300),
    "known words that are numbers": _set("inputs", -1, "known", to=[1, 2]),
    "classes that are a text": _set("classes", to="ab"),
    "the same class twice": _set("classes", to=["a", "a"]),
    "a threshold that is NaN": _set("thresholds", "best_f1", to=float("nan")),
    "a threshold that is a text": _set("thresholds", "best_f1", to="0.5"),
    "something nested deep": _set("note", to=json.loads(DEEP)),
}
LINEAGE: dict[str, Change] = {
    "an option as commit": _set("commit", "commit", to="--output=stolen"),
    "a path as commit": _set("commit", "commit", to="HEAD/../../x"),
    "a range as commit": _set("commit", "commit", to="HEAD..HEAD"),
    "a short commit": _set("commit", "commit", to="abcdef1"),
    "an option as parent": _set("commit", "parent", to="--output=stolen"),
    "a commit that is a number": _set("commit", "commit", to=12),
    "no commit": _without("commit"),
    "a ref outside of refs/refit": _set("commit", "ref", to="refs/heads/main"),
    "learnt from nothing": _set("partitions", "train", to=[]),
    "no validation": _without("partitions", "validation"),
    "partitions that are a text": _set("partitions", "train", to="part-0"),
    "data without digests": _set("data", to={"x": "y"}),
    "data that is a list": _set("data", to=[]),
    "seconds that are text": _set("seconds", to={"train": "fast"}),
    "packages that are numbers": _set("packages", to={"torch": 2}),
    "a machine that is a text": _set("machine", to="fast"),
    "cores that are none": _set("machine", "cores", to="many"),
    "a confidence that is NaN": _set("params", "evaluate", "confidence", to=float("nan")),
    "parameters that are null": _set("params", to=None),
    "a model without a name": _set("model", "name", to=None),
    "a run that is a number": _set("run", to=5),
    "a seed below zero": _set("seeds", to={"train.seed": -1}),
    "a digest of another length": _set("dvc_lock", to="ab"),
    "something nested deep": _set("note", to=json.loads(DEEP)),
}


def texts(right: dict[str, Any], changes: dict[str, Change]) -> dict[str, str]:
    """The hostile files by name, made from the right content."""
    changed = dict(WHOLE)
    for name, change in changes.items():
        content = copy.deepcopy(right)
        change(content)
        changed[name] = json.dumps(content)
    return changed
