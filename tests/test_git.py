"""The commit that holds exactly what ran, in real Git repositories of difficult kinds."""

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


def make_dirty(root: Path) -> None:
    """Change, delete, add, stage and ignore something."""
    (root / "changed").write_text("otherwise\n")
    (root / "deleted").unlink()
    (root / "folder").mkdir()
    (root / "folder/new").write_text("new\n")
    (root / "ignored").write_text("not for Git\n")
    call(root, "add", "changed")


def picture(root: Path) -> tuple[str, str, str, bytes]:
    """What must stay as it is: commit, branch, the state of the files, and the index."""
    index = (root / ".git/index").read_bytes()
    head, branch = call(root, "rev-parse", "HEAD"), call(root, "branch", "--show-current")
    return head, branch, call(root, "status", "--porcelain", "--ignored"), index


def names(root: Path, commit: str) -> list[str]:
    return call(root, "ls-tree", "-r", "--name-only", commit).splitlines()


def test_a_clean_workspace_is_its_own_commit(root: Path) -> None:
    """For an unchanged workspace no commit is made."""
    snapshot = git.snapshot(root)
    assert snapshot.commit == snapshot.parent == call(root, "rev-parse", "HEAD")
    assert snapshot.branch == "main"


def test_a_dirty_workspace_gets_a_commit_and_stays_as_it_is(root: Path) -> None:
    """Changed, new and deleted files are in the commit; branch, index and files stay."""
    make_dirty(root)
    before = picture(root)
    snapshot = git.snapshot(root)
    assert picture(root) == before
    assert snapshot.parent == call(root, "rev-parse", "HEAD") != snapshot.commit
    assert names(root, snapshot.commit) == [".gitignore", "changed", "folder/new", "kept"]
    assert call(root, "show", f"{snapshot.commit}:changed") == "otherwise"
    assert call(root, "rev-parse", f"{snapshot.commit}^") == snapshot.parent


def test_the_same_content_is_the_same_commit(root: Path) -> None:
    """The commit depends neither on the time nor on the user."""
    make_dirty(root)
    first = git.snapshot(root)
    (root / "later").write_text("x")
    assert git.snapshot(root).commit != first.commit
    (root / "later").unlink()
    assert git.snapshot(root) == first


def test_a_folder_below_gives_the_same_commit(root: Path) -> None:
    """The commit holds the whole repository, wherever the project is in it."""
    make_dirty(root)
    assert git.snapshot(root / "folder") == git.snapshot(root)


def test_a_detached_head_and_a_repository_without_commits(root: Path, tmp_path: Path) -> None:
    """On a detached HEAD there is no branch; before the first commit there is no parent."""
    call(root, "checkout", "-q", "--detach")
    make_dirty(root)
    assert git.snapshot(root).branch is None
    young = tmp_path / "young"
    young.mkdir()
    call(young, "init", "-q", "-b", "main")
    (young / "file").write_text("x")
    snapshot = git.snapshot(young)
    assert snapshot.parent is None
    assert names(young, snapshot.commit) == ["file"]


def test_an_absent_submodule_stays_a_submodule(root: Path, tmp_path: Path) -> None:
    """A submodule that is not checked out stays in the commit as a submodule."""
    other = tmp_path / "other"
    call(tmp_path, "clone", "-q", str(root), str(other))
    call(root, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other), "sub")
    call(root, "commit", "-q", "-m", "with a submodule")
    copy = tmp_path / "copy"
    call(tmp_path, "clone", "-q", str(root), str(copy))
    assert git.snapshot(copy).commit == call(copy, "rev-parse", "HEAD")
    (copy / "kept").write_text("changed\n")
    snapshot = git.snapshot(copy)
    assert "sub" in names(copy, snapshot.commit)
    git.export(copy, snapshot.commit, tmp_path / "exported")
    assert (tmp_path / "exported/kept").read_text() == "changed\n"


