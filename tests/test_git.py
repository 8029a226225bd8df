"""The commit that holds exactly what ran, on real Git repositories of every awkward kind."""

import subprocess
from pathlib import Path

import pytest

from refit.core.errors import SetupError
from refit.workspace import git


def call(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@y", *arguments],
        cwd=root,
        text=True,
        capture_output=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, in an environment without any Git identity."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    folder = tmp_path / "repository"
    folder.mkdir()
    call(folder, "init", "-q", "-b", "main")
    for name in ("kept", "changed", "deleted"):
        (folder / name).write_text(f"{name}\n")
    (folder / ".gitignore").write_text("ignored\n")
    call(folder, "add", "-A")
    call(folder, "commit", "-q", "-m", "first")
    return folder


def soil(root: Path) -> None:
    """Change, delete, add, stage and ignore something."""
    (root / "changed").write_text("otherwise\n")
    (root / "deleted").unlink()
    (root / "folder").mkdir()
    (root / "folder/new").write_text("new\n")
    (root / "ignored").write_text("not for Git\n")
    call(root, "add", "changed")


def picture(root: Path) -> tuple[str, str, str, bytes]:
    """What must stay: branch, its commit, the state of files, and the index."""
    index = (root / ".git/index").read_bytes()
    head, branch = call(root, "rev-parse", "HEAD"), call(root, "branch", "--show-current")
    return head, branch, call(root, "status", "--porcelain", "--ignored"), index


def names(root: Path, commit: str) -> list[str]:
    return call(root, "ls-tree", "-r", "--name-only", commit).splitlines()


def test_a_clean_workspace_is_its_own_commit(root: Path) -> None:
    """Nothing is made where nothing has changed."""
    found = git.snapshot(root)
    assert found.commit == found.parent == call(root, "rev-parse", "HEAD")
    assert found.branch == "main"


def test_a_dirty_workspace_is_held_and_left_as_it_was(root: Path) -> None:
    """Changed, new and deleted files are in the commit; branch, index and files stay."""
    soil(root)
    before = picture(root)
    found = git.snapshot(root)
    assert picture(root) == before
    assert found.parent == call(root, "rev-parse", "HEAD") != found.commit
    assert names(root, found.commit) == [".gitignore", "changed", "folder/new", "kept"]
    assert call(root, "show", f"{found.commit}:changed") == "otherwise"
    assert call(root, "rev-parse", f"{found.commit}^") == found.parent


def test_the_same_content_is_the_same_commit(root: Path) -> None:
    """Neither the moment nor the user is part of it."""
    soil(root)
    first = git.snapshot(root)
    (root / "later").write_text("x")
    assert git.snapshot(root).commit != first.commit
    (root / "later").unlink()
    assert git.snapshot(root) == first


def test_it_is_taken_from_a_folder_below_as_well(root: Path) -> None:
    """The whole repository is held, wherever in it the project lies."""
    soil(root)
    assert git.snapshot(root / "folder") == git.snapshot(root)


def test_a_detached_head_and_no_commit_at_all(root: Path, tmp_path: Path) -> None:
    """Without a branch there is none; before the first commit there is no parent."""
    call(root, "checkout", "-q", "--detach")
    soil(root)
    assert git.snapshot(root).branch is None
    young = tmp_path / "young"
    young.mkdir()
    call(young, "init", "-q", "-b", "main")
    (young / "file").write_text("x")
    found = git.snapshot(young)
    assert found.parent is None
    assert names(young, found.commit) == ["file"]


def test_an_absent_submodule_stays_a_submodule(root: Path, tmp_path: Path) -> None:
    """A submodule that is not checked out is neither needed nor dropped from the commit."""
    other = tmp_path / "other"
    call(tmp_path, "clone", "-q", str(root), str(other))
    call(root, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other), "sub")
    call(root, "commit", "-q", "-m", "with a submodule")
    copy = tmp_path / "copy"
    call(tmp_path, "clone", "-q", str(root), str(copy))
    assert git.snapshot(copy).commit == call(copy, "rev-parse", "HEAD")
    (copy / "kept").write_text("changed\n")
    found = git.snapshot(copy)
    assert "sub" in names(copy, found.commit)
    git.export(copy, found.commit, tmp_path / "exported")
    assert (tmp_path / "exported/kept").read_text() == "changed\n"


def test_a_linked_worktree_has_its_own_state(root: Path, tmp_path: Path) -> None:
    """What is held is the worktree that was asked about."""
    call(root, "worktree", "add", "-q", str(tmp_path / "linked"), "-b", "side")
    (tmp_path / "linked/kept").write_text("there\n")
    found = git.snapshot(tmp_path / "linked")
    assert found.branch == "side"
    assert call(root, "show", f"{found.commit}:kept") == "there"
    assert git.snapshot(root).branch == "main"


def test_a_large_stray_file_is_left_out_and_named(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that nobody added and that are large do not swell the repository."""
    monkeypatch.setattr(git, "LARGEST", 100)
    (root / "core dump *").write_bytes(b"x" * 101)
    (root / "small").write_bytes(b"x" * 100)
    found = git.snapshot(root)
    assert found.left_out == ("core dump *",)
    assert "small" in names(root, found.commit)
    assert "core dump *" not in names(root, found.commit)


def test_a_ref_keeps_the_commit_and_travels(root: Path, tmp_path: Path) -> None:
    """A kept commit survives a collection of garbage and reaches another clone."""
    soil(root)
    found = git.snapshot(root)
    ref = git.keep(root, found.commit, "flights/abc")
    call(root, "gc", "-q", "--prune=now")
    assert git.kept(root) == {ref: found.commit}
    bare, other = tmp_path / "bare", tmp_path / "other"
    call(tmp_path, "init", "-q", "--bare", str(bare))
    call(root, "remote", "add", "origin", str(bare))
    git.push(root, "origin")
    call(tmp_path, "clone", "-q", "--no-local", str(bare), str(other))
    assert git.resolve(other, found.commit) is None
    git.pull(other, "origin")
    assert git.resolve(other, found.commit) == found.commit
    assert git.remotes(other) == ("origin",)


def test_exporting_ignores_what_an_archive_would(root: Path, tmp_path: Path) -> None:
    """Attributes that keep files out of archives keep none out here."""
    (root / ".gitattributes").write_text("kept export-ignore\n")
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o755)
    found = git.snapshot(root)
    git.export(root, found.commit, tmp_path / "exported")
    assert (tmp_path / "exported/kept").exists()
    assert (tmp_path / "exported/run").stat().st_mode & 0o100
    assert (tmp_path / "exported/.git").is_dir()


def test_no_repository_is_said(tmp_path: Path) -> None:
    """Outside any repository the error says what Git said and why it matters."""
    with pytest.raises(SetupError, match=r"not a git repository.*cannot be reproduced"):
        git.snapshot(tmp_path)
