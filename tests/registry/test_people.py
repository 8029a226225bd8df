"""Decisions of people, and registries that were changed by hand."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from refit.core import files
from refit.core.errors import RegistryError
from refit.promotion import approval, decide, history, judge, registered
from refit.promotion.decision import Decision
from refit.registry.artifacts import EXAMPLES_FILE
from refit.registry.entry import ENTRY_TAG
from refit.registry.registry import Registry
from refit.serving.digest import identity
from refit.tracking.client import connect
from refit.workflow import doctor

pytestmark = pytest.mark.slow
MODEL = Path("data/bundle/model.onnx")


@pytest.fixture
def project(projects: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A copy of a project with an empty registry, where every candidate passes."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    real = judge.judge
    monkeypatch.setattr(judge, "judge", lambda *a: replace(real(*a), outcome="promote"))
    return projects("pumps").copy(tmp_path / "copy")


def candidate(root: Path, number: int) -> Decision:
    """Decide about the pipeline's model with its last bias moved a little further."""
    move_bias(root / MODEL, number)
    return decide.decide(root)


def move_bias(path: Path, steps: int) -> None:
    """Add 0.01 to the model's last bias this many times."""
    model = onnx.load(path)
    floats = [each for each in model.graph.initializer if each.data_type == onnx.TensorProto.FLOAT]
    last = floats[-1]
    moved = onnx.numpy_helper.to_array(last) + np.float32(0.01 * steps)
    last.CopyFrom(onnx.numpy_helper.from_array(moved, last.name))
    onnx.save(model, path)


def ask_a_person(project: Any) -> None:
    project.change("promote", approval="person")


def kinds(root: Path) -> list[tuple[str, int | None, int | None]]:
    return [(e.kind, e.version, e.after) for _, e in history.read(root).entries]


def stored(root: Path, number: int, name: str) -> Path:
    """A file of a version's bundle in the artifact store."""
    digest = Registry.open(root).versions.get(number).digest
    (path,) = (root / ".refit/mlartifacts").rglob(f"bundle-{digest[:12]}/{name}")
    return path


def predictions(root: Path) -> bytes:
    """The champion's predictions of the whole holdout, as bytes."""
    registry = Registry.open(root)
    champion = registry.champion(registry.ledger.read())
    assert champion is not None
    rows = files.read_parquet(root / "data/prepared/holdout.parquet")
    return registered.load(registry, champion).predict(rows).tobytes()


def test_a_rollback_restores_the_same_predictions(project: Any) -> None:
    """The previous champion is back, byte for byte, and stays although the newer one had passed."""
    root = project.root
    decide.decide(root)
    first = predictions(root)
    candidate(root, 1)
    assert predictions(root) != first
    move = approval.rollback(root, None, why="too many alarms", who="ann")
    assert (
        move.checked
        == "digest verified, loads, predicts its example rows as when it was registered"
    )
    assert predictions(root) == first
    assert Registry.open(root).aliases.get("champion") == 1
    again = decide.decide(root)
    assert again.cached
    assert again.sentence.endswith("rollback of version 1 by ann: too many alarms")
    assert kinds(root) == [("promote", 1, 1), ("promote", 2, 2), ("rollback", 1, 1)]
    with pytest.raises(RegistryError, match="no champion to go back to"):
        approval.rollback(root, None, why="again")
    with pytest.raises(RegistryError, match="version 7 was no champion"):
        approval.rollback(root, 7, why="again")
    approval.rollback(root, 0, why="start again")
    assert Registry.open(root).ledger.read().champion is None
    assert Registry.open(root).aliases.get("champion") is None


def test_which_version_was_live_is_known_afterwards(project: Any) -> None:
    """The ledger says it for every moment, and the command prints it."""
    before = datetime.now(UTC)
    decide.decide(project.root)
    assert history.live(project.root, before - timedelta(days=1)) is None
    assert history.live(project.root, datetime.now(UTC)) == 1
    printed = project.call("refit", "history", "--at", "2100-01-01T12:00").stdout
    assert printed == "version 1\n"
    assert "no version" in project.call("refit", "history", "--at", "2013-11-15T12:00+0100").stdout


def test_a_person_is_asked_and_answers(project: Any) -> None:
    """With `approval: person` what passes waits, and the first answer to it stands."""
    root = project.root
    ask_a_person(project)
    waits = decide.decide(root)
    assert waits.sentence.startswith("Version 1 has earned promotion and waits for a person")
    assert waits.ask().endswith("`refit approve 1` or `refit reject 1 --why ...`")
    registry = Registry.open(root)
    assert (registry.aliases.get("champion"), registry.aliases.get("challenger")) == (None, 1)
    assert decide.decide(root).waits
    shown = project.call("refit", "approve", "1", "--why", "looks right").stdout
    assert shown.startswith("Version 1 is champion now.\n(digest verified")
    assert (registry.aliases.get("champion"), registry.aliases.get("challenger")) == (1, None)
    message = r"version 1 does not wait.*entry 2 of the ledger: approve by .*none waits"
    with pytest.raises(RegistryError, match=message):
        approval.reject(root, 1, why="too late")
    assert not decide.decide(root).waits
    assert [entry[0] for entry in kinds(root)] == ["wait", "approve"]


