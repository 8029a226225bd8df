"""The identity of a bundle: what it predicts, not how it was made.

The digest covers the model and its signature, and not the lineage. A comment in the code changes
the lineage, but the same weights are the same model and are never registered twice.
"""

import hashlib
from pathlib import Path

from refit.core import files

MODEL, SIGNATURE, LINEAGE = "model.onnx", "signature.json", "lineage.json"
FILES = (MODEL, SIGNATURE, LINEAGE)
"""The files of a bundle."""


def identity(folder: Path) -> str:
    """SHA-256 (64 hexadecimal digits) over the bundle's model and signature."""
    parts = "".join(f"{name} {files.digest(folder / name)}\n" for name in (MODEL, SIGNATURE))
    return hashlib.sha256(parts.encode()).hexdigest()
