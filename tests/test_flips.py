"""Bits that flip on the disk: each is seen where the file is read, or changes no row."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from refit.core import files, paths
from refit.core.errors import DataError, PipelineError
from refit.data import recorded
from refit.pipeline.dvc import open_pipeline
from refit.promotion import candidate as candidates
from refit.reproducibility.lineage import _partition_digests
from refit.stages import validate

FLIPS = 40
SEED = 20_261_125
RAW = Path("data/raw/readings/part-2.parquet")


def flips(data: bytes) -> Iterator[bytes]:
    """The bytes with one bit flipped, at FLIPS random places."""
    generator = random.Random(SEED)
    for bit in generator.sample(range(len(data) * 8), FLIPS):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def overwrite(path: Path, data: bytes) -> None:
    """Change the bytes as the disk does: inode and time stay, so DVC sees nothing."""
    before = path.stat()
    with path.open("r+b") as handle:
        handle.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def project(pumps: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A project with tracked raw rows, as the working directory."""
    monkeypatch.chdir(pumps.root)
    monkeypatch.setenv("PYTHONPATH", str(pumps.root / "src"))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(pumps.root / ".dvc/tmp/site"))
    return pumps


def test_without_a_record_flips_change_rows(tmp_path: Path, pumps: Any) -> None:
    """The control: Parquet alone does not notice many of the flips, and their rows differ."""
    data = (pumps.root / RAW).read_bytes()
    expected = files.read_parquet(pumps.root / RAW)
    unseen = 0
    for flipped in flips(data):
        try:
            unseen += not files.parse_parquet(flipped, tmp_path).equals(expected)
        except DataError:
            continue
    assert unseen > FLIPS // 4


def test_a_stage_without_dvc_sees_every_flip(project: Any) -> None:
    """Each flip ends the stage in an error that names the file and the command that restores it."""
    data = RAW.read_bytes()
    validate.main()
    for flipped in flips(data):
        overwrite(RAW, flipped)
        with pytest.raises(DataError, match=r"part-2\.parquet: ") as caught:
            validate.main()
        assert "dvc checkout" in str(caught.value)
        with pytest.raises(DataError, match=r"part-2\.parquet: the file is not what DVC has"):
            _partition_digests(project.root)
    overwrite(RAW, data)
    validate.main()
    assert len(_partition_digests(project.root)) == 5


def test_the_named_command_restores_the_file(project: Any) -> None:
    """`dvc checkout` alone sees no change; with the file deleted it restores the recorded bytes."""
    data = RAW.read_bytes()
    overwrite(RAW, next(flips(data)))
    with pytest.raises(DataError, match=rf"delete the file and run `dvc checkout {RAW}`"):
        validate.main()
    RAW.unlink()
    project.call("dvc", "checkout", str(RAW))
    assert RAW.read_bytes() == data
    validate.main()


def test_a_damaged_copy_in_the_cache_is_named(project: Any) -> None:
    """Where the cache's copy is damaged too, the error names it, because DVC would restore it."""
    record = recorded.raw_rows(Path())
    assert record is not None
    digest = record.digests[RAW.as_posix()]
    cached = Path(f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}")
    flipped = next(flips(RAW.read_bytes()))
    cached.chmod(0o644)
    overwrite(cached, flipped)
    overwrite(RAW, flipped)
    with pytest.raises(DataError, match=rf"its copy {cached}, which is damaged as well"):
        validate.main()


