"""What is read is compared with what DVC recorded: the MD5 of every file.

DVC calls a file unchanged while its size, time and inode are as they were. So it does not see a bit
that flips on the disk, and a program that reads the file without DVC asks nobody. Here the bytes
that were read are compared.

The records are DVC's own files: data/raw.dvc for the raw rows and dvc.lock for what stages wrote
name the MD5 of a file, or of a folder's listing, which lies in DVC's cache. They are read without
DVC, whose import takes longer than a stage. Where the cache lacks the listing, nothing is compared.
"""

import configparser
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from refit.core import paths
from refit.core.errors import DataError
from refit.data import raw_files

FOLDER = ".dir"
"""How the digest of a folder's listing ends."""
RAW_POINTER = paths.RAW.with_name(f"{paths.RAW.name}.dvc")
OBJECTS = Path("files/md5")
"""Of a cache of DVC."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """The files that DVC has recorded."""

    root: Path
    """Of the project."""
    source: Path
    """The file that names them: data/raw.dvc or dvc.lock."""
    cache: Path
    digests: Mapping[str, str]
    """MD5 of each file, by its path below the root."""

    def below(self, folder: Path) -> list[Path]:
        """The recorded files below a folder of the project, or the file itself, sorted."""
        start = f"{folder.as_posix()}/"
        return [Path(p) for p in sorted(self.digests) if f"{p}/".startswith(start)]

    def require(self, path: Path, got: str) -> None:
        """Raise DataError if the file is recorded with another MD5.

        Args:
            path: below the root.
            got: the MD5 of what was read.
        """
        recorded = self.digests.get(path.as_posix())
        if recorded is not None and recorded != got:
            raise DataError(
                "the file is not what DVC has recorded",
                where=str(path),
                got=f"MD5 {got}",
                expected=f"{recorded} ({self.source})",
                do=self._fix(path, recorded),
            )

    def require_files(self, files: Iterable[Path]) -> None:
        """Raise DataError if one of the files is missing or has another MD5 than is recorded."""
        for path in files:
            if not (self.root / path).is_file():
                raise self._missing(path)
            self.require(path, md5(self.root / path))

    def require_partitions(self, folder: Path, partitions: Iterable[Path]) -> None:
        """Raise DataError unless a table's folder has the recorded partitions and no others.

        Args:
            folder: below the root.
            partitions: the files that are there.
        """
        there = set(partitions)
        recorded = {path for path in self.below(folder) if path.suffix == raw_files.SUFFIX}
        for path in sorted(recorded - there):
            raise self._missing(path)
        for path in sorted(there - recorded):
            raise DataError(
                "the file is not one that DVC has recorded",
                where=str(path),
                got="a new file",
                expected=f"one that {self.source} names",
                do="run `refit run` or `dvc repro`, which record it",
            )

    def _missing(self, path: Path) -> DataError:
        return DataError(
            "a file that DVC has recorded is missing",
            where=str(path),
            got="nothing there",
            expected=f"what {self.source} names",
            do=f"restore it with `dvc checkout {path}`; if it was deleted on purpose, run"
            " `refit run` or `dvc repro`, which record that",
        )

    def _fix(self, path: Path, recorded: str) -> str:
        """How to restore the file. DVC restores it only where it misses it."""
        cached = self.cache / OBJECTS / recorded[:2] / recorded[2:]
        changed = "if it was changed on purpose, run `refit run` or `dvc repro`, which record it"
        if cached.is_file() and md5(cached) == recorded:
            return f"delete the file and run `dvc checkout {path}`; {changed}"
        return (
            f"delete the file and its copy {cached}, which is damaged as well or missing, then"
            f" fetch it (`refit pull`) or make it again (`refit ingest`, `refit run`); {changed}"
        )


def raw_rows(root: Path) -> Record | None:
    """What data/raw.dvc records; None where data/raw is not tracked or its listing is missing."""
    return _record(root, RAW_POINTER, _tracked(root))


def outputs(root: Path) -> Record | None:
    """What dvc.lock records of the outputs of all stages; None where it records nothing."""
    return _record(root, paths.DVC_LOCK, _outputs(root))


def md5(path: Path) -> str:
    """MD5 of a file, as DVC names it."""
    with path.open("rb") as handle:
        hashed = hashlib.file_digest(handle, partial(hashlib.md5, usedforsecurity=False))
    return hashed.hexdigest()


def md5_of(data: bytes) -> str:
    """MD5 of what was read, as DVC names it."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _tracked(root: Path) -> Iterator[dict[str, Any]]:
    for out in _yaml(root / RAW_POINTER)["outs"]:
        yield {**out, "path": paths.RAW.as_posix()}


def _outputs(root: Path) -> Iterator[dict[str, Any]]:
    for stage in _yaml(root / paths.DVC_LOCK)["stages"].values():
        yield from stage.get("outs", ())


def _record(root: Path, source: Path, outs: Iterable[Mapping[str, Any]]) -> Record | None:
    cache = _cache(root / ".dvc")
    try:
        digests = {path: digest for out in outs for path, digest in _files(out, cache)}
    except (AttributeError, KeyError, TypeError):
        return None  # another form than DVC's, which DVC itself explains
    return Record(root=root, source=source, cache=cache, digests=digests) if digests else None


def _files(out: Mapping[str, Any], cache: Path) -> Iterator[tuple[str, str]]:
    """Path and MD5 of each file of an output; nothing where the listing is missing."""
    digest = str(out.get("md5", ""))
    if out.get("hash") != "md5" or not digest:
        return
    if not digest.endswith(FOLDER):
        yield str(out["path"]), digest
        return
    try:
        text = (cache / OBJECTS / digest[:2] / digest[2:]).read_text(encoding="utf-8")
        listing = json.loads(text)
    except (OSError, ValueError):
        return
    for entry in listing:
        yield f"{out['path']}/{entry['relpath']}", entry["md5"]


def _cache(folder: Path) -> Path:
    """The folder of DVC's cache, as its settings say: of this clone, the project or the user."""
    user = Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config")) / "dvc"
    for config in (folder / "config.local", folder / "config", user / "config"):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(config, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue  # DVC itself names what is wrong with it
        if parser.has_option("cache", "dir"):
            return config.parent / parser.get("cache", "dir")
    return folder / "cache"


def _yaml(path: Path) -> dict[str, Any]:
    """The content; empty where the file is missing or broken, which DVC itself explains."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), loader)  # noqa: S506 - a safe loader
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return loaded if isinstance(loaded, dict) else {}
