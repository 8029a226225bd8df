"""Tracking, registry and promotion on a real SQLite MLflow."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from refit.core import files
from refit.core.errors import ConfigError, PipelineError, RegistryError
from refit.promotion import approval, decide
from refit.promotion.scoring import LINEAR
from refit.registry import ledger, reconcile
from refit.registry.client import Registry
from refit.registry.ledger import MARK, Book, Entry, Kind
from refit.registry.sqlite_reader import Peek, UnknownError
from refit.serving.digest import identity
from refit.tracking import errors
from refit.tracking.client import Tracker, connect, experiment, find_run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose MLflow database is made once."""
    folder = tmp_path_factory.mktemp("mlflow")
    connect(folder)
    return folder


@pytest.fixture(autouse=True)
def _own_mlflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return


def make_bundle(folder: Path, text: str) -> Path:
    files.write_text(folder / "model.onnx", text)
    files.write_json(folder / "signature.json", {"task": "binary"})
    files.write_json(folder / "lineage.json", {})
    return folder


def history(root: Path, fingerprint: str, metric: str) -> list[tuple[int, float]]:
    client = connect(root)
    run = find_run(client, experiment(client, root, "t"), fingerprint)
    assert run is not None
    return [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, metric)]


def test_one_run_for_one_fingerprint(root: Path) -> None:
    """A retry goes on in the run that the first try began, and logs no step twice."""
    with pytest.raises(KeyError), Tracker("f1", "t", {"lr": 0.1}, {}, root) as tracker:
        for step in (10, 20, 30):
            tracker.log({"loss": 1 / step}, step)
        raise KeyError
    with Tracker("f1", "t", {"lr": 0.1}, {}, root) as tracker:
        for step in (20, 30, 40):
            tracker.log({"loss": 1 / step}, step)
    assert history(root, "f1", "loss") == [(10, 0.1), (20, 0.05), (30, 1 / 30), (40, 0.025)]
    client = connect(root)
    found = client.search_runs([experiment(client, root, "t")], "tags.x = 'y'")
    assert not found


