"""Where the files of versions lie, and which of them are taken.

A version's files are those of its run, and MLflow keeps the address of a run's files in its
database. A row that was changed there could send every reader to another folder or to a web server.
So the address must lie where MLflow puts it: below the artifact location of the run's experiment,
whatever that is (a folder, a bucket, MLflow's own server).

Of a bundle's folder only the bundle's own files are taken. Others are named, and never read.
"""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from refit.core.errors import RegistryError
from refit.core.printable import one_line
from refit.registry.version import Version
from refit.serving.digest import FILES, TWIN

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXAMPLES_FILE = "examples.parquet"
"""Example rows with the version's own predictions, beside its bundle."""
LARGEST = 2**31
"""Bytes; no ONNX file is larger, and no other file of a bundle comes near."""
SHOWN = 200
"""Characters of an address that an error shows."""


def bundle_folder(digest: str) -> str:
    """The folder of a bundle among the artifacts of its run."""
    return f"bundle-{digest[:12]}"


def own_files(version: Version) -> tuple[str, ...]:
    """The files of a registered bundle."""
    return (*FILES, EXAMPLES_FILE, *([TWIN] if version.is_release else []))


def require_own_place(address: str, location: str, run: str, name: str) -> None:
    """Raise RegistryError unless the files of a run lie where MLflow puts them.

    Args:
        address: of the run's files.
        location: the folder of all artifacts of the run's experiment.
        run: its id.
        name: of the registered model.
    """
    if not below(address, location, run):
        raise RegistryError(
            "the registry sends readers of a version's files to another place",
            where=f"registered model {name}, run {_shown(run)}",
            got=_shown(address),
            expected=f"an address below {_shown(location)}, the artifacts of its experiment",
            do="restore MLflow's database from a backup; nothing was read from there",
        )


def below(address: str, location: str, run: str) -> bool:
    """Whether an address is that of the run's files below the artifact location."""
    got, root = urlsplit(address), urlsplit(location)
    if got._replace(path="") != root._replace(path=""):
        return False
    parts, first = PurePosixPath(got.path).parts, PurePosixPath(root.path).parts
    rest = parts[len(first) :]
    plain = ".." not in unquote(got.path).split("/")
    return plain and parts[: len(first)] == first and run in rest


def take(client: "MlflowClient", version: Version, folder: str, target: Path) -> Path:
    """Download the bundle's own files, as far as they are there.

    Args:
        client: of the registry.
        version: whose bundle it is.
        folder: of the bundle among the artifacts of its run.
        target: receives the folder.

    Raises:
        RegistryError: a folder has the name of a file, or a file is too large.
    """
    bundle = target / folder
    bundle.mkdir()
    listed = {PurePosixPath(a.path).name: a for a in client.list_artifacts(version.run, folder)}
    for name in own_files(version):
        if name not in listed:
            continue
        if listed[name].is_dir or (listed[name].file_size or 0) > LARGEST:
            size = listed[name].file_size
            raise RegistryError(
                f"{name} is no file of a bundle",
                where=f"version {version.number}, {folder}",
                got="a folder" if listed[name].is_dir else f"{size:,} bytes",
                expected=f"a file of at most {LARGEST:,} bytes",
                do="restore the artifact store from a backup",
            )
        local = client.download_artifacts(version.run, f"{folder}/{name}", str(bundle))
        Path(local).replace(bundle / name)  # stores differ in the folders that they make
    return bundle


def others(names: Iterable[str], version: Version) -> tuple[str, ...]:
    """The names that are not of the version's own files, sorted; a program may print them."""
    return tuple(map(_shown, sorted({*names} - {*own_files(version)})))


def _shown(text: object) -> str:
    """A foreign text on one line, cut where it is long."""
    return one_line(str(text)[:SHOWN])
