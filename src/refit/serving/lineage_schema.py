"""The schema of lineage.json: of a bundle, and of a registered version, which says more."""

from pathlib import Path
from typing import Any

from refit.serving import digest, schema
from refit.serving.schema import Check, extended, items, record, table

PARTITIONS = record(
    train=items(schema.name, least=1, unique=True),
    validation=items(schema.name, least=1, unique=True),
    holdout=items(schema.name, unique=True),
)
"""No model has learnt from nothing."""
PARTS = items(schema.one_of(("train", "validation", "holdout")), least=1, unique=True)
TRAINED_ON = record(**{digest.MODEL: PARTS, digest.TWIN: PARTS})
"""The parts that each model has learnt from; only of a release fit and its twin."""
MODEL = record(name=schema.name, settings=schema.anything)
NAMED = record(model=MODEL)
"""What both lineages have, and the bundle reads."""
SEED = schema.integer(0, 2**64 - 1)

BUNDLE = extended(
    record(
        partitions=PARTITIONS,
        digests=table(schema.digest),
        model=MODEL,
        training=record(
            fingerprint=schema.digest, seed=SEED, determinism=record(level=schema.name)
        ),
        packages=table(schema.text),
    ),
    trained_on=TRAINED_ON,
)
_VERSION = record(
    dataset=schema.name,
    digest=schema.digest,
    commit=record(
        commit=schema.commit,
        parent=schema.optional(schema.commit),
        branch=schema.optional(schema.text),
        left_out=items(schema.text),
        clean=schema.boolean,
        ref=schema.matching(r"refs/refit/[!-~]+", "a name under refs/refit/"),
    ),
    dvc_lock=schema.digest,
    params=record(
        evaluate=record(confidence=schema.number(0.5, 0.9999), seed=SEED),
    ),
    seeds=table(SEED),
    data=table(schema.digest, least=1),
    partitions=PARTITIONS,
    constraints=schema.digest,
    packages=table(schema.text, least=1),
    packages_not_as_pinned=items(schema.text),
    python=schema.name,
    model=MODEL,
    determinism=record(level=schema.name),
    training=schema.digest,
    machine=record(
        processor=schema.text,
        vendor=schema.text,
        instructions=items(schema.text),
        cores=schema.integer(1, 2**20),
        system=schema.text,
        libc=schema.text,
    ),
    seconds=table(schema.number(0, 1e9)),
    inputs=table(schema.digest),
    run=schema.name,
)
VERSION = extended(_VERSION, trained_on=TRAINED_ON)


def read(path: Path, check: Check, *, where: str = "") -> dict[str, Any]:
    """The lineage in a file.

    Args:
        path: of the file.
        check: BUNDLE or VERSION.
        where: the file is, for a person; its path if empty.

    Raises:
        DataError: it is no lineage; the error says which fields are wrong.
    """
    return schema.read(
        path, check, where=where, do="restore it from a backup of the artifact store"
    )
