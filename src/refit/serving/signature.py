"""The schema of signature.json: columns, output, classes and thresholds of a bundle."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refit.serving import schema
from refit.serving.schema import items, record
from refit.tasks.catalog import TASKS

RESTORE = "restore the bundle from the registry, or with `dvc checkout`"

FIELDS = record(
    task=schema.one_of(TASKS),
    target=schema.name,
    inputs=items(record(name=schema.name, type=schema.one_of(("number", "string"))), least=1),
    classes=items(schema.text, unique=True),
    thresholds=schema.table(schema.number()),
)
NUMBER = record(lowest=schema.number(), highest=schema.number())
STRING = record(known=items(schema.text, unique=True))


def read(path: Path, *, where: str = "") -> dict[str, Any]:
    """The signature in a file.

    Args:
        path: of the file.
        where: the file is, for a person; its path if empty.

    Raises:
        DataError: it is no signature; the error says which fields are wrong.
    """
    return schema.read(path, check, where=where, do=RESTORE)


def check(value: Any, at: str) -> Iterator[str]:
    """The problems of a signature."""
    problems = list(FIELDS(value, at))
    yield from problems
    if not problems:
        yield from _inputs(value["inputs"])


def _inputs(inputs: list[dict[str, Any]]) -> Iterator[str]:
    """Each column is named once, and has what its type needs."""
    seen = set()
    for place, each in enumerate(inputs):
        at = f"inputs[{place}]"
        problems = list((NUMBER if each["type"] == "number" else STRING)(each, at))
        yield from problems
        if not problems and each["type"] == "number" and each["lowest"] > each["highest"]:
            yield f"{at} has its lowest value above its highest"
        if each["name"] in seen:
            yield from schema.twice("inputs", each["name"])
        seen.add(each["name"])
