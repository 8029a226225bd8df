"""The anchor of the ledger in Git: one line, the same on every machine, and signatures on it."""

import multiprocessing
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from refit.core.errors import RegistryError, SetupError
from refit.registry import anchor_remote, anchoring
from refit.registry.anchor import REFS, Anchor
from refit.registry.entry import Entry
from refit.registry.ledger import Ledger, append_entry, read_ledger
from refit.workspace import git, git_signatures

ANN = "Ann <ann@example.com>"
EVE = "Eve <eve@example.com>"


class File:
    """A store in a file of its own, for processes; MLflow's gives the same guarantees."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._run(
            "create table if not exists entries"
            " (number integer primary key, text text, signature text)"
        )

    def texts(self) -> list[tuple[int, str]]:
        return self._run("select number, text from entries order by number")

    def signatures(self) -> dict[int, str]:
        return dict(self._run("select number, signature from entries where signature != ''"))

    def read(self) -> Ledger:
        return read_ledger(self)

    def add(self, entry: Entry, signature: str, /) -> None:
        self._run("insert into entries (text, signature) values (?, ?)", entry.text(), signature)

    def _run(self, sql: str, *values: object) -> list[tuple[int, str]]:
        with closing(sqlite3.connect(self.path, timeout=60)) as database, database:
            return database.execute(sql, values).fetchall()


def call(root: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@y", *arguments]
    done = subprocess.run(command, cwd=root, text=True, capture_output=True, check=True)
    return done.stdout.strip()


def repository(root: Path, *, form: str = "sha1") -> Path:
    root.mkdir(parents=True)
    call(root, "init", "-q", f"--object-format={form}")
    return root


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository without commits, in an environment without a Git identity."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return repository(tmp_path / "project")


def enter(
    root: Path,
    store: File,
    version: int,
    kind: str = "promote",
    *,
    who: str = ANN,
    sign: bool = False,
) -> None:
    """Append an entry as `reconcile.enter` does."""
    anchor = Anchor(root, "t")

    def make(ledger: Ledger) -> Entry:
        return ledger.entry(kind, who=who, why="", version=version, after=version)  # type: ignore[arg-type]

    append_entry(
        store, make, lambda before, entry: anchoring.seal(anchor, before, store, entry, sign=sign)
    )
    anchoring.extend(anchor, store)


def standing(root: Path, store: File, *, signed: bool = False) -> anchoring.Standing:
    return anchoring.standing(Anchor(root, "t"), store, signed=signed)


def faults(root: Path, store: File, *, signed: bool = False) -> tuple[str, ...]:
    return standing(root, store, signed=signed).errors


def change(store: File, number: int, old: str, new: str) -> None:
    with closing(sqlite3.connect(store.path)) as database, database:
        database.execute(
            "update entries set text = replace(text, ?, ?) where number = ?", (old, new, number)
        )


def head(root: Path) -> str | None:
    return Anchor(root, "t").head()


@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_each_entry_is_a_commit_of_a_line(root: Path, tmp_path: Path, form: str) -> None:
    """Git finds the commits sound, and branch, index and files stay as they are."""
    folder = repository(tmp_path / form, form=form)
    store = File(tmp_path / "store.db")
    for version in (1, 2, 3):
        enter(folder, store, version)
    assert call(folder, "rev-list", "--count", "--first-parent", f"{REFS}/t") == "3"
    assert call(folder, "show", f"{REFS}/t:entry.json") == store.texts()[-1][1]
    assert "error" not in call(folder, "fsck", "--strict")
    assert call(folder, "status", "--porcelain") == ""
    assert git.kept(folder) == {}  # no version's commit
    assert (faults(folder, store), standing(folder, store).notes) == ((), ())


def test_two_machines_make_the_same_line(root: Path, tmp_path: Path) -> None:
    """Entries that one machine wrote are anchored by the other as the same commits."""
    other, store = repository(tmp_path / "other"), File(tmp_path / "store.db")
    enter(root, store, 1)
    enter(root, store, 2)
    enter(other, store, 3)
    enter(root, store, 4)
    anchoring.extend(Anchor(other, "t"), store)
    assert head(other) == head(root)


def _enter_many(root: Path, path: Path, start: int) -> None:
    for version in range(start, start + 4):
        enter(root, File(path), version)


def test_many_processes_leave_one_line(root: Path, tmp_path: Path) -> None:
    """Five processes enter twenty entries without a lock: every entry is anchored, in order."""
    path = tmp_path / "store.db"
    File(path)
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_enter_many, args=(root, path, 1 + 4 * number))
        for number in range(5)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 5
    store = File(path)
    now = standing(root, store)
    assert (len(now.links), now.errors, now.notes) == (20, (), ())
    assert now.head == now.links[-1].commit


def test_after_a_crash_the_next_entry_anchors_what_is_missing(root: Path, tmp_path: Path) -> None:
    """An entry whose process died before it moved the ref is known as written here."""
    store, anchor = File(tmp_path / "store.db"), Anchor(root, "t")
    enter(root, store, 1)
    append_entry(
        store,
        lambda ledger: ledger.entry("promote", who=ANN, why="", version=2, after=2),
        lambda before, entry: anchoring.seal(anchor, before, store, entry, sign=False),
    )
    assert faults(root, store) == ()
    assert "entry 2" in standing(root, store).notes[0]
    anchoring.confirm(anchor, store, signed=False)
    assert standing(root, store).notes == ()


def test_an_entry_from_elsewhere(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the project's own registry it is an error, in a shared one a note, unless it must be signed."""
    store = File(tmp_path / "store.db")
    enter(root, store, 1)
    append_entry(store, lambda ledger: ledger.entry("approve", who=EVE, why="", version=2, after=2))
    assert "no run of this project wrote it" in faults(root, store)[0]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////shared/all.db")
    assert faults(root, store) == ()
    assert "written on another machine" in standing(root, store).notes[0]
    (fault,) = faults(root, store, signed=True)
    assert "approve of version 2 by Eve <eve@example.com>, does not count" in fault