@pytest.mark.parametrize("door", ["refit", pytest.param("dvc", marks=pytest.mark.heavy)])
def test_a_run_refuses_what_dvc_does_not_see(project: Any, door: str) -> None:
    """A stage that runs for another reason refuses a flipped file that DVC calls unchanged."""
    assert not through(project, door)
    overwrite(RAW, next(flips(RAW.read_bytes())))
    assert "the file is not what DVC has recorded" in through(project, door, force=True)


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize("door", ["refit", "dvc"])
def test_both_doors_see_every_flip(project: Any, door: str) -> None:
    """Unseen by DVC, a flip is not read while nothing else changes, and refused when it is read."""
    data = RAW.read_bytes()
    assert not through(project, door)
    before = files.digest(paths.VALIDATED)
    overwrite(RAW, next(flips(data)))
    assert not through(project, door)
    assert files.digest(paths.VALIDATED) == before
    for flipped in flips(data):
        overwrite(RAW, flipped)
        assert "part-2.parquet: " in through(project, door, force=True)
    overwrite(RAW, data)
    assert not through(project, door)
    assert files.digest(paths.VALIDATED) == before


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize("door", ["refit", "dvc"])
def test_a_file_that_was_replaced_is_recorded(project: Any, door: str) -> None:
    """New rows and a new partition run through either door without a word; by hand they do not."""
    assert not through(project, door)
    files.write_parquet(files.read_parquet(RAW).head(599), RAW)
    with pytest.raises(DataError, match="if it was changed on purpose, run `refit run`"):
        validate.main()
    assert not through(project, door)
    validate.main()
    shutil.copy(RAW.with_name("part-4.parquet"), RAW.with_name("part-5.parquet"))
    with pytest.raises(DataError, match=r"part-5\.parquet: the file is not one that DVC has"):
        validate.main()
    RAW.with_name("part-5.parquet").unlink()
    RAW.unlink()
    with pytest.raises(DataError, match=r"part-2\.parquet: a file that DVC has recorded is miss"):
        validate.main()
    assert not through(project, door)
    assert not RAW.exists()
    validate.main()


def through(project: Any, door: str, *, force: bool = False) -> str:
    """Run the stage through a door; returns its error, '' where it passed."""
    if door == "dvc":
        options = ["--force"] if force else []
        done = project.call("dvc", "repro", *options, "validate", check=False)
        return done.stderr if done.returncode else ""
    with open_pipeline(project.root) as pipeline:
        try:
            pipeline.run("validate", on_output=lambda _: None, force=force)
        except PipelineError as error:
            return str(error)
    return ""


def test_rows_that_were_validated_are_compared(project: Any, monkeypatch: Any) -> None:
    """Within DVC, `preprocess` refuses validated rows that are not what `validate` wrote."""
    from refit.stages import preprocess

    assert not through(project, "refit")
    path = paths.VALIDATED / "readings/part-2.parquet"
    monkeypatch.setenv("DVC_STAGE", "preprocess")
    preprocess.main()
    path.chmod(0o644)
    overwrite(path, next(flips(path.read_bytes())))
    with pytest.raises(DataError, match=r"validated/readings/part-2\.parquet: the file is not"):
        preprocess.main()


def test_a_decision_compares_what_it_reads(projects: Callable[[str], Any], tmp_path: Path) -> None:
    """Holdout, predictions, bundle and reports of a candidate are what the stages recorded."""
    root = projects("pumps").copy(tmp_path / "pumps").root
    candidate = candidates.load(root)
    candidates.require_as_recorded(candidate)
    model = paths.BUNDLE / "model.onnx"
    for path in (paths.HOLDOUT, paths.PREDICTIONS, paths.METRICS, paths.VALIDATION, model):
        data = (root / path).read_bytes()
        (root / path).chmod(0o644)
        overwrite(root / path, next(flips(data)))
        with pytest.raises(DataError, match=f"{path.name}: the file is not what DVC has recorded"):
            candidates.require_as_recorded(candidate)
        overwrite(root / path, data)
    (root / paths.SLICES).unlink()
    with pytest.raises(DataError, match=r"slices\.json: a file that DVC has recorded is missing"):
        candidates.require_as_recorded(candidate)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (".dvc/config.local", "[cache]\n    dir = ../elsewhere\n"),
        (".dvc/config", "[core]\n    analytics = false\n[cache]\ndir = ../elsewhere\n"),
    ],
)
def test_the_cache_is_where_the_settings_say(project: Any, config: str, text: str) -> None:
    """The listing is found in the folder that DVC's settings name."""
    shutil.move(".dvc/cache", "elsewhere")
    assert recorded.raw_rows(Path()) is None
    Path(config).write_text(text)
    record = recorded.raw_rows(Path())
    assert record is not None
    assert len(record.digests) == 5
    project.call("dvc", "status", "data/raw.dvc")


@pytest.mark.parametrize(
    "text",
    ["", "outs", "outs: 1", "outs: [1]", "outs:\n- md5: 0.dir\n  path: raw\n", "- 1", "outs: ["],
)
def test_a_pointer_that_says_nothing_compares_nothing(
    project: Any, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a record that can be read the stage works as before, and says so."""
    Path("data/raw.dvc").write_text(text)
    assert recorded.raw_rows(project.root) is None
    validate.main()
    assert "DVC has recorded none of its files" in capsys.readouterr().out