def test_a_linked_worktree_has_its_own_state(root: Path, tmp_path: Path) -> None:
    """The commit is that of the given worktree."""
    call(root, "worktree", "add", "-q", str(tmp_path / "linked"), "-b", "side")
    (tmp_path / "linked/kept").write_text("there\n")
    snapshot = git.snapshot(tmp_path / "linked")
    assert snapshot.branch == "side"
    assert call(root, "show", f"{snapshot.commit}:kept") == "there"
    assert git.snapshot(root).branch == "main"


def test_a_large_stray_file_is_left_out_and_named(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large untracked files are left out of the commit and named."""
    monkeypatch.setattr(git, "LARGEST", 100)
    (root / "core dump *").write_bytes(b"x" * 101)
    (root / "small").write_bytes(b"x" * 100)
    snapshot = git.snapshot(root)
    assert snapshot.left_out == ("core dump *",)
    assert "small" in names(root, snapshot.commit)
    assert "core dump *" not in names(root, snapshot.commit)


def test_a_ref_keeps_the_commit_and_travels(root: Path, tmp_path: Path) -> None:
    """A kept commit survives Git's garbage collection and reaches another clone."""
    make_dirty(root)
    snapshot = git.snapshot(root)
    ref = git.keep(root, snapshot.commit, "flights/abc")
    call(root, "gc", "-q", "--prune=now")
    assert git.kept(root) == {ref: snapshot.commit}
    bare, other = tmp_path / "bare", tmp_path / "other"
    call(tmp_path, "init", "-q", "--bare", str(bare))
    call(root, "remote", "add", "origin", str(bare))
    git.push(root, "origin")
    call(tmp_path, "clone", "-q", "--no-local", str(bare), str(other))
    assert git.resolve(other, snapshot.commit) is None
    git.pull(other, "origin")
    assert git.resolve(other, snapshot.commit) == snapshot.commit
    assert git.remotes(other) == ("origin",)


def test_export_writes_what_an_archive_leaves_out(root: Path, tmp_path: Path) -> None:
    """A file with the attribute export-ignore is exported."""
    (root / ".gitattributes").write_text("kept export-ignore\n")
    (root / "run").write_text("#!/bin/sh\n")
    (root / "run").chmod(0o755)
    snapshot = git.snapshot(root)
    git.export(root, snapshot.commit, tmp_path / "exported")
    assert (tmp_path / "exported/kept").exists()
    assert (tmp_path / "exported/run").stat().st_mode & 0o100
    assert (tmp_path / "exported/.git").is_dir()


def test_a_missing_repository_is_reported(tmp_path: Path) -> None:
    """Outside a repository the error has Git's message and says why a repository is needed."""
    with pytest.raises(SetupError, match=r"not a git repository.*cannot be reproduced"):
        git.snapshot(tmp_path)


@pytest.mark.parametrize(
    "name", ["--output=stolen", "--help", "-p", "HEAD/../../x", "HEAD..HEAD", "", "main\n--all"]
)
def test_what_is_no_commit_is_no_option_either(root: Path, name: str) -> None:
    """A value from a registry resolves to nothing, and never becomes an argument of Git."""
    before = sorted(root.rglob("*"))
    head = call(root, "rev-parse", "HEAD")
    assert git.resolve(root, name) is None
    for old, new in ((name, head), (head, name)):
        assert git.log(root, old, new) is None
        assert git.changed(root, old, new) is None
    with pytest.raises(SetupError):
        git.keep(root, name, "x")
    assert sorted(root.rglob("*")) == before


def test_a_commit_has_its_other_names(root: Path) -> None:
    """Branches and short ids still resolve, and full ids are compared."""
    head = call(root, "rev-parse", "HEAD")
    for name in ("main", "HEAD", head[:8], head):
        assert git.resolve(root, name) == head
    assert git.log(root, head, head) == git.changed(root, head, head) == ()
