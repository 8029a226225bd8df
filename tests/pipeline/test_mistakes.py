"""What a user can break around the pipeline, and the paragraph that explains it."""

import shutil
from typing import Any

import pytest

from refit.core.errors import PipelineError
from refit.pipeline.dvc import open_pipeline

STAGES = """\
stages:
  only:
    cmd: cat data/rows/*.csv > out
    deps: [data/rows]
    params: [a]
    outs: [out]
"""
CYCLE = """\
stages:
  one: {cmd: "true", deps: [b], outs: [a]}
  two: {cmd: "true", deps: [a], outs: [b]}
"""


def paragraph(error: PipelineError) -> str:
    text = str(error)
    assert text.count("\n") == 0, text
    assert text.endswith("."), text
    return text


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        (".git", "there is no Git repository. Got no .git. Expected a clone"),
        (".dvc", "there is no DVC repository. Got no .dvc. Expected a clone"),
    ],
)
def test_a_missing_repository_is_named(repository: Any, folder: str, words: str) -> None:
    """Without Git or DVC the error names the folder and the fix, and nothing is made."""
    shutil.rmtree(repository.root / folder)
    with pytest.raises(PipelineError) as caught, open_pipeline(repository.root):
        pass
    text = paragraph(caught.value)
    assert text.startswith(f"{repository.root}: {words}")
    assert f"`{folder[1:]} init`" in text
    assert not (repository.root / folder).exists()


@pytest.mark.parametrize(
    ("folder", "name", "text", "words"),
    [
        (".git", "x", "", "is not a git repository"),
        (".dvc", "config", "[core\n", r"Invalid line \('\[core'\)"),
        (".dvc", "config", "[core]\nnonsense = 1\n", "nonsense"),
    ],
    ids=["no Git in .git", "config that is no ini file", "unknown option"],
)
def test_a_broken_repository_is_named(
    repository: Any, folder: str, name: str, text: str, words: str
) -> None:
    """For a repository that cannot be opened the error names folder and cause."""
    shutil.rmtree(repository.root / folder)
    repository.write(f"{folder}/{name}", text)
    with pytest.raises(PipelineError, match=words) as caught, open_pipeline(repository.root):
        pass
    assert paragraph(caught.value).startswith(f"{repository.root}: the DVC repository cannot be")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("dvc.yaml", "stages: [", "'dvc.yaml', YAML file structure is corrupted"),
        ("dvc.yaml", "- 1\n", "dvc.yaml' validation failed; expected a dictionary"),
        ("dvc.yaml", STAGES.replace("cmd", "command"), "extra keys not allowed .*command"),
        ("dvc.yaml", STAGES.replace("cat", "${gone}"), "'dvc.yaml': Could not find 'gone'"),
        ("dvc.yaml", CYCLE, "both a dependency and an output in stages: (one, two|two, one)"),
        ("dvc.yaml", STAGES + "  more: {cmd: x, outs: [out]}\n", "output 'out' is specified in"),
        ("dvc.lock", "\n", "dvc.lock' validation failed"),
        ("dvc.lock", "<<<<<<< HEAD\nschema: '2.0'\n", "'dvc.lock', YAML file structure is corrupt"),
        ("dvc.lock", "schema: '2.0'\nstages: [\n", "'dvc.lock', YAML file structure is corrupted"),
        ("params.yaml", "a: [", "'params.yaml', YAML file structure is corrupted"),
        ("data/rows.dvc", "outs: [", "'data/rows.dvc', YAML file structure is corrupted"),
    ],
)
def test_a_broken_file_is_named(repository: Any, name: str, text: str, words: str) -> None:
    """Stages, changes and a run each name the broken file in a paragraph."""
    repository.define(STAGES)
    repository.write(name, text)
    with open_pipeline(repository.root) as pipeline:
        for ask in (
            pipeline.stages,
            pipeline.changes,
            lambda: pipeline.run("only", on_output=print),
        ):
            with pytest.raises(PipelineError, match=words) as caught:
                ask()
            assert f"`git checkout {name}`" in paragraph(caught.value)
    assert not (repository.root / "out").exists()
    assert repository.read(name) == text


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        (STAGES.replace("data/rows]", "data/gone]"), "stage only failed: .*data/gone"),
        (STAGES.replace("[a]", "[gone]"), "'gone' are missing from 'params.yaml'"),
    ],
)
def test_a_missing_input_is_named(repository: Any, stages: str, words: str) -> None:
    """A missing dependency or parameter is named, and nothing is recorded."""
    repository.define(stages)
    with pytest.raises(PipelineError, match=words) as caught:
        repository.run()
    paragraph(caught.value)
    assert not (repository.root / "dvc.lock").exists()


def test_missing_tracked_data_is_named(repository: Any) -> None:
    """Missing tracked rows (a clone before `dvc pull`) are named."""
    repository.define(STAGES)
    shutil.rmtree(repository.root / "data/rows")
    with pytest.raises(PipelineError, match=r"data/rows\.dvc.*missing data 'source'") as caught:
        repository.run()
    paragraph(caught.value)


def test_what_cannot_be_tracked_is_named(repository: Any) -> None:
    """A missing file, or the output of a stage, cannot be tracked; the error names it."""
    repository.define(STAGES)
    repository.run()
    with open_pipeline(repository.root) as pipeline:
        for name in ("data/gone", "out"):
            path = repository.root / name
            with pytest.raises(PipelineError, match=f"{path} cannot be tracked") as caught:
                pipeline.track(path)
            paragraph(caught.value)
            assert not path.with_name(f"{path.name}.dvc").exists()


def test_a_relative_root_is_the_same_folder(
    repository: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The project can be named by a relative path."""
    repository.define(STAGES)
    monkeypatch.chdir(repository.root.parent)
    with open_pipeline(repository.root.relative_to(repository.root.parent)) as pipeline:
        assert pipeline.stages() == ("only",)


def test_a_duplicate_output_names_its_stages(repository: Any) -> None:
    """Two stages with the same output are both named."""
    repository.define(STAGES + "  more: {cmd: x, outs: [out]}\n")
    with (
        open_pipeline(repository.root) as pipeline,
        pytest.raises(PipelineError, match=r"(?s)'?only'?.*'?more'?|'?more'?.*'?only'?"),
    ):
        pipeline.stages()