def test_a_repair_keeps_the_line_that_it_gives_up(root: Path, tmp_path: Path) -> None:
    """A rewritten ledger is refused until a person repairs it; Git then has both lines."""
    store, anchor = File(tmp_path / "store.db"), Anchor(root, "t")
    enter(root, store, 1)
    enter(root, store, 2)
    before = head(root)
    change(store, 2, "Ann", "Eve")
    assert "the ledger was rewritten" in faults(root, store)[0]
    with pytest.raises(RegistryError, match="contradicts its anchor in Git"):
        anchoring.confirm(anchor, store, signed=False)
    given_up = standing(root, store).given_up
    assert given_up == before

    def repair(ledger: Ledger) -> Entry:
        entry = ledger.entry("repair", who=ANN, why="", version=2, after=2)
        return type(entry)(**{**vars(entry), "replaces": given_up})

    append_entry(
        store, repair, lambda now, entry: anchoring.seal(anchor, now, store, entry, sign=False)
    )
    assert faults(root, store)  # a repair in the database alone does not count
    anchoring.extend(anchor, store, given_up)
    assert faults(root, store) == ()
    assert call(root, "merge-base", "--is-ancestor", given_up, f"{REFS}/t") == ""


def test_without_a_repository_there_is_one_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries count all the same, and verification says that there is no anchor."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    store = File(tmp_path / "store.db")
    enter(tmp_path, store, 1)
    enter(tmp_path, store, 2)
    assert capsys.readouterr().err.count("is in no Git repository") == 1
    assert standing(tmp_path, store).notes == (
        "the ledger has no anchor: the project is in no Git repository",
    )
    with pytest.raises(SetupError, match="cannot be signed: the project is in no Git repository"):
        enter(tmp_path, store, 3, sign=True)


