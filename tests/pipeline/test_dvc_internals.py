"""Each internal of DVC that Refit relies on does in the pinned DVC what Refit expects of it."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from refit.core.paths import RWLOCK
from refit.pipeline import dvc_internals
from refit.pipeline.stage_process import stage_process

STAGES = """\
stages:
  second:
    cmd: cat first.out > second.out
    deps: [first.out]
    outs: [second.out]
  first:
    cmd: cat data/rows/*.csv > first.out
    deps: [data/rows]
    outs: [first.out]
"""


@pytest.fixture
def repo(repository: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """DVC's own object for a repository with two stages that never ran."""
    repository.define(STAGES)
    monkeypatch.chdir(repository.root)
    opened = dvc_internals.open_repo(repository.root)
    yield opened
    opened.close()


def test_nodes_come_in_the_order_of_execution(repo: Any) -> None:
    """The graph holds tracked data and stages; dvc.lock says which of them have run."""
    nodes = dvc_internals.nodes(repo)
    assert [node.addressing for node in nodes] == ["data/rows.dvc", "first", "second"]
    assert [node.is_data_source for node in nodes] == [True, False, False]
    assert [dvc_internals.has_run(node) for node in nodes] == [True, False, False]
    repo.reproduce("first", single_item=True)
    nodes = dvc_internals.nodes(repo)
    assert [dvc_internals.has_run(node) for node in nodes] == [True, True, False]


def test_a_stage_is_computed_without_being_recorded(repo: Any, repository: Any) -> None:
    """Its result is in the run cache, from where `reproduce` restores and records it."""
    repository.define(
        STAGES.replace("cat data/rows/*.csv", "echo first >> ran; cat data/rows/*.csv")
    )
    (node,) = dvc_internals.compute(repo, "first", force=False, run_env={})
    assert dvc_internals.keeps_results(node)
    assert not (repository.root / "dvc.lock").exists()
    assert not (repository.root / ".gitignore").exists()
    (repository.root / "first.out").unlink()
    repo.reproduce("first", single_item=True)
    assert repository.read("first.out") == "1\n2\n"
    assert "  first:" in repository.read("dvc.lock")
    assert repository.read(".gitignore") == "/first.out\n"
    assert repository.ran() == ["first"]
    assert dvc_internals.compute(repo, "first", force=False, run_env={}) == []


def test_each_stage_is_listed_with_what_it_needs(repo: Any) -> None:
    """In the order of execution, without tracked data."""
    assert dvc_internals.needs(repo) == {"first": set(), "second": {"first"}}
    assert list(dvc_internals.needs(repo)) == ["first", "second"]


@pytest.mark.parametrize("status", [3, 137, -9])
def test_the_status_of_a_command_is_in_the_exception(
    repo: Any, repository: Any, status: int
) -> None:
    """An exit status and a signal are found, also in a command that names a status itself."""
    command = f"kill {status} $$" if status < 0 else f"exit {status}"
    command = f"{command}  # exited with 1"
    repository.define(STAGES.replace("cat data/rows/*.csv > first.out", json.dumps(command)))
    with pytest.raises(dvc_internals.dvc_exception()) as caught:
        repo.reproduce("first", single_item=True)
    assert dvc_internals.exit_status(caught.value) == status


def test_an_error_of_dvc_itself_has_no_status(repo: Any) -> None:
    """A stage that does not exist is an error of DVC, not of a command."""
    with pytest.raises(dvc_internals.dvc_exception()) as caught:
        repo.reproduce("absent", single_item=True)
    assert dvc_internals.exit_status(caught.value) is None


def test_two_processes_never_hold_one_lock(repo: Any) -> None:
    """The locks are those that DVC itself takes."""
    for path in (Path(repo.lock.lockfile), dvc_internals.rwlock_guard(repo)):
        with (
            dvc_internals.lock(repo, path),
            pytest.raises(dvc_internals.lock_error()),
            dvc_internals.lock(repo, path),
        ):
            pass
    with (
        dvc_internals.lock(repo, dvc_internals.rwlock_guard(repo)),
        pytest.raises(dvc_internals.dvc_exception()) as caught,
    ):
        repo.reproduce("first", single_item=True)
    assert isinstance(caught.value.__cause__, dvc_internals.lock_error())


def test_dvc_writes_its_files_through_its_file_system(
    repo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dvc.lock and rwlock are written to the temporary file and renamed, each time."""
    names: list[str] = []
    replace = Path.replace

    def note(self: Path, target: str) -> Path:
        names.append(Path(target).name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", note)
    dvc_internals.write_atomically(repo, tmp_path / "temporary")
    repo.reproduce("first", single_item=True)
    assert {"dvc.lock", RWLOCK.name} <= set(names)


def test_dvc_prints_nothing_but_hands_its_warnings_on(repo: Any, capfd: Any) -> None:
    """Neither messages nor bars nor spinners reach the terminal; warnings reach the listener."""
    warnings = dvc_internals.silence()
    heard: list[str] = []
    with warnings.to(heard.append):
        repo.reproduce("first", single_item=True)
        logging.getLogger("dvc.stage.cache").warning("a %s", "warning")
        logging.getLogger("dvc.stage.cache").info("a message")
    logging.getLogger("dvc.stage.cache").warning("later")
    assert heard == ["a warning"]
    from dvc.progress import Tqdm
    from dvc.ui import ui

    assert Tqdm(total=1).disable
    ui.error_console.print("a spinner's line")
    assert tuple(capfd.readouterr()) == ("", "")


def test_a_result_is_filed_under_its_key(repo: Any) -> None:
    """The run cache holds one file for each result, in the folder of the stage's key."""
    repo.reproduce("first", single_item=True)
    (node,) = (node for node in dvc_internals.nodes(repo) if node.addressing == "first")
    key = dvc_internals.run_cache_key(node)
    assert key is not None
    (result,) = (dvc_internals.run_cache(repo) / key[:2] / key).iterdir()
    assert len(result.name) == 64
    assert yaml.safe_load(result.read_text())["cmd"] == node.cmd


def test_an_object_lies_at_its_path(repo: Any, repository: Any) -> None:
    """The cache's file with the digest of an output holds the output."""
    repo.reproduce("first", single_item=True)
    (node,) = (node for node in dvc_internals.nodes(repo) if node.addressing == "first")
    path = dvc_internals.object_path(repo, node.outs[0].hash_info.value)
    assert path.read_text() == repository.read("first.out")


def test_dvc_starts_commands_with_the_shell_of_the_environment(repo: Any, tmp_path: Path) -> None:
    """A stage that runs reports its process; one that is restored or unchanged reports nothing."""
    with stage_process(tmp_path) as process, process.listen(print):
        repo.reproduce("first", single_item=True, run_env=process.environment)
    assert process.ran
    with stage_process(tmp_path) as process, process.listen(print):
        assert not repo.reproduce("first", single_item=True, run_env=process.environment)
    assert not process.ran
    Path("first.out").unlink()
    with stage_process(tmp_path) as process, process.listen(print):
        assert repo.reproduce("first", single_item=True, run_env=process.environment)
    assert not process.ran


def test_dvc_names_processes_and_stages_to_its_commands(repo: Any, repository: Any) -> None:
    """A command finds DVC_STAGE in its environment, and its parent in the rwlock."""
    command = f"echo $DVC_STAGE > first.out; cp {RWLOCK} copy"
    repository.define(STAGES.replace("cat data/rows/*.csv > first.out", command))
    repo.reproduce("first", single_item=True)
    assert repository.read("first.out") == "first\n"
    (writer,) = json.loads(repository.read("copy"))["write"].values()
    assert writer["pid"] == os.getpid()
