"""The fingerprint of a stage: a digest of everything that dvc.yaml says its result depends on.

It names what a stage leaves outside DVC's outputs: its checkpoints and its MLflow run. Two runs
with the same fingerprint are the same computation, so the second may continue where the first was
killed. A changed parameter, file or line of code gives another fingerprint, so nothing is mixed.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import yaml

from refit.core import files, params, paths
from refit.core.errors import ConfigError

TEMPLATE = re.compile(r"\$\{([\w.]+)\}")


def stage(name: str) -> str:
    """SHA-256 (64 hexadecimal digits) over the stage's command, dependencies and parameters."""
    definition = _definition(name)
    whole = hashlib.sha256(str(definition.get("cmd", "")).encode())
    for path in sorted(definition.get("deps", [])):
        if not Path(path).exists():
            raise ConfigError(
                f"stage {name} depends on a path that does not exist",
                where=str(paths.DVC_YAML),
                got=path,
                do="run the stages before it (`dvc repro`), or `refit deps --fix` for moved code",
            )
        whole.update(f"\n{path} {files.digest(Path(path))}".encode())
    values = params.load()
    for key in sorted(_filled_in(name, values) for name in definition.get("params", [])):
        value = json.dumps(_lookup(values, key), sort_keys=True)
        whole.update(f"\n{key} {value}".encode())
    return whole.hexdigest()


def require_dependency(name: str, path: Path) -> None:
    """Check that the stage depends on the file, so that its change runs the stage again.

    Raises:
        ConfigError: dvc.yaml names neither the file nor a folder above it.
    """
    named = {Path(each) for each in _definition(name).get("deps", [])}
    if not named & {path, *path.parents}:
        raise ConfigError(
            f"stage {name} does not depend on the model's file",
            where=str(paths.DVC_YAML),
            got=f"no {path.as_posix()} under `deps`",
            do="run `refit deps --fix`",
        )


def _definition(name: str) -> dict[str, Any]:
    stages = (yaml.safe_load(paths.DVC_YAML.read_text(encoding="utf-8")) or {}).get("stages", {})
    if name not in stages:
        raise ConfigError(
            f"there is no stage {name}", where=str(paths.DVC_YAML), expected=", ".join(stages)
        )
    definition: dict[str, Any] = stages[name]
    return definition


def _filled_in(name: str, values: dict[str, Any]) -> str:
    """A parameter's name with `${train.model}` and the like replaced, as DVC does."""
    return TEMPLATE.sub(lambda match: str(_lookup(values, match[1])), name)


def _lookup(values: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values
