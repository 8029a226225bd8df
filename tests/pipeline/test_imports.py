"""dvc.yaml names the code that its stages import: the committed file, and a file that was fixed."""

import functools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from refit.core.errors import ConfigError
from refit.pipeline import stage_deps

ROOT = Path(__file__).resolve().parents[2]
DRIFT = "      - src/refit/data/drift.py\n"
BUNDLE = "      - src/refit/serving/bundle.py\n"
LACKS = "stage validate: src/refit/data/drift.py is imported but not named under `deps`"
MODULE = "src/refit/stages/validate.py"
EXTRA = "stage validate: src/refit/serving/bundle.py is named under `deps` but not imported"


@pytest.fixture(autouse=True, scope="module")
def _one_graph() -> Iterator[None]:
    """Read the graph of the installed packages once; no test changes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage_deps, "_graph", functools.cache(stage_deps._graph))
        yield


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the files that the check reads; the graph is that of the installed packages."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def change(project: Path, old: str, new: str) -> None:
    path = project / "dvc.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_committed_file_is_right() -> None:
    """The committed dvc.yaml names exactly what each stage imports."""
    assert stage_deps.check(ROOT) == []


def test_a_right_file_is_not_written(project: Path) -> None:
    """Fixing a right file reports nothing and does not write it."""
    path = project / "dvc.yaml"
    path.chmod(0o444)
    before = path.stat()
    assert stage_deps.fix(project) == []
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert path.read_text() == (ROOT / "dvc.yaml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "problems"),
    [
        (DRIFT, "", [LACKS]),
        (DRIFT, DRIFT + BUNDLE, [EXTRA]),
        (DRIFT, BUNDLE, [LACKS, EXTRA]),
        (
            "      - constraints.txt\n",
            "",
            ["stage validate: constraints.txt is imported but not named under `deps`"],
        ),
        (
            "      - src/flights/tables.py\n",
            "",
            ["stage validate: src/flights/tables.py is imported but not named under `deps`"],
        ),
        (
            "      - src/refit/stages/validate.py\n",
            "      - src/refit/stages/gone.py\n",
            [
                f"stage validate: {MODULE} is imported but not named under `deps`",
                "stage validate: src/refit/stages/gone.py is named under `deps` but not imported",
            ],
        ),
    ],
    ids=["removed", "added", "exchanged", "constraints", "dataset", "renamed"],
)
def test_a_wrong_dependency_is_named_and_fixed(
    project: Path, old: str, new: str, problems: list[str]
) -> None:
    """Each problem is one sentence, and fixing restores the committed file to the byte."""
    change(project, old, new)
    assert stage_deps.check(project) == problems
    assert stage_deps.fix(project) == problems
    assert (project / "dvc.yaml").read_text() == (ROOT / "dvc.yaml").read_text()
    assert stage_deps.check(project) == stage_deps.fix(project) == []


def test_a_stage_depends_on_its_own_code_alone() -> None:
    """Training does not depend on the dataset's code, and validation not on the network's."""
    training = stage_deps.closure(ROOT, "train", "flights")
    assert not [path for path in training if "flights" in path]
    assert "src/refit/models/network.py" in training
    validation = stage_deps.closure(ROOT, "validate", "flights")
    assert "src/flights/tables.py" in validation
    assert not {"src/refit/models/network.py", "src/flights/examples.py"} & set(validation)


def test_a_folder_stands_for_its_files_when_all_are_imported(project: Path) -> None:
    """If the stage does not import one module of the folder, the files are named one by one."""
    assert "src/flights/features" in stage_deps.closure(project, "preprocess", "flights")
    (project / "src/flights/features/notes.py").write_text('"""Only a docstring."""\n')
    assert "src/flights/features" in stage_deps.closure(project, "preprocess", "flights")
    (project / "src/flights/features/unused.py").write_text("VALUE = 1\n")
    named = stage_deps.closure(project, "preprocess", "flights")
    assert "src/flights/features/weather.py" in named
    assert not {"src/flights/features", "src/flights/features/unused.py"} & set(named)


def test_every_stage_is_checked(project: Path) -> None:
    """A problem in each of two stages is named with its stage."""
    change(project, DRIFT, "")
    change(project, "      - src/refit/stages/train.py\n", "")
    assert stage_deps.check(project) == [
        LACKS,
        "stage train: src/refit/stages/train.py is imported but not named under `deps`",
    ]


def test_fixing_keeps_comments_and_data(project: Path) -> None:
    """Comments above and between stages stay, and so do data dependencies in their order."""
    change(project, "  train:\n", "  # The long one.\n  train:\n")
    change(project, "      - data/model\n      - data/baseline\n", "      - data/baseline\n")
    change(project, "      - data/baseline\n", "      - data/baseline\n      - data/model\n")
    change(project, "    params:\n", "    params:  # read once\n")
    right = (project / "dvc.yaml").read_text()
    change(project, DRIFT, BUNDLE)
    stage_deps.fix(project)
    assert (project / "dvc.yaml").read_text() == right


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("      - data/raw\n", "      - data/raw  # what arrived\n"),
        ("      - data/raw\n", "      # what arrived\n      - data/raw\n"),
        ("      - src/refit/dataset.py\n", "      - src/refit/dataset.py  # its words\n"),
        (
            "      - constraints.txt\n    params:",
            "      - constraints.txt\n    # read\n    params:",
        ),
    ],
    ids=["at data", "above data", "at code", "after the list"],
)
def test_fixing_keeps_comments_in_the_list(project: Path, old: str, new: str) -> None:
    """Comments among the dependencies stay where they are."""
    change(project, old, new)
    right = (project / "dvc.yaml").read_text()
    change(project, DRIFT, "")
    stage_deps.fix(project)
    assert (project / "dvc.yaml").read_text() == right


def test_other_commands_are_ignored(project: Path) -> None:
    """A stage that is not Refit's may have any dependencies."""
    change(
        project, "stages:\n", "stages:\n  own:\n    cmd: make\n    deps: [src/refit/cli/app.py]\n"
    )
    before = (project / "dvc.yaml").read_text()
    assert stage_deps.check(project) == stage_deps.fix(project) == []
    assert (project / "dvc.yaml").read_text() == before


def test_a_stage_without_a_module_is_named(project: Path) -> None:
    """For a stage without a module the error says where one is expected; nothing is written."""
    change(project, "  validate:\n", "  inspect:\n")
    before = (project / "dvc.yaml").read_text()
    for ask in (stage_deps.check, stage_deps.fix):
        with pytest.raises(ConfigError, match=r"stage inspect has no .*src/refit/stages/inspect"):
            ask(project)
    assert (project / "dvc.yaml").read_text() == before


def test_an_unknown_dataset_is_named(project: Path) -> None:
    """For a dataset that is not a package the error names the place that names it."""
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("dataset: flights", "dataset: no_such_rows"))
    with pytest.raises(ConfigError, match=r"params\.yaml.*no_such_rows"):
        stage_deps.check(project)


def test_a_stage_without_dependencies_is_fixed(project: Path) -> None:
    """A new stage with no `deps` yet gets them."""
    text = (project / "dvc.yaml").read_text()
    begin = text.index("    deps:\n")
    end = text.index("    params:\n", begin)
    (project / "dvc.yaml").write_text(text[:begin] + text[end:])
    stage_deps.fix(project)
    assert stage_deps.check(project) == []