def test_a_lost_server_costs_a_warning(
    root: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nobody at the address, the training goes on and one warning says so."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with Tracker("f2", "t", {}, {}, root) as tracker:
        tracker.log({"loss": 1.0}, 1)
        tracker.artifact(root / "nothing")
    assert capfd.readouterr().err.count("warning: MLflow was lost") == 1
    with pytest.raises(RegistryError, match="MLflow cannot be reached"):
        Registry(root, "t")


def test_the_same_model_is_registered_once(root: Path, tmp_path: Path) -> None:
    """A digest finds its version again, and another lineage is still the same model."""
    registry = Registry(root, "once")
    bundle = make_bundle(tmp_path, "weights")
    digest = identity(bundle)
    first = registry.register(digest, bundle, fingerprint="f3")
    files.write_json(bundle / "lineage.json", {"commit": "another"})
    assert identity(bundle) == digest
    assert registry.register(digest, bundle, fingerprint="f4").number == 1
    assert registry.find(digest) == first
    assert registry.find("b" * 64) is None


def crown(registry: Registry, number: int, kind: Kind = "promote") -> Book:
    """Make the version champion in the ledger, whatever stood there."""

    def make(book: Book) -> Entry:
        return book.entry(kind, who="ann", why="better", version=number, after=number)

    return reconcile.enter(registry, make)


def registered(root: Path, name: str, folder: Path, count: int) -> Registry:
    """A registry with so many versions."""
    registry = Registry(root, name)
    for number in range(1, count + 1):
        bundle = make_bundle(folder / str(number), f"{name} {number}")
        assert registry.register(identity(bundle), bundle, fingerprint=str(number)).number == number
    return registry


def test_aliases_follow_the_ledger(root: Path, tmp_path: Path) -> None:
    """Each entry is noted on its version and sets the aliases; a person's version waits aside."""
    registry = registered(root, "alias", tmp_path, 3)
    assert crown(registry, 1).champion == 1
    reconcile.enter(
        registry, lambda book: book.entry("wait", who="ann", why="", version=2, after=1)
    )
    assert (registry.aliased("champion"), registry.aliased("challenger")) == (1, 2)
    crown(registry, 3)
    assert (registry.aliased("champion"), registry.aliased("challenger")) == (3, None)
    book = registry.book()
    noted = {n: {t for t in tags if t.startswith(MARK)} for n, tags in registry.marks().items()}
    assert noted == {1: {f"{MARK}1"}, 2: {f"{MARK}2"}, 3: {f"{MARK}3"}}
    assert book.all_faults(registry.marks()) == []


def test_the_ledger_is_seen_beside_the_model(root: Path, tmp_path: Path) -> None:
    """A search lists both models; the ledger's says what it is, and has no alias."""
    crown(registered(root, "seen", tmp_path, 1), 1)
    client = connect(root)
    listed = client.search_registered_models("name like 'seen%'")
    assert [model.name for model in listed] == ["seen", "seen-ledger"]
    assert "refit history" in listed[1].description
    assert listed[1].tags == {"refit.ledger": "seen"}
    assert not listed[1].aliases
    (entry,) = client.search_model_versions("name = 'seen-ledger'")
    assert entry.description == "promote: version 1, champion None → 1 (ann): better"


def test_a_number_is_never_given_again(root: Path, tmp_path: Path) -> None:
    """The entry after one that was deleted by hand has the next number, so the gap shows."""
    registry = registered(root, "gap", tmp_path, 2)
    crown(registry, 1)
    crown(registry, 2)
    connect(root).delete_model_version("gap-ledger", "2")
    crown(registry, 2)
    assert [number for number, _ in registry.book().entries] == [1, 3]
    assert [fault.said for fault in registry.book().faults] == ["entry 2 is gone"]


def test_a_registry_of_before_the_ledger_is_taken_over(root: Path, tmp_path: Path) -> None:
    """Its champion becomes the first entry, which says so; once."""
    registry = registered(root, "older", tmp_path, 1)
    connect(root).set_registered_model_alias("older", "champion", "1")
    assert registry.champion() == registry.version(1)
    for _ in range(2):
        book = reconcile.settle(registry)
        ((_, entry),) = book.entries
        assert (entry.kind, entry.version, entry.before, entry.after) == ("adopt", 1, None, 1)


@pytest.mark.parametrize("quick", [False, True], ids=["mlflow", "peek"])
def test_an_alias_that_disagrees_is_put_right(root: Path, tmp_path: Path, quick: bool) -> None:  # noqa: FBT001
    """The next run sets it; where it was moved by hand, an entry says what it named."""
    name = f"moved-{quick}".lower()
    registry = registered(root, name, tmp_path, 3)
    reader = Peek(root, name) if quick else registry
    assert reconcile.settled(reader) is None
    crown(registry, 1)
    book = crown(registry, 2)
    assert reconcile.settled(reader) == book
    registry.point("champion", 3)
    assert reconcile.settled(reader) is None
    assert reconcile.settle(registry) == book  # so soon after a change it may just be late
    assert registry.aliased("champion") == 2
    registry.point("champion", 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "LAG", timedelta(0))
        _, entry = reconcile.settle(registry).entries[-1]
    assert (entry.kind, entry.after, entry.why) == ("alias", 2, "put back: it named version 3")
    assert registry.aliased("champion") == 2


@pytest.mark.parametrize(
    ("said", "calls"), [("duplicate key value violates", 3), ("disk is full", 1)]
)
def test_who_meets_another_writer_writes_again(
    said: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two who write one row is told so, and asks again; other faults are raised."""
    monkeypatch.setattr(errors.random, "uniform", lambda *_: 0)
    made: list[str] = []

    def write() -> None:
        made.append(said)
        if len(made) < 3:
            raise RegistryError("it cannot be written") from MlflowException(said)

    if calls == 1:
        with pytest.raises(RegistryError, match="cannot be written"):
            errors.patiently(write)
    else:
        errors.patiently(write)
    assert len(made) == calls


def test_an_evaluation_that_another_logs_as_well_is_logged(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two who note the same data under one run is refused by the database once."""
    registry = registered(root, "both", tmp_path, 1)
    client, version = registry._client, registry.version(1)
    real, tried = client.log_inputs, []

    def meets(*arguments: Any) -> None:
        tried.append(arguments)
        if len(tried) == 1:
            raise MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed: datasets")
        real(*arguments)

    monkeypatch.setattr(client, "log_inputs", meets)
    data = {"rows/part-0.parquet": "d" * 64}
    registry.log(version, metrics={"loss": 0.5}, folders={}, report="# Of both", inputs=data)
    run = client.get_run(version.run)
    assert len(tried) == 2
    assert [each.dataset.name for each in run.inputs.dataset_inputs] == list(data)
    assert len(client.get_metric_history(version.run, "loss")) == 1


def test_an_entry_cut_short_is_finished(root: Path, tmp_path: Path) -> None:
    """After a crash between ledger and alias, the next run notes the entry and sets the alias."""
    registry = registered(root, "short", tmp_path, 1)
    ledger.append(
        registry.ledger,
        lambda book: book.entry("promote", who="ann", why="", version=1, after=1),
    )
    assert reconcile.settled(Peek(root, "short")) is None
    book = reconcile.settle(registry)
    assert reconcile.settled(Peek(root, "short")) == book
    assert registry.aliased("champion") == 1
    assert registry.version(1).tags[f"{MARK}1"] == book.digest


def test_a_tampered_bundle_is_refused(root: Path, tmp_path: Path) -> None:
    """A download whose files are not those that were registered is an error that says so."""
    registry = Registry(root, "tamper")
    bundle = make_bundle(tmp_path, "honest")
    version = registry.register(identity(bundle), bundle, fingerprint="f")
    assert identity(registry.download(version)) == version.digest
    (stored,) = (root / ".refit/mlartifacts/tamper").rglob("model.onnx")
    stored.write_text("changed")
    assert identity(registry.download(version)) == version.digest  # a verified copy is kept
    shutil.rmtree(root / ".refit/bundles")
    with pytest.raises(RegistryError, match="not the one that was registered"):
        registry.download(version)
    stored.unlink()
    with pytest.raises(RegistryError, match="only a part of its files"):
        registry.download(version)


def test_the_quick_look_says_what_mlflow_says(root: Path, tmp_path: Path) -> None:
    """Champion and versions read straight from SQLite are MLflow's own answers."""
    with pytest.raises(UnknownError):
        Peek(tmp_path, "peek")
    registry = registered(root, "peek", tmp_path, 2)
    peek = Peek(root, "peek")
    assert peek.book() == registry.book() == Book()
    for number in (1, 2):
        crown(registry, number)
        assert peek.book() == registry.book()
        assert peek.aliased("champion") == registry.aliased("champion") == number
        assert peek.reigning(number) == registry.reigning(number)
        digest = registry.version(number).digest
        assert peek.find(digest) == registry.find(digest)
        marked = {
            n: {t for t in tags if t.startswith(MARK)} for n, tags in registry.marks().items()
        }
        assert {n: set(tags) for n, tags in peek.marks().items()} == {
            n: m for n, m in marked.items() if m
        }
    connect(root).delete_model_version("peek-ledger", "1")
    assert peek.book() == registry.book()
    assert peek.find("c" * 64) is None
    with pytest.raises(UnknownError):
        peek.reigning(3)


def test_no_candidate_is_said(tmp_path: Path) -> None:
    """Without a pipeline run there is nothing to decide about."""
    with pytest.raises(PipelineError, match="no candidate"):
        decide.decide(tmp_path)


@pytest.fixture
def decided(projects: Callable[[str], Any], tmp_path: Path) -> Path:
    """A copy of a project whose pipeline has run, its registry empty."""
    root: Path = projects("pumps").copy(tmp_path / "copy").root
    return root


@pytest.mark.slow
def test_promotion_is_decided_once(decided: Path) -> None:
    """The first version beats the linear baseline; asked again, the decision is found."""
    first = decide.decide(decided)
    assert (first.outcome, first.version, first.cached) == ("promote", 1, False)
    assert first.evidence["rival"] == LINEAR
    assert first.evidence["lower"] > 0
    again = decide.decide(decided)
    assert (again.outcome, again.version, again.cached) == ("promote", 1, True)
    version = Registry(decided, "pumps").champion()
    assert version is not None
    assert version.number == 1
    client = connect(decided)
    run = client.get_run(version.run)
    logged = {i.path for i in client.list_artifacts(version.run)}
    assert {"evaluation", f"bundle-{version.digest[:12]}", "decision-1.md"} <= logged
    assert {d.dataset.name for d in run.inputs.dataset_inputs} == {
        "data/raw/readings",
        "data/prepared/holdout.parquet",
    }
    assert "holdout.network.log_loss" in run.data.metrics


@pytest.mark.slow
def test_an_equal_challenger_is_rejected_and_a_policy_is_part_of_the_key(decided: Path) -> None:
    """Another file with the same predictions gains nothing; a changed policy decides anew."""
    decide.decide(decided)
    signature = decided / "data/bundle/signature.json"
    files.write_json(signature, files.read_json(signature) | {"note": "same predictions"})
    second = decide.decide(decided)
    assert (second.outcome, second.version, second.champion_before) == ("reject", 2, 1)
    assert second.evidence["difference"] == 0
    assert decide.decide(decided).cached
    params = decided / "params.yaml"
    params.write_text(params.read_text().replace("confidence: 0.95\n", "confidence: 0.9\n"))
    assert not decide.decide(decided).cached
    params.write_text(params.read_text().replace("metric: log_loss", "metric: squared_error"))
    with pytest.raises(ConfigError, match=r"promote\.metric.*such as log_loss"):
        decide.decide(decided)


CRASH = """
import sys, os, signal
from pathlib import Path
from refit.promotion.decide import decide
from refit.registry import reconcile
from refit.registry.client import Registry
from refit.registry.ledger_store import LedgerStore
def dies(*a, **k): os.kill(os.getpid(), signal.SIGKILL)
places = {"enter": (LedgerStore, "add"), "mark": (reconcile, "_note")}
owner, name = places.get(sys.argv[1], (Registry, sys.argv[1]))
setattr(owner, name, dies)
decide(Path.cwd())
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["register", "log", "record", "enter", "mark", "point"])
def test_a_crash_in_the_middle_is_completed(decided: Path, moment: str) -> None:
    """Killed before any step of a promotion, the next run ends as an undisturbed one."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")}
    crashed = subprocess.run(
        [sys.executable, "-c", CRASH, moment], cwd=decided, env=environment, check=False
    )
    assert crashed.returncode == -9
    found = decide.decide(decided)
    assert (found.outcome, found.version) == ("promote", 1)
    registry = Registry(decided, "pumps")
    champion = registry.champion()
    assert champion is not None
    assert champion.number == 1
    assert len(champion.decisions()) == 1
    ((_, entry),) = registry.book().entries
    assert (entry.kind, entry.version, entry.after) == ("promote", 1, 1)
    assert champion.decision(entry.evidence) == champion.decisions()[0]
    assert found.key == entry.key
    assert decide.decide(decided).cached
    assert approval.verify(decided) == []