def test_anchors_travel(root: Path, tmp_path: Path) -> None:
    """The longer line is taken on both sides; two lines that contradict each other are an error."""
    bare, other, store = tmp_path / "bare", tmp_path / "other", File(tmp_path / "store.db")
    call(tmp_path, "init", "-q", "--bare", str(bare))
    repository(other)
    for folder in (root, other):
        call(folder, "remote", "add", "origin", str(bare))
    anchor_remote.pull(root, "origin")  # nothing there yet
    enter(root, store, 1)
    anchor_remote.push(root, "origin")
    enter(other, store, 2)
    enter(root, store, 3)
    anchor_remote.push(other, "origin")  # continues what the first one sent
    anchor_remote.push(root, "origin")
    anchor_remote.pull(other, "origin")
    (line,) = call(bare, "for-each-ref", "--format=%(refname)", REFS).splitlines()
    assert head(other) == head(root) == call(bare, "rev-parse", line)
    fork = File(tmp_path / "fork.db")
    shutil.copy(store.path, fork.path)
    enter(root, store, 4)
    enter(other, fork, 5)
    anchor_remote.push(root, "origin")
    with pytest.raises(RegistryError, match=r"contradicts that of `origin`.*neither continues"):
        anchor_remote.push(other, "origin")
    assert head(root) == call(bare, "rev-parse", line)


def test_registries_of_the_same_name_do_not_meet(root: Path, tmp_path: Path) -> None:
    """Each clone's own registry has its own line; a clone that joins a registry takes its line."""
    bare, other, joined = tmp_path / "bare", tmp_path / "other", tmp_path / "joined"
    call(tmp_path, "init", "-q", "--bare", str(bare))
    for folder in (other, joined):
        repository(folder)
    for folder in (root, other, joined):
        call(folder, "remote", "add", "origin", str(bare))
    store, own = File(tmp_path / "store.db"), File(tmp_path / "own.db")
    enter(root, store, 1)
    anchor_remote.push(root, "origin")
    anchor_remote.pull(other, "origin")
    enter(other, own, 1)
    anchor_remote.push(other, "origin")
    anchor_remote.pull(root, "origin")
    assert len(call(bare, "for-each-ref", REFS).splitlines()) == 2
    assert (faults(root, store), faults(other, own)) == ((), ())
    enter(root, store, 2)
    anchor_remote.push(root, "origin")
    anchor_remote.pull(joined, "origin")
    assert (standing(joined, store).head, standing(joined, store).notes) == (head(root), ())
    change(store, 2, "Ann", "Eve")
    assert "the ledger was rewritten" in faults(joined, store)[0]
    change(store, 2, "Eve", "Ann")
    enter(joined, store, 3)
    enter(root, store, 4)
    anchor_remote.push(joined, "origin")
    anchor_remote.push(root, "origin")
    anchor_remote.pull(joined, "origin")
    assert (faults(root, store), faults(joined, store)) == ((), ())


def use_ssh(root: Path, folder: Path, name: str) -> str:
    """Let Git sign with a new key; returns its line for allowed_signers."""
    key = folder / f"key-{name}"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    call(root, "config", "gpg.format", "ssh")
    call(root, "config", "user.signingkey", f"{key}.pub")
    public = Path(f"{key}.pub").read_text().strip()
    return f'{name}@example.com namespaces="git" {public}\n'


