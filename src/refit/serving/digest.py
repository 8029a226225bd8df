"""The identity of a bundle: what it predicts, not how it was made.

The digest covers the model, its signature and its twin, if any, and not the lineage. A comment in
the code changes the lineage, but the same weights are the same model and are never registered
twice.
"""

import hashlib
from pathlib import Path

from refit.core import files

MODEL, SIGNATURE, LINEAGE = "model.onnx", "signature.json", "lineage.json"
TWIN = "twin.onnx"
"""The model that was evaluated, where a release fit goes live in its place."""
FILES = (MODEL, SIGNATURE, LINEAGE)
"""The files of every bundle."""


def identity(folder: Path) -> str:
    """SHA-256 (64 hexadecimal digits) over the bundle's model, signature and, if any, twin."""
    names = (MODEL, SIGNATURE, *([TWIN] if has_twin(folder) else []))
    parts = "".join(f"{name} {files.digest(folder / name)}\n" for name in names)
    return hashlib.sha256(parts.encode()).hexdigest()


def has_twin(folder: Path) -> bool:
    """Whether what goes live in the bundle is a release fit, with the evaluated model beside it."""
    return (folder / TWIN).is_file()


def files_of(folder: Path) -> tuple[str, ...]:
    """The names of the bundle's own files, with the twin if there is one."""
    return (*FILES, TWIN) if has_twin(folder) else FILES
