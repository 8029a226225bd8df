"""The results that DVC keeps: how many there are of one computation, and whether they are intact.

DVC files every result under a key of the stage's command, dependencies and parameters, through
either door and, after a pull, from other machines. Two results under one key prove that the stage
is not deterministic.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from refit.pipeline import dvc_internals, recovery
from refit.pipeline.repository import Repository

DIGEST_LENGTH = 64


@dataclass(frozen=True, kw_only=True)
class SeveralResults:
    """Different results of one computation."""

    stage: str
    key: str
    """DVC's, 64 hexadecimal digits."""
    count: int
    present: bool
    """Whether the stage has these inputs now."""

    def __str__(self) -> str:
        """As `refit status` and `refit doctor` show it."""
        inputs = "the same inputs" if self.present else "the same earlier inputs"
        return f"{self.stage}: {self.count} different results from {inputs} (key {self.key[:12]})"


def result_counts(repository: Repository) -> dict[str, int]:
    """How many different results each stage has had from its present inputs."""
    folder = dvc_internals.run_cache(repository.repo)
    return {stage: len(_results(folder / key[:2] / key)) for stage, key in _keys(repository)}


def several_results(repository: Repository) -> tuple[SeveralResults, ...]:
    """Every computation, of present and of earlier inputs, with different results."""
    present = {key: stage for stage, key in _keys(repository)}
    folders = sorted(dvc_internals.run_cache(repository.repo).glob("*/*"))
    results = {folder.name: _results(folder) for folder in folders}
    return tuple(
        SeveralResults(
            stage=present.get(key) or _stage_of(paths[0]),
            key=key,
            count=len(paths),
            present=key in present,
        )
        for key, paths in results.items()
        if len(paths) > 1
    )


def delete_damaged(repository: Repository, stage: str, *, folders_only: bool = False) -> list[Path]:
    """Delete cached objects of the stage's outputs that are damaged; returns their paths.

    DVC restores them without reading them, since they are write-protected. A folder's list of files
    that it cannot read, DVC neither uses nor replaces.
    """
    node, repo = repository.stage(stage), repository.repo
    digests = [out.hash_info.value for out in node.outs if out.hash_info]
    objects = [dvc_internals.object_path(repo, digest) for digest in digests]
    lists = [path for path in objects if path.suffix == ".dir" and path.exists()]
    if folders_only:
        objects = lists
    else:
        entries = (entry for path in lists for entry in json.loads(path.read_bytes()))
        objects += [dvc_internals.object_path(repo, entry["md5"]) for entry in entries]
    damaged = [path for path in objects if not recovery.is_intact(path)]
    for path in damaged:
        path.unlink()
    return damaged


def _keys(repository: Repository) -> Iterator[tuple[str, str]]:
    """Each stage that has run, with the key of its present inputs where all of them exist."""
    for node in repository.nodes():
        has_inputs = all(dependency.exists for dependency in node.deps)
        if not node.is_data_source and dvc_internals.has_run(node) and has_inputs:
            key = dvc_internals.run_cache_key(node)
            if key:
                yield node.addressing, key


def _results(folder: Path) -> list[Path]:
    """The results in the folder of one key, without files that are being written."""
    return sorted(path for path in folder.glob("*") if len(path.name) == DIGEST_LENGTH)


def _stage_of(result: Path) -> str:
    """The stage of a result, by the command in it."""
    stored: dict[str, Any] = yaml.safe_load(result.read_text(encoding="utf-8"))
    return str(stored["cmd"]).rpartition("-m refit ")[2]