def test_a_newer_candidate_takes_the_place_of_one_that_waits(project: Any) -> None:
    """Only the newest waits; an answer about the older one is an error that says so."""
    root = project.root
    decide.decide(root)
    ask_a_person(project)
    candidate(root, 1)
    candidate(root, 2)
    assert kinds(root)[1:] == [("wait", 2, 1), ("wait", 3, 1)]
    entry = history.read(root).entries[-1][1]
    assert entry.why.endswith("It replaces version 2, which waited.")
    with pytest.raises(
        RegistryError, match=r"version 2 does not wait.*entry 3.*Expected version 3"
    ):
        approval.approve(root, 2, why="")
    approval.reject(root, 3, why="wait for spring", who="ann")
    assert Registry.open(root).aliases.get("challenger") is None
    decision = decide.decide(root)
    assert not decision.waits
    assert decision.sentence.endswith("reject of version 3 by ann: wait for spring")


def damage(root: Path, what: str) -> None:
    """Change what the artifact store holds of version 1."""
    if what == "model":
        stored(root, 1, "model.onnx").write_bytes(b"not a model")
    elif what == "gone":
        shutil.rmtree(stored(root, 1, "model.onnx").parent)
    elif what == "examples":
        path = stored(root, 1, EXAMPLES_FILE)
        files.write_parquet(files.read_parquet(path).head(3), path)
    else:  # a model that was swapped together with its digest
        path = stored(root, 1, "model.onnx")
        move_bias(path, 5)
        digest = identity(path.parent)
        lineage = path.with_name("lineage.json")
        files.write_json(lineage, files.read_json(lineage) | {"digest": digest})
        connect(root).set_model_version_tag("pumps", "1", "refit.digest", digest)
        path.parent.rename(path.parent.with_name(f"bundle-{digest[:12]}"))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("model", "not the one that was registered"),
        ("gone", "the bundle cannot be downloaded|only a part"),
        ("examples", "example rows are not those"),
        ("swapped", "predictions differ from the stored ones"),
    ],
)
def test_a_version_that_fails_its_check_never_becomes_champion(
    project: Any, what: str, message: str
) -> None:
    """Each kind of damage is an error, and champion, alias and ledger stay as they are."""
    root = project.root
    decide.decide(root)
    candidate(root, 1)
    damage(root, what)
    before = kinds(root)
    with pytest.raises(RegistryError, match=message):
        approval.rollback(root, 1, why="it was better")
    assert kinds(root) == before
    assert Registry.open(root).aliases.get("champion") == 2


def change_by_hand(root: Path, what: str) -> None:
    """Change the registry as the key of DAMAGE says."""
    client = connect(root)
    if what == "alias":
        client.set_registered_model_alias("pumps", "champion", "1")
    elif what == "no alias":
        client.delete_registered_model_alias("pumps", "champion")
    elif what == "alias nowhere":
        with closing(sqlite3.connect(root / ".refit/mlflow.db")) as database, database:
            database.execute("update registered_model_aliases set version = 99")
    elif what == "evidence":
        tags = client.get_model_version("pumps", "2").tags
        client.set_model_version_tag("pumps", "2", next(t for t in tags if "decision" in t), "{}")
    elif what == "last entry":
        client.delete_model_version("pumps-ledger", "2")
    elif what == "first entry":
        client.delete_model_version("pumps-ledger", "1")
    elif what == "changed entry":
        text = client.get_model_version("pumps-ledger", "2").tags["refit.entry"]
        changed = text.replace('"why":"', '"why":"not ')
        client.set_model_version_tag("pumps-ledger", "2", "refit.entry", changed)
    elif what == "ledger":
        client.delete_registered_model("pumps-ledger")
    else:
        client.delete_model_version("pumps", "2")


DAMAGE = {
    "alias": "the alias champion names version 1, the ledger version 2",
    "no alias": "the alias champion names no version, the ledger version 2",
    "alias nowhere": "the alias champion names version 99, the ledger version 2",
    "evidence": "the evidence of entry 2 on version 2 was changed or is gone",
    "last entry": "entry 2, about version 2, was changed or is gone",
    "first entry": "entry 1 is gone",
    "changed entry": "entry 2, about version 2, was changed or is gone",
    "ledger": "entry 2, about version 2, was changed or is gone",
    "version": "version 2 was champion or waits, but is gone from the registry",
}
QUICK = {"alias", "changed entry", "version"}
BROKEN = {"last entry", "first entry", "changed entry", "ledger"}


