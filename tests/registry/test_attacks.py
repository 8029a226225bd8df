"""The ledger against somebody with the database: each way of tampering is found, none crashes."""

import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from attacks import ATTACKS, SHOWN, UNSEEN, USUAL, Attacker
from typer.testing import CliRunner

from refit.cli.app import app
from refit.core import files, paths
from refit.core.errors import RefitError, RegistryError, SetupError
from refit.promotion import approval, decide, history, judge
from refit.registry.anchor import REFS, Anchor
from refit.registry.registry import Registry
from refit.reproducibility.record import record
from refit.reproducibility.reproduce import Reproduction
from refit.workflow import doctor
from refit.workspace import git, machine

pytestmark = pytest.mark.slow
BACKUP = "backup.db"
SIGNATURE = Path("data/bundle/signature.json")
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def reproduced(root: Path) -> Reproduction:
    return Reproduction(
        outputs=8,
        differences=(),
        digest="d",
        grade="machine",
        threads=(),
        seconds=1.0,
        machine=machine.this(),
    )


def make(root: Path, source: Any) -> None:
    """Decide about two versions: one promoted by the policy, one approved by ann; reproduce it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        real = judge.judge
        patch.setattr(judge, "judge", lambda *a: replace(real(*a), outcome="promote"))
        project = source.copy(root)
        decide.decide(root)
        project.change("promote", approval="person")
        files.write_json(root / SIGNATURE, files.read_json(root / SIGNATURE) | {"note": "second"})
        decide.decide(root)
        approval.approve(root, 2, why="looks right", who="ann")
        record(Registry.open(root), 2, reproduced(root))
    shutil.copy(root / paths.MLFLOW, root / paths.STATE / BACKUP)


@pytest.fixture(autouse=True)
def _own_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def attacked(
    projects: Callable[[str], Any],
    once: Callable[[str, Callable[[Path], object]], Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """A copy of the project; tests change its database only."""
    made = once("attacked", lambda root: make(root, projects("pumps")))
    copy = made.copy_with_registry(tmp_path_factory.mktemp("attacked") / "pumps")
    shutil.copy(copy.root / paths.MLFLOW, copy.root / paths.STATE / BACKUP)
    return copy


@pytest.fixture
def root(attacked: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project's root, its database as it was before the attack of another test."""
    monkeypatch.chdir(attacked.root)
    yield attacked.root
    shutil.copy(attacked.root / paths.STATE / BACKUP, attacked.root / paths.MLFLOW)


def attack(root: Path, name: str) -> None:
    with closing(sqlite3.connect(root / paths.MLFLOW)) as database, database:
        ATTACKS[name](Attacker(database))


def call(*arguments: str) -> tuple[int, str]:
    """The status of a command, and all that it prints; a traceback fails the test."""
    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, RefitError):
        return 1, result.output + str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_nothing_is_found_before_an_attack(root: Path) -> None:
    """The ledger agrees with its anchor, its versions and the aliases."""
    assert history.examine(root) == history.Findings(errors=(), notes=())


@pytest.mark.parametrize(
    "name",
    [n if n in USUAL else pytest.param(n, marks=pytest.mark.heavy) for n in ATTACKS],
)
def test_an_attack_is_found(root: Path, name: str) -> None:
    """Verification names it; neither it nor the status shows a traceback or a control character."""
    attack(root, name)
    status, printed = call("history", "--verify")
    assert status == (name not in UNSEEN), printed
    if name in SHOWN:
        printed += call("status")[1]
    assert not RAW.search(printed)


@pytest.mark.parametrize("name", ["the whole chain rewritten", "forged rollback"])
def test_nothing_is_decided_until_a_person_repairs(
    attacked: Any, tmp_path: Path, name: str
) -> None:
    """Answers are refused with the reason; a rollback goes on, and Git keeps the line given up."""
    root = attacked.copy_with_registry(tmp_path / "copy").root
    attack(root, name)
    before = Anchor(root, "pumps").head() or ""
    with pytest.raises(RegistryError, match=r"contradicts its anchor in Git.*by eve.*rollback"):
        approval.reject(root, 2, why="")
    check = doctor._ledger(root)
    assert not check.ok
    assert "by eve" in check.detail
    approval.rollback(root, 1, why="from the printed history", who="ann")
    assert history.examine(root) == history.Findings(errors=(), notes=())
    assert history.read(root).entries[-1][1].kind == "repair"
    assert git.ask(root, "merge-base", "--is-ancestor", before, f"{REFS}/pumps") is not None


def test_a_version_whose_facts_were_changed_becomes_no_champion(
    attacked: Any, tmp_path: Path
) -> None:
    """A rollback to a version with another commit than the one that was registered is refused."""
    root = attacked.copy_with_registry(tmp_path / "copy").root
    with closing(sqlite3.connect(root / paths.MLFLOW)) as database, database:
        Attacker(database).tag(1, "refit.commit", "0" * 40)
    with pytest.raises(RegistryError, match="not those that it was registered with"):
        approval.rollback(root, 1, why="")


def test_signed_answers(attacked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `approval: signed` an answer needs a key that is allowed; a form has none."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen here: install OpenSSH's client")
    project = attacked.copy_with_registry(tmp_path / "copy")
    root = project.root
    project.change("promote", approval="signed")
    real = judge.judge
    monkeypatch.setattr(judge, "judge", lambda *a: replace(real(*a), outcome="promote"))
    files.write_json(root / SIGNATURE, files.read_json(root / SIGNATURE) | {"note": "third"})
    decision = decide.decide(root)
    assert decision.waits
    assert decision.sentence.startswith("Version 3 has earned promotion and waits for a person")
    for name, value in (("user.name", "Ann"), ("user.email", "ann@example.com")):
        git.run(root, "config", name, value)
    with pytest.raises(RegistryError, match=r"not signed.*Prefect's form.*refit approve"):
        approval.approve(root, 3, why="", who="ann", in_form=True)
    git.run(root, "config", "gpg.format", "ssh")
    git.run(root, "config", "user.signingkey", str(tmp_path / "key.pub"))
    with pytest.raises(SetupError, match=r"cannot be signed.*user\.signingkey.*allowed_signers"):
        approval.approve(root, 3, why="")
    assert history.read(root).waiting == 3
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")]
    subprocess.run(command, check=True)
    public = (tmp_path / "key.pub").read_text()
    (root / paths.ALLOWED_SIGNERS).write_text(f"ann@example.com {public}")
    approval.approve(root, 3, why="looks right")
    assert history.read(root).champion == 3
    assert history.examine(root) == history.Findings(errors=(), notes=())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / paths.MLFLOW}?timeout=9")
    with closing(sqlite3.connect(root / paths.MLFLOW)) as database, database:
        Attacker(database).append(kind="rollback", version=1, after=1)
    assert any(
        "rollback of version 1 by eve, does not count" in each for each in history.verify(root)
    )
