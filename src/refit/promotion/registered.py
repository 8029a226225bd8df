"""A registered version's bundle, checked before this process loads it.

In this order: the files are those that were registered, signature and lineage are what they must
be, and the model, tried in a process of its own, predicts its example rows as when it was
registered. A bundle that has passed is kept in the project's own folder under its digest.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from refit.core import files
from refit.core.errors import RefitError, RegistryError
from refit.evaluation.predictions import TOLERANCE
from refit.registry import contents
from refit.registry.artifact_store import EXAMPLES_FILE
from refit.registry.registry import Registry
from refit.registry.version import EXAMPLES, Version
from refit.serving.digest import LINEAGE, has_twin

if TYPE_CHECKING:
    from refit.serving.bundle import Bundle

CHECKED = "digest verified, loads, predicts its example rows as when it was registered"


def load(registry: Registry, version: Version) -> "Bundle":
    """The version's bundle, from the project's folder or from the registry.

    Raises:
        RegistryError: it does not pass the check.
    """
    from refit.serving import bundle

    folder = registry.artifacts.download(version, lambda folder: _require_sound(folder, version))
    return bundle.load(folder)


def check(registry: Registry, version: Version) -> str:
    """Check a version as the registry has it now, and return what was checked.

    Raises:
        RegistryError: its bundle is not what was registered, does not load, or predicts something
            else.
    """
    with tempfile.TemporaryDirectory() as temporary:
        _require_sound(registry.artifacts.fetch(version, Path(temporary)), version)
    others = registry.artifacts.others(version)
    ignored = f"; not its own, and ignored: {', '.join(others)}" if others else ""
    return f"{CHECKED}{ignored}"


def _require_sound(folder: Path, version: Version) -> None:
    """Raise RegistryError unless the bundle in a folder may be used; its digest was verified."""
    examples = folder / EXAMPLES_FILE
    if not examples.is_file() or files.digest(examples) != version.tags.get(EXAMPLES):
        raise refused(version, "its example rows are not those that were registered")
    if not (folder / LINEAGE).is_file():
        raise refused(version, "its lineage is gone")
    lineage = contents.read_lineage(folder / LINEAGE, version)
    if has_twin(folder) != ("trained_on" in lineage):
        raise refused(version, "its lineage does not say what its models have learnt")
    difference = _difference(folder, examples, version)
    if not difference <= TOLERANCE:
        raise refused(version, f"its predictions differ from the stored ones by {difference:.2g}")


def _difference(folder: Path, examples: Path, version: Version) -> float:
    from refit.serving import bundle, input_example

    try:
        return input_example.difference(bundle.load(folder), input_example.read(examples))
    except RefitError as error:
        raise refused(version, f"its bundle does not predict: {error}") from error


def refused(version: Version, what: str) -> RegistryError:
    """The error of a version that is not what was registered."""
    return RegistryError(
        what,
        where=f"version {version.number}",
        expected="what was registered",
        do=contents.RESTORE,
    )
