"""Versions whose files, or whose rows in MLflow's database, were changed by somebody hostile."""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import hostile_graphs
import hostile_json
import pytest

from refit.core import files, paths
from refit.core.errors import DataError, PipelineError, RegistryError
from refit.promotion import decide, registered
from refit.registry.artifact_store import below
from refit.registry.registry import Registry
from refit.registry.version import PARTITIONS, SIGNATURE_TAG, Version, partitions_digest
from refit.reproducibility.target import find_target
from refit.review import build
from refit.review.build import Review
from refit.serving import lineage_schema
from refit.serving.digest import identity
from refit.workflow import doctor

pytestmark = pytest.mark.slow
OTHERS = ("MLmodel", "model.pkl", "sitecustomize.py")


@pytest.fixture(scope="module")
def champion(
    projects: Callable[[str], Any],
    once: Callable[[str, Callable[[Path], object]], Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """A project with a champion; each test puts back what it changes."""

    def make(root: Path) -> None:
        decide.decide(projects("pumps").copy(root).root)

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        made = once("hostile-pumps", make)
        yield made.copy_with_registry(tmp_path_factory.mktemp("hostile") / "pumps").root


@pytest.fixture
def root(champion: Path) -> Iterator[Path]:
    """The project; its database and the files of its versions are put back after the test."""
    database, bundle = champion / paths.MLFLOW, stored(champion)
    rows = sqlite3.connect(":memory:")
    with closing(sqlite3.connect(database)) as opened:
        opened.backup(rows)
    kept = {path.name: path.read_bytes() for path in bundle.iterdir()}
    yield champion
    with closing(rows), closing(sqlite3.connect(database)) as opened:
        rows.backup(opened)  # and not the file's bytes: MLflow has it open
    for path in bundle.iterdir():
        if path.name not in kept:
            path.rmdir() if path.is_dir() else path.unlink()
    for name, content in kept.items():
        path = bundle / name
        if path.is_dir():
            path.rmdir()
        path.write_bytes(content)


def stored(root: Path) -> Path:
    """The folder of version 1 in the artifact store."""
    (folder,) = (root / paths.ARTIFACTS).rglob("bundle-*")
    return folder


def version(root: Path) -> tuple[Registry, Version]:
    registry = Registry.open(root)
    return registry, registry.versions.get(1)


def every_use(root: Path) -> dict[str, Callable[[], object]]:
    """What reads a version's files, by the command that does."""
    registry, one = version(root)
    return {
        "lineage": lambda: registry.artifacts.lineage(one),
        "reproduce": lambda: find_target(root, registry, "1"),
        "review": lambda: build.review_version(root, registry, one),
        "compare": lambda: build.compare_versions(root, registry, one, one),
        "rollback": lambda: registered.check(registry, one),
        "promote": lambda: registered.load(registry, one),
    }


def missing(review: object) -> str:
    """What a review says is missing."""
    assert isinstance(review, Review)
    return "\n".join(review.missing)


@pytest.mark.parametrize("use", ["lineage", "reproduce", "review", "compare", "rollback"])
@pytest.mark.parametrize("name", ["an option as commit", "learnt from nothing", "a list"])
def test_a_hostile_lineage_is_named_by_every_command(root: Path, use: str, name: str) -> None:
    """One error, or a line of the review, says what is wrong; Git is not asked about it."""
    path = stored(root) / "lineage.json"
    text = hostile_json.texts(files.read_json(path), hostile_json.LINEAGE)[name]
    path.write_text(text)
    registry, _ = version(root)
    if name == "learnt from nothing":  # by somebody who can write the tags, too
        registry.tags.set(1, {PARTITIONS: partitions_digest(json.loads(text))})
    run = every_use(root)[use]
    if use in {"review", "compare"}:
        assert "lineage.json is not what it must be. Got" in missing(run())
    else:
        with pytest.raises(RegistryError, match=r"version 1: lineage.json is not what it must be"):
            run()
    assert not list(root.rglob("stolen"))


@pytest.mark.parametrize("name", ["the same input twice", "a threshold that is NaN", "null"])
def test_a_hostile_signature_is_named_in_a_review(root: Path, name: str) -> None:
    """A line of the page says what is wrong, or that the file is another one."""
    path = stored(root) / "signature.json"
    text = hostile_json.texts(files.read_json(path), hostile_json.SIGNATURE)[name]
    path.write_text(text)
    review = every_use(root)["review"]
    assert "signature.json is not the file that was registered" in missing(review())
    registry, _ = version(root)
    registry.tags.set(1, {SIGNATURE_TAG: hashlib.sha256(text.encode()).hexdigest()})
    assert "signature.json is not what it must be. Got" in missing(every_use(root)["review"]())
    with pytest.raises(RegistryError, match="not the one that was registered"):
        every_use(root)["rollback"]()


def test_a_lineage_that_leaves_out_a_partition_is_another_one(root: Path) -> None:
    """What a champion has learnt from decides on which rows it is judged, so a tag holds it."""
    path = stored(root) / "lineage.json"
    lineage = files.read_json(path)
    lineage["partitions"]["train"] = lineage["partitions"]["train"][1:]
    files.write_json(path, lineage)
    for use in ("lineage", "rollback"):
        with pytest.raises(RegistryError, match="names other partitions than when it was"):
            every_use(root)[use]()
    lineage["digest"] = "0" * 64
    files.write_json(path, lineage)
    with pytest.raises(RegistryError, match="is that of another model"):
        every_use(root)["lineage"]()


def update(root: Path, statement: str, *values: str) -> None:
    """Change MLflow's database behind its back."""
    with closing(sqlite3.connect(root / paths.MLFLOW)) as database, database:
        assert database.execute(statement, values).rowcount


@pytest.mark.parametrize("use", ["lineage", "reproduce", "review", "compare", "rollback"])
def test_files_in_another_place_are_not_read(root: Path, use: str, tmp_path: Path) -> None:
    """The address of a run's files lies below the artifacts of its experiment, or nothing is read."""
    run = stored(root).parents[1].name
    for address in (tmp_path.as_uri(), "http://127.0.0.1:9/files", "s3://bucket/files"):
        update(root, "update runs set artifact_uri = ? where run_uuid = ?", address, run)
        with pytest.raises(
            RegistryError, match=r"to another place. Got .* Expected an address below"
        ):
            every_use(root)[use]()


@pytest.mark.parametrize(
    ("address", "location", "expected"),
    [
        ("file:///p/.refit/mlartifacts/n/RUN/artifacts", "file:///p/.refit/mlartifacts/n", True),
        ("/p/mlruns/1/RUN/artifacts", "/p/mlruns/1", True),
        ("mlflow-artifacts:/1/RUN/artifacts", "mlflow-artifacts:/1", True),
        ("s3://bucket/team/1/RUN/artifacts", "s3://bucket/team/1", True),
        ("s3://bucket/RUN/artifacts", "s3://bucket", True),
        ("https://host/x/RUN/artifacts", "https://host/x/", True),
        ("s3://other/team/1/RUN/artifacts", "s3://bucket/team/1", False),
        ("s3://bucket/team/12/RUN/artifacts", "s3://bucket/team/1", False),
        ("http://host/x/RUN/artifacts", "https://host/x", False),
        ("https://host@evil/x/RUN/artifacts", "https://host/x", False),
        ("https://host/x/RUN/artifacts?next=evil", "https://host/x", False),
        ("/p/mlruns/1/OTHER/artifacts", "/p/mlruns/1", False),
        ("/p/mlruns/1/RUN/../../../etc", "/p/mlruns/1", False),
        ("file:///p/1/RUN/%2e%2e/%2e%2e/etc", "file:///p/1", False),
        ("file:///p/1", "file:///p/1", False),
        ("", "file:///p/1", False),
    ],
)
def test_the_place_of_a_run_is_below_its_experiment(
    address: str, location: str, *, expected: bool
) -> None:
    """Whatever kind of store it is: folders, buckets, MLflow's own server."""
    assert below(address, location, "RUN") is expected


def test_other_files_beside_the_bundle_are_named_and_left(root: Path) -> None:
    """Check, review and doctor name them; a download takes the bundle's own files alone."""
    folder = stored(root)
    for name in OTHERS:
        (folder / name).write_text("loader_module: evil")
    (folder / "code").mkdir()
    names = "MLmodel, code, model.pkl, sitecustomize.py"
    assert registered.check(*version(root)).endswith(f"not its own, and ignored: {names}")
    review = every_use(root)["review"]()
    assert isinstance(review, Review)
    assert ("Beside the bundle", f"{names} (never loaded)") in review.lineage
    check = doctor._bundles(root)
    assert not check.ok
    assert "version 1: model.pkl is not part of the bundle" in check.detail
    registry, one = version(root)
    model = registered.load(registry, one)
    assert {path.name for path in model.folder.iterdir()} == {
        "model.onnx",
        "signature.json",
        "lineage.json",
        "examples.parquet",
    }


@pytest.mark.parametrize("name", ["model.onnx", "lineage.json", "examples.parquet"])
def test_a_folder_in_the_place_of_a_file_is_one_error(root: Path, name: str) -> None:
    """It is neither entered nor copied."""
    (stored(root) / name).unlink()
    (stored(root) / name).mkdir()
    with pytest.raises(RegistryError, match=f"{name} is no file of a bundle. Got a folder"):
        every_use(root)["rollback"]()


@pytest.mark.parametrize("digest", ["", "../../../../x", "A" * 64])
def test_a_digest_that_is_none_names_no_folder(root: Path, digest: str) -> None:
    """It is refused before a path is made of it."""
    update(root, "update model_version_tags set value = ? where key = 'refit.digest'", digest)
    with pytest.raises(RegistryError, match="the registry has no digest of the bundle"):
        every_use(root)["promote"]()


def test_a_registered_model_that_never_ends_is_refused(root: Path) -> None:
    """A hostile graph that is registered with all its digests is still run by nobody."""
    folder = stored(root)
    made = hostile_graphs.endless()
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    digest = identity(folder)
    renamed = folder.with_name(f"bundle-{digest[:12]}")
    lineage = files.read_json(folder / "lineage.json") | {"digest": digest}
    files.write_json(folder / "lineage.json", lineage)
    folder.rename(renamed)
    try:
        update(root, "update model_version_tags set value = ? where key = 'refit.digest'", digest)
        for use in ("rollback", "promote"):
            with pytest.raises(RegistryError, match=r"does not predict: .*the operator Loop"):
                every_use(root)[use]()
        assert not (root / paths.BUNDLES / digest).exists()
    finally:
        renamed.rename(folder)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (hostile_graphs.endless, "the operator Loop"),
        (hostile_graphs.good, "no input heat; no input maker"),
    ],
)
def test_a_hostile_candidate_is_not_decided_about(
    root: Path, make: Callable[[], Any], message: str
) -> None:
    """A graph that came with somebody's cache is refused, and nothing is registered."""
    path = root / paths.BUNDLE / "model.onnx"
    kept = path.read_bytes()
    path.write_bytes(make().SerializeToString())
    try:
        with pytest.raises(DataError, match=message):
            decide.decide(root)
        assert len(Registry.open(root).versions.all()) == 1
        (path.parent / "sitecustomize.py").touch()
        with pytest.raises(PipelineError, match="files beside the bundle are not its own"):
            decide.decide(root)
    finally:
        (path.parent / "sitecustomize.py").unlink(missing_ok=True)
        path.write_bytes(kept)


def test_what_refit_writes_is_what_it_reads(root: Path) -> None:
    """The lineages of stage and version pass their schemas, with the tags of the version."""
    lineage_schema.read(root / paths.BUNDLE / "lineage.json", lineage_schema.BUNDLE)
    registry, one = version(root)
    assert registry.artifacts.lineage(one)["digest"] == one.digest
    assert registry.artifacts.others(one) == ()
