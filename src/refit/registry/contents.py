"""Whether the files of a version are those that were registered, before anything in them is used.

The digest of a version covers its model and signature. Lineage and example rows are no part of a
model's identity, so tags of their own hold the digest of the example rows, and of the partitions
that the lineage says the model has learnt from: they decide which rows it is judged on.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from refit.core import files
from refit.core.errors import DataError, RegistryError
from refit.registry.version import PARTITIONS, SIGNATURE_TAG, Version, partitions_digest
from refit.serving import lineage_schema
from refit.serving.digest import LINEAGE, SIGNATURE, identity

RESTORE = "restore the artifact store from a backup, or choose another version"


def require_digest(version: Version) -> None:
    """Raise RegistryError unless the registry has a digest of the version's bundle."""
    if re.fullmatch(r"[0-9a-f]{64}", version.digest) is None:
        raise RegistryError(
            "the registry has no digest of the bundle",
            where=f"version {version.number}",
            got=repr(version.digest[:80]),
            expected="64 hexadecimal digits",
            do="restore MLflow's database from a backup, or choose another version",
        )


def digest(bundle: Path) -> str:
    """The digest of a bundle; empty if files are missing."""
    try:
        return identity(bundle)
    except FileNotFoundError:
        return ""


def require_registered(bundle: Path, version: Version) -> None:
    """Raise RegistryError unless model and signature are those that were registered."""
    got = digest(bundle)
    if got != version.digest:
        raise RegistryError(
            "the registered bundle is not the one that was registered",
            where=f"version {version.number}",
            got=f"digest {got[:12]}" if got else "only a part of its files",
            expected=f"digest {version.digest[:12]}",
            do="its files were changed or damaged: restore the artifact store from a backup",
        )


def read_signature(path: Path, version: Version) -> dict[str, Any]:
    """The signature of a version in a file.

    Raises:
        RegistryError: it is no signature, or not the one that was registered.
    """
    where = f"version {version.number}"
    if files.digest(path) != version.tags.get(SIGNATURE_TAG):
        raise _changed(f"{SIGNATURE} is not the file that was registered", where)
    from refit.serving import signature  # it needs the tasks, and with them polars

    return _read(lambda: signature.read(path, where=where))


def read_lineage(path: Path, version: Version) -> dict[str, Any]:
    """The lineage of a version in a file.

    Raises:
        RegistryError: it is no lineage, or not of this version.
    """
    where = f"version {version.number}"
    lineage = _read(lambda: lineage_schema.read(path, lineage_schema.VERSION, where=where))
    if lineage["digest"] != version.digest:
        raise _changed(f"{LINEAGE} is that of another model", where)
    if partitions_digest(lineage) != version.tags.get(PARTITIONS):
        raise _changed(f"{LINEAGE} names other partitions than when it was registered", where)
    return lineage


def _read(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return read()
    except DataError as error:
        raise RegistryError(str(error)) from error


def _changed(what: str, where: str) -> RegistryError:
    return RegistryError(what, where=where, expected="what was registered", do=RESTORE)