@pytest.mark.slow
@pytest.mark.parametrize("step", ["record", "enter"])
def test_the_same_decided_elsewhere_meanwhile(
    decided: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Another machine decides the same just before a step: its decision stands, with its evidence."""
    other = tmp_path / "other"
    shutil.copytree(decided, other, symlinks=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/both.db")
    owner: Any = Registry if step == "record" else reconcile
    real = getattr(owner, step)

    def late(*arguments: Any) -> Any:
        monkeypatch.setattr(owner, step, real)
        assert not decide.decide(other).cached
        return real(*arguments)

    monkeypatch.setattr(owner, step, late)
    assert decide.decide(decided).cached
    registry = Registry(decided, "pumps")
    ((_, entry),) = registry.book().entries
    assert entry.version is not None
    assert list(registry.version(entry.version).recorded) == [entry.evidence]
    assert approval.verify(decided) == []


@pytest.mark.parametrize("kind", ["broken database", "driver"])
def test_any_fault_of_mlflow_costs_a_warning_and_no_password(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A file that is no database and a driver that is not installed: the training goes on."""
    if kind == "driver":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "mysql://me:hidden@127.0.0.1:9/mlflow")
    else:
        files.write_text(tmp_path / ".refit/mlflow.db", "this is no database\n" * 100)
    with Tracker("f", "t", {"lr": 1}, {}, tmp_path) as tracker:
        tracker.log({"loss": 1.0}, 1)
    said = capfd.readouterr().err
    assert said.count("warning: MLflow was lost") == 1
    assert "Traceback" not in said
    assert "hidden" not in said
    with pytest.raises(RegistryError, match="MLflow cannot be reached") as caught:
        Registry(tmp_path, "t")
    assert "hidden" not in str(caught.value)
