"""The code that each stage imports, and whether dvc.yaml names exactly that code in `deps`.

DVC reruns a stage when a file under its `deps` changes. If a module is imported but not named, a
change of it leaves a stale result. The import graph is read from the source (grimp, with lazy
imports). It lacks what is imported by name, so that is added: `python -m refit`, the stage's module
and the dataset's modules (refit.dataset.DATASET_MODULES).
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grimp

from refit.core import params, paths
from refit.core.errors import ConfigError
from refit.dataset import DATASET_MODULES

COMMAND = "-m refit "
SOURCE = "src"
USING_THE_MODEL = ("train", "evaluate")
"""Stages that import the model that `train.model` names."""
USERS_MODEL = "refit.models.module"
"""What the catalog imports by name for a model of the dataset."""


def closure(root: Path, stage: str, dataset: str) -> tuple[str, ...]:
    """The code files that the stage's result depends on: sorted paths from the root."""
    return _closure(_graph(dataset), root, stage, dataset)


def check(root: Path) -> list[str]:
    """The dependencies that dvc.yaml lacks or has needlessly, one sentence for each."""
    return [
        f"stage {stage}: {path} is {problem}"
        for stage, named, imported in _compare(root)
        for path, problem in _problems(named, imported)
    ]


def fix(root: Path) -> list[str]:
    """Write the true code dependencies into dvc.yaml, comments kept; returns what was wrong."""
    problems = check(root)
    if problems:
        document = _yaml().load((root / paths.DVC_YAML).read_text(encoding="utf-8"))
        for stage, named, imported in _compare(root):
            _change(document["stages"][stage].setdefault("deps", []), named, imported)
        with (root / paths.DVC_YAML).open("w", encoding="utf-8") as handle:
            _yaml().dump(document, handle)
    return problems


def _compare(root: Path) -> Iterator[tuple[str, list[str], tuple[str, ...]]]:
    """Each stage of Refit with the code files that dvc.yaml names, and those it imports."""
    dataset = params.dataset_name(root / paths.PARAMS)
    graph = _graph(dataset)
    document = _yaml().load((root / paths.DVC_YAML).read_text(encoding="utf-8"))
    for stage, definition in (document.get("stages") or {}).items():
        if COMMAND not in str(definition.get("cmd", "")):
            continue
        named = [path for path in definition.get("deps", []) if _is_code(str(path))]
        yield stage, named, _closure(graph, root, stage, dataset)


def _change(deps: Any, named: list[str], imported: tuple[str, ...]) -> None:
    """Remove and insert single entries, so that the comments at all other entries stay."""
    for path in named:
        if path not in imported:
            deps.remove(path)
    for path in imported:
        if path not in named:
            later = [n for n, old in enumerate(deps) if _is_code(old) and _rank(old) > _rank(path)]
            deps.insert(later[0] if later else len(deps), path)


def _is_code(path: str) -> bool:
    return path.startswith(f"{SOURCE}/") or path == str(paths.CONSTRAINTS)


def _rank(path: str) -> tuple[bool, str]:
    """Code in alphabetical order, the constraints last."""
    return path == str(paths.CONSTRAINTS), path


def _problems(named: list[str], imported: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for path in imported:
        if path not in named:
            yield path, "imported but not named under `deps`"
    for path in named:
        if path not in imported:
            yield path, "named under `deps` but not imported"


def _closure(graph: grimp.ImportGraph, root: Path, stage: str, dataset: str) -> tuple[str, ...]:
    entries = ["refit.__main__", f"refit.stages.{stage}"]
    entries += [f"{dataset}.{name}" for name in DATASET_MODULES.get(stage, ())]
    entries += _users_model(graph, root, stage, dataset)
    unknown = [entry for entry in entries if entry not in graph.modules]
    if unknown:
        raise ConfigError(
            f"stage {stage} has no module {', '.join(unknown)}",
            where="dvc.yaml",
            expected=f"src/refit/stages/{stage}.py",
            do="name the stage after its module in refit.stages",
        )
    modules = {module for entry in entries for module in graph.find_upstream_modules(entry)}
    modules |= set(entries)
    packages = {
        ".".join(module.split(".")[:depth])
        for module in modules
        for depth in range(1, module.count(".") + 1)
    }
    files = {_file(root, module) for module in modules | packages}
    with_code = {path for path in files if _has_code(root / path)}
    return (*sorted(_whole_folders(root, with_code)), str(paths.CONSTRAINTS))


def _users_model(graph: grimp.ImportGraph, root: Path, stage: str, dataset: str) -> list[str]:
    """The modules behind a model of the dataset, in the stages that use the model."""
    name = (params.load(root / paths.PARAMS).get("train") or {}).get("model")
    module = f"{dataset}.{name}"
    own = f"refit.models.{name}" not in graph.modules and module in graph.modules
    return [USERS_MODEL, module] if own and stage in USING_THE_MODEL else []


def _whole_folders(root: Path, files: set[str]) -> set[str]:
    """Name a folder in place of its files where all are imported: DVC checks it faster."""
    shortened = set(files)
    for folder in {Path(path).parent for path in files}:
        inside = {path for path in files if Path(path).parent == folder}
        on_disk = {p.relative_to(root).as_posix() for p in (root / folder).rglob("*.py")}
        others = (root / path for path in sorted(on_disk - inside))
        if len(inside) > 1 and not any(map(_has_code, others)):
            shortened = shortened - inside | {folder.as_posix()}
    return shortened


def _has_code(path: Path) -> bool:
    """Whether the file holds more than a docstring; only then can it change a result."""
    body = ast.parse(path.read_bytes()).body
    return any(not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)) for s in body)


def _file(root: Path, module: str) -> str:
    path = Path(SOURCE, *module.split("."))
    package = path / "__init__.py"
    return (package if (root / package).exists() else path.with_suffix(".py")).as_posix()


def _graph(dataset: str) -> grimp.ImportGraph:
    try:
        return grimp.build_graph(
            "refit", dataset, cache_dir=None, exclude_type_checking_imports=True
        )
    except (grimp.exceptions.GrimpException, ImportError, ValueError) as error:
        raise ConfigError(
            f"the package {dataset} cannot be read",
            where="params.yaml, `dataset`",
            got=str(error),
            expected=f"a package in {SOURCE}/",
        ) from error


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 1000
    return yaml