def test_an_undamaged_ledger_is_confirmed(project: Any) -> None:
    """`refit history --verify` says so, with status 0."""
    decide.decide(project.root)
    assert "the ledger is complete" in project.call("refit", "history", "--verify").stdout


@pytest.mark.parametrize(
    "what",
    [w if w in QUICK else pytest.param(w, marks=pytest.mark.heavy) for w in DAMAGE],
)
def test_every_change_by_hand_is_found(project: Any, what: str) -> None:
    """It is named with status 1; nothing is decided on a damaged ledger until a person repairs it."""
    root = project.root
    decide.decide(root)
    candidate(root, 1)
    assert history.verify(root) == []
    assert doctor._ledger(root).ok
    change_by_hand(root, what)
    assert any(fault.startswith(DAMAGE[what]) for fault in history.verify(root))
    printed = project.call("refit", "history", "--verify", check=False)
    assert printed.returncode == 1
    assert f"wrong {DAMAGE[what]}" in printed.stdout
    check = doctor._ledger(root)
    assert (check.ok, DAMAGE[what] in check.detail) == (False, True)
    if what in BROKEN:
        with pytest.raises(RegistryError, match=r"ledger was changed by hand.*entry \d.*rollback"):
            decide.decide(root)
        with pytest.raises(RegistryError, match="ledger was changed by hand"):
            approval.approve(root, 2, why="")
    if what == "version":
        with pytest.raises(RegistryError, match=r"version 2, was deleted by hand.*rollback --to V"):
            decide.decide(root)
    if what in BROKEN or what == "version":
        approval.rollback(root, 1, why="from the backup's list", who="ann")
        entry = history.read(root).entries[-1][1]
        assert entry.kind == ("repair" if what in BROKEN else "rollback")
    decided = candidate(root, 2)
    assert decided.outcome == "promote"
    registry = Registry.open(root)
    ledger, versions = registry.ledger.read(), registry.versions.all()
    assert registry.aliases.get("champion") == ledger.champion == decided.version
    assert ledger.unrepaired(registry.versions.entry_tags()) == []
    if what == "ledger":
        assert any("refit.lost." in tag for version in versions for tag in version.tags)
        assert any(f"{ENTRY_TAG}1" in version.tags for version in versions)


def test_an_unusable_registry_is_one_error(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unreachable, or of an older MLflow: one paragraph that says what to do; nothing is lost."""
    root = project.root
    decide.decide(root)
    with closing(sqlite3.connect(root / ".refit/mlflow.db")) as database, database:
        (now,) = database.execute("select version_num from alembic_version").fetchone()
        database.execute("update alembic_version set version_num = 'bd07f7e963c5'")
    printed = project.call("refit", "rollback", "--why", "it is old", check=False).stderr
    assert "its database is of an older MLflow" in printed
    assert "mlflow db upgrade sqlite:///" in printed
    assert "Traceback" not in printed
    with closing(sqlite3.connect(root / ".refit/mlflow.db")) as database, database:
        database.execute("update alembic_version set version_num = ?", (now,))
    assert kinds(root) == [("promote", 1, 1)]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RegistryError, match="MLflow cannot be reached"):
        decide.decide(root)
    with pytest.raises(RegistryError, match="MLflow cannot be reached"):
        approval.rollback(root, 1, why="")


def test_a_decision_whose_version_or_evidence_is_gone_still_stands(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its evidence it is read from the ledger; a deleted version is registered again."""
    root = project.root
    decide.decide(root)
    passing = judge.judge
    monkeypatch.setattr(judge, "judge", lambda *a: replace(passing(*a), outcome="reject"))
    rejected = candidate(root, 1)
    client = connect(root)
    tag = next(t for t in client.get_model_version("pumps", "2").tags if "decision" in t)
    client.set_model_version_tag("pumps", "2", tag, "changed")
    again = decide.decide(root)
    assert (again.outcome, again.cached, again.evidence) == ("reject", True, {})
    assert again.sentence == rejected.sentence
    client.delete_model_version("pumps", "2")
    new = decide.decide(root)
    assert (new.outcome, new.cached, new.version) == ("reject", False, 3)
    assert decide.decide(root).cached


def test_evidence_that_lost_fields_by_hand_is_still_read(project: Any) -> None:
    """Without the fields that a report shows, the sentence remains."""
    root = project.root
    decide.decide(root)
    client = connect(root)
    tags = client.get_model_version("pumps", "1").tags
    tag = next(name for name in tags if "decision" in name)
    shortened = json.loads(tags[tag]) | {"evidence": {"metric": "log_loss"}}
    client.set_model_version_tag("pumps", "1", tag, json.dumps(shortened))
    decision = decide.decide(root)
    assert decision.cached
    assert decision.sentence.startswith("Version 1 is the champion")
    assert decision.report.startswith("**Version 1 is promoted to champion")