@pytest.fixture
def signing(root: Path, tmp_path: Path) -> Path:
    """The repository, where Ann's SSH key signs and is allowed to."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen here: install OpenSSH's client")
    (root / "allowed_signers").write_text(use_ssh(root, tmp_path, "ann"))
    return root


def test_a_signed_answer_counts(signing: Path, tmp_path: Path) -> None:
    """Git verifies the anchored commit, and so does another clone from the registry alone."""
    store = File(tmp_path / "store.db")
    enter(signing, store, 1, "approve", sign=True)
    enter(signing, store, 2, "reject")
    signed = call(signing, "rev-parse", f"{REFS}/t^")
    own = f"gpg.ssh.allowedSignersFile={signing / 'allowed_signers'}"
    call(signing, "-c", own, "verify-commit", signed)
    now = standing(signing, store, signed=True)
    assert (now.errors, anchoring.bad_signatures(Anchor(signing, "t"), now.links)) == ((), [])
    other = repository(tmp_path / "other")
    shutil.copy(signing / "allowed_signers", other)
    anchoring.extend(Anchor(other, "t"), store)
    assert head(other) == head(signing)


def test_a_signature_must_be_the_deciders(signing: Path, tmp_path: Path) -> None:
    """Another person's key, an unknown key and no key are refused before anything is entered."""
    store = File(tmp_path / "store.db")
    with pytest.raises(SetupError, match=r"its signature is valid, by ann@example\.com.*Eve"):
        enter(signing, store, 1, "approve", who=EVE, sign=True)
    use_ssh(signing, tmp_path, "eve")  # her key is not among the allowed ones
    with pytest.raises(SetupError, match="not among the allowed signers"):
        enter(signing, store, 1, "approve", who=EVE, sign=True)
    call(signing, "config", "user.signingkey", str(tmp_path / "nothing.pub"))
    with pytest.raises(SetupError, match=r"cannot be signed.*gpg\.format ssh.*allowed_signers"):
        enter(signing, store, 1, "approve", sign=True)
    assert store.texts() == []


@pytest.mark.parametrize("what", ["deleted", "of another entry", "no signature", "key withdrawn"])
def test_a_changed_signature_is_found(signing: Path, tmp_path: Path, what: str) -> None:
    """Where the entry was anchored, and where another clone reads it for the first time."""
    store, other = File(tmp_path / "store.db"), repository(tmp_path / "other")
    shutil.copy(signing / "allowed_signers", other)
    enter(signing, store, 1, "approve", sign=True)
    enter(signing, store, 2, "approve", sign=True)
    first, second = store.signatures().values()
    values = {"deleted": "", "of another entry": first, "no signature": "\x1b[2J"}
    with closing(sqlite3.connect(store.path)) as database, database:
        text = values.get(what, second)
        database.execute("update entries set signature = ? where number = 2", (text,))
    if what == "key withdrawn":
        for folder in (signing, other):
            (folder / "allowed_signers").write_text("")
        now = standing(signing, store)
        assert len(anchoring.bad_signatures(Anchor(signing, "t"), now.links)) == 2
    else:
        assert "a signature was changed or is gone" in faults(signing, store)[0]
    assert any(
        "entry 2, approve of version 2" in fault for fault in faults(other, store, signed=True)
    )


def test_gpg_signs_as_well(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trusted key whose mail is that of `who` counts."""
    if shutil.which("gpg") is None:
        pytest.skip("no gpg here")
    home = (
        Path("/tmp") / f"refit-gpg-{tmp_path.parent.name}-{tmp_path.name}"[:60]
    )  # short: a socket
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    generate = [
        "gpg",
        "--batch",
        "-q",
        "--passphrase",
        "",
        "--quick-gen-key",
        ANN,
        "ed25519",
        "sign",
    ]
    try:
        subprocess.run(generate, check=True, capture_output=True)
        call(root, "config", "user.signingkey", "ann@example.com")
        store = File(tmp_path / "store.db")
        enter(root, store, 1, "approve", sign=True)
        assert faults(root, store, signed=True) == ()
        ((_, text),) = store.signatures().items()
        assert text.startswith("-----BEGIN PGP SIGNATURE-----")
        now = standing(root, store)
        assert anchoring.bad_signatures(Anchor(root, "t"), now.links) == []
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], check=False)
        shutil.rmtree(home)


def test_who_and_signer_are_compared_by_mail() -> None:
    """Case does not matter; a name alone must be the same text; a bad signature is nobody's."""
    good = git_signatures.Signature(letter="G", signer="ann@example.com")
    assert good.is_of("Ann <Ann@Example.com>")
    assert not good.is_of(EVE)
    assert not good.is_of("Ann <ann@example.com> <eve@example.com>")
    assert not git_signatures.Signature(letter="U", signer="ann@example.com").is_of(ANN)
