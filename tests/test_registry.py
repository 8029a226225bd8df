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
from refit.promotion import decide
from refit.promotion.history import verify
from refit.promotion.scored import LINEAR
from refit.registry import reconcile
from refit.registry.entry import ENTRY_TAG, Entry, Kind
from refit.registry.ledger import Ledger
from refit.registry.reader import Reader
from refit.registry.registry import Registry
from refit.registry.sqlite_reader import SqliteReader, UnknownError
from refit.registry.tags import Tags
from refit.registry.version import Version
from refit.serving.digest import identity
from refit.tracking import errors
from refit.tracking.client import connect, experiment, find_run
from refit.tracking.recorder import Recorder
from refit.tracking.run import TrainingRun


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose MLflow database is created once."""
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


def register(registry: Registry, bundle: Path, fingerprint: str = "f") -> Version:
    """Register a bundle with as little else as possible."""
    return registry.versions.register(
        identity(bundle), bundle, fingerprint=fingerprint, lineage={}, examples=b"rows", tags={}
    )


def accept(folder: Path) -> None:
    """Take a bundle whatever it holds: these are no models."""
    assert folder.is_dir()


def recording(fingerprint: str, params: dict[str, object], root: Path) -> Recorder:
    values = {name: str(value) for name, value in params.items()}
    training = TrainingRun(fingerprint=fingerprint, experiment="t", params=values, tags={})
    return Recorder(training, root)


def history(root: Path, fingerprint: str, metric: str) -> list[tuple[int, float]]:
    client = connect(root)
    run = find_run(client, experiment(client, root, "t"), fingerprint)
    assert run is not None
    return [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, metric)]


def test_one_run_for_one_fingerprint(root: Path) -> None:
    """A retry continues the run of the first try, and logs no step twice."""
    with pytest.raises(KeyError), recording("f1", {"lr": 0.1}, root) as recorder:
        for step in (10, 20, 30):
            recorder.log({"loss": 1 / step}, step)
        raise KeyError
    with recording("f1", {"lr": 0.1}, root) as recorder:
        for step in (20, 30, 40):
            recorder.log({"loss": 1 / step}, step)
    assert history(root, "f1", "loss") == [(10, 0.1), (20, 0.05), (30, 1 / 30), (40, 0.025)]
    client = connect(root)
    assert not client.search_runs([experiment(client, root, "t")], "tags.x = 'y'")


def test_a_lost_server_costs_a_warning(
    root: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no server answers, the training continues, and one warning says so."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with recording("f2", {}, root) as recorder:
        recorder.log({"loss": 1.0}, 1)
        recorder.artifact(root / "nothing")
    assert capfd.readouterr().err.count("warning: MLflow was lost") == 1
    with pytest.raises(RegistryError, match="MLflow cannot be reached"):
        Registry.open(root, "t")


def test_a_killed_recorder_costs_a_warning(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The training goes on, and the next one with its fingerprint completes the run."""
    with recording("f5", {}, root) as recorder:
        recorder._process.kill()
        for step in range(2000):
            recorder.log({"loss": 1.0}, step)
    assert capfd.readouterr().err == "warning: the training's MLflow run is not complete\n"
    with recording("f5", {}, root) as recorder:
        recorder.log({"loss": 1.0}, 1)
    assert history(root, "f5", "loss") == [(1, 1.0)]


def test_the_same_model_is_registered_once(root: Path, tmp_path: Path) -> None:
    """A digest finds its version, and another lineage is still the same model."""
    registry = Registry.open(root, "once")
    bundle = make_bundle(tmp_path, "weights")
    digest = identity(bundle)
    first = register(registry, bundle, "f3")
    files.write_json(bundle / "lineage.json", {"commit": "another"})
    assert identity(bundle) == digest
    assert register(registry, bundle, "f4").number == 1
    assert registry.versions.find(digest) == first
    assert registry.versions.find("b" * 64) is None


def promote(registry: Registry, number: int, kind: Kind = "promote") -> Ledger:
    """Make the version champion in the ledger, whatever the ledger says."""

    def make(ledger: Ledger) -> Entry:
        return ledger.entry(kind, who="ann", why="better", version=number, after=number)

    return reconcile.enter(registry, make)


def registered(root: Path, name: str, folder: Path, count: int) -> Registry:
    """A registry with this many versions."""
    registry = Registry.open(root, name)
    for number in range(1, count + 1):
        bundle = make_bundle(folder / str(number), f"{name} {number}")
        assert register(registry, bundle, str(number)).number == number
    return registry


def test_aliases_follow_the_ledger(root: Path, tmp_path: Path) -> None:
    """Each entry tags its version and sets the aliases; a version that waits is challenger."""
    registry = registered(root, "alias", tmp_path, 3)
    assert promote(registry, 1).champion == 1
    reconcile.enter(
        registry, lambda ledger: ledger.entry("wait", who="ann", why="", version=2, after=1)
    )
    assert (registry.aliases.get("champion"), registry.aliases.get("challenger")) == (1, 2)
    promote(registry, 3)
    assert (registry.aliases.get("champion"), registry.aliases.get("challenger")) == (3, None)
    tags = registry.versions.entry_tags()
    assert {number: set(each) for number, each in tags.items()} == {
        1: {f"{ENTRY_TAG}1"},
        2: {f"{ENTRY_TAG}2"},
        3: {f"{ENTRY_TAG}3"},
    }
    assert registry.ledger.read().all_damage(tags) == []


def test_mlflow_lists_the_ledger_beside_the_model(root: Path, tmp_path: Path) -> None:
    """A search lists both models; the ledger has a description and no alias."""
    promote(registered(root, "seen", tmp_path, 1), 1)
    client = connect(root)
    listed = client.search_registered_models("name like 'seen%'")
    assert [model.name for model in listed] == ["seen", "seen-ledger"]
    assert "refit history" in listed[1].description
    assert listed[1].tags == {"refit.ledger": "seen"}
    assert not listed[1].aliases
    (entry,) = client.search_model_versions("name = 'seen-ledger'")
    assert entry.description == "promote: version 1, champion None → 1 (ann): better"


def test_a_number_is_never_given_again(root: Path, tmp_path: Path) -> None:
    """The entry after a deleted one has the next number, so the gap shows."""
    registry = registered(root, "gap", tmp_path, 2)
    promote(registry, 1)
    promote(registry, 2)
    connect(root).delete_model_version("gap-ledger", "2")
    promote(registry, 2)
    assert [number for number, _ in registry.ledger.read().entries] == [1, 3]
    assert [each.message for each in registry.ledger.read().damage] == ["entry 2 is gone"]


@pytest.mark.parametrize("by", ["mlflow", "sqlite"])
def test_a_wrong_alias_is_set_back(root: Path, tmp_path: Path, by: str) -> None:
    """The next run sets it; if it was moved by hand, an entry says what it named."""
    name = f"moved-{by}"
    registry = registered(root, name, tmp_path, 3)
    reader: Reader = SqliteReader.open(root, name) if by == "sqlite" else registry
    assert reconcile.applied(reader) is None
    promote(registry, 1)
    ledger = promote(registry, 2)
    assert reconcile.applied(reader) == ledger
    registry.aliases.set("champion", 3)
    assert reconcile.applied(reader) is None
    assert reconcile.apply(registry) == ledger  # so soon after a change it may only be late
    assert registry.aliases.get("champion") == 2
    registry.aliases.set("champion", 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "ALIAS_DELAY", timedelta(0))
        _, entry = reconcile.apply(registry).entries[-1]
    assert (entry.kind, entry.after, entry.why) == ("alias", 2, "put back: it named version 3")
    assert registry.aliases.get("champion") == 2


@pytest.mark.parametrize(
    ("message", "calls"), [("duplicate key value violates", 3), ("disk is full", 1)]
)
def test_a_write_that_meets_another_writer_is_retried(
    message: str, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two writers of one row gets an error and tries again; other errors are raised."""
    monkeypatch.setattr(errors.random, "uniform", lambda *_: 0)
    attempts: list[str] = []

    def write() -> None:
        attempts.append(message)
        if len(attempts) < 3:
            raise RegistryError("it cannot be written") from MlflowException(message)

    if calls == 1:
        with pytest.raises(RegistryError, match="cannot be written"):
            errors.retry(write)
    else:
        errors.retry(write)
    assert len(attempts) == calls


def test_an_evaluation_that_another_machine_logs_too_is_logged(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two writers of the same data is refused once by the database, and tries again."""
    registry = registered(root, "both", tmp_path, 1)
    client, version = registry.artifacts._connection.client, registry.versions.get(1)
    real, attempts = client.log_inputs, []

    def refuse_once(*arguments: Any) -> None:
        attempts.append(arguments)
        if len(attempts) == 1:
            raise MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed: datasets")
        real(*arguments)

    monkeypatch.setattr(client, "log_inputs", refuse_once)
    data = {"rows/part-0.parquet": "d" * 64}
    registry.artifacts.log_evaluation(
        version, metrics={"loss": 0.5}, folders={}, report="# Of both", inputs=data
    )
    run = client.get_run(version.run)
    assert len(attempts) == 2
    assert [each.dataset.name for each in run.inputs.dataset_inputs] == list(data)
    assert len(client.get_metric_history(version.run, "loss")) == 1


def test_a_crash_after_the_entry_is_completed(root: Path, tmp_path: Path) -> None:
    """After a crash between ledger and alias, the next run tags the version and sets the alias."""
    registry = registered(root, "short", tmp_path, 1)
    registry.ledger.append(
        lambda ledger: ledger.entry("promote", who="ann", why="", version=1, after=1),
    )
    assert reconcile.applied(SqliteReader.open(root, "short")) is None
    ledger = reconcile.apply(registry)
    assert reconcile.applied(SqliteReader.open(root, "short")) == ledger
    assert registry.aliases.get("champion") == 1
    assert registry.versions.get(1).tags[f"{ENTRY_TAG}1"] == ledger.digest


def test_a_tampered_bundle_is_refused(root: Path, tmp_path: Path) -> None:
    """Downloading files other than the registered ones is an error."""
    registry = Registry.open(root, "tamper")
    version = register(registry, make_bundle(tmp_path, "honest"))
    assert identity(registry.artifacts.download(version, accept)) == version.digest
    (stored,) = (root / ".refit/mlartifacts/tamper").rglob("model.onnx")
    stored.write_text("changed")
    assert (
        identity(registry.artifacts.download(version, accept)) == version.digest
    )  # a verified copy is kept
    shutil.rmtree(root / ".refit/bundles")
    with pytest.raises(RegistryError, match="not the one that was registered"):
        registry.artifacts.download(version, accept)
    stored.unlink()
    with pytest.raises(RegistryError, match="only a part of its files"):
        registry.artifacts.download(version, accept)


def test_the_sqlite_reader_gives_the_answers_of_mlflow(root: Path, tmp_path: Path) -> None:
    """Ledger, aliases, versions, tags and artifacts are read from SQLite as from MLflow."""
    with pytest.raises(UnknownError):
        SqliteReader.open(tmp_path, "read")
    registry = registered(root, "read", tmp_path, 2)
    reader = SqliteReader.open(root, "read")
    assert reader.ledger.read() == registry.ledger.read() == Ledger()
    for number in (1, 2):
        promote(registry, number)
        assert reader.ledger.read() == registry.ledger.read()
        assert reader.aliases.get("champion") == registry.aliases.get("champion") == number
        assert reader.versions.get(number) == registry.versions.get(number)
        digest = registry.versions.get(number).digest
        assert reader.versions.find(digest) == registry.versions.find(digest)
        assert reader.versions.entry_tags() == registry.versions.entry_tags()
        assert reader.versions.all() == registry.versions.all()
    second = registry.versions.get(2)
    assert reader.artifacts.others(second) == registry.artifacts.others(second) == ()
    connect(root).log_text(second.run, "", f"bundle-{second.digest[:12]}/model.pkl")
    assert reader.artifacts.others(second) == registry.artifacts.others(second) == ("model.pkl",)
    connect(root).delete_model_version("read-ledger", "1")
    assert reader.ledger.read() == registry.ledger.read()
    assert reader.versions.find("c" * 64) is None
    with pytest.raises(UnknownError):
        reader.versions.get(3)


def test_without_a_candidate_nothing_is_decided(tmp_path: Path) -> None:
    """Without a run of the pipeline there is nothing to decide about."""
    with pytest.raises(PipelineError, match="no candidate"):
        decide.decide(tmp_path)


@pytest.fixture
def decided(projects: Callable[[str], Any], tmp_path: Path) -> Path:
    """A copy of a project whose pipeline has run, its registry empty."""
    root: Path = projects("pumps").copy(tmp_path / "copy").root
    return root


@pytest.mark.slow
def test_promotion_is_decided_once(decided: Path) -> None:
    """The first version beats the linear baseline; the second time, the decision is decision."""
    first = decide.decide(decided)
    assert (first.outcome, first.version, first.cached) == ("promote", 1, False)
    assert first.evidence["rival"] == LINEAR
    assert first.evidence["lower"] > 0
    again = decide.decide(decided)
    assert (again.outcome, again.version, again.cached) == ("promote", 1, True)
    registry = Registry.open(decided)
    version = registry.champion(registry.ledger.read())
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
    """Another file with the same predictions gains nothing; a changed policy decides again."""
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
    with pytest.raises(ConfigError, match=r"promote\.metric.*Expected one of log_loss"):
        decide.decide(decided)


CRASH = """
import sys, os, signal
from pathlib import Path
from refit.promotion.decide import decide
from refit.registry import reconcile
from refit.registry.aliases import Aliases
from refit.registry.artifacts import Artifacts
from refit.registry.ledger_store import LedgerStore
from refit.registry.tags import Tags
from refit.registry.versions import Versions
def die(*a, **k): os.kill(os.getpid(), signal.SIGKILL)
steps = {
    "register": (Versions, "register"),
    "log": (Artifacts, "log_evaluation"),
    "record": (Tags, "record_decision"),
    "enter": (LedgerStore, "add"),
    "tag": (reconcile, "_tag_version"),
    "alias": (Aliases, "set"),
}
setattr(*steps[sys.argv[1]], die)
decide(Path.cwd())
"""


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize("step", ["register", "log", "record", "enter", "tag", "alias"])
def test_a_crash_in_the_middle_is_completed(decided: Path, step: str) -> None:
    """After a kill before any step of a promotion, the next run ends as an undisturbed one."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")}
    crashed = subprocess.run(
        [sys.executable, "-c", CRASH, step], cwd=decided, env=environment, check=False
    )
    assert crashed.returncode == -9
    decision = decide.decide(decided)
    assert (decision.outcome, decision.version) == ("promote", 1)
    registry = Registry.open(decided)
    champion = registry.champion(registry.ledger.read())
    assert champion is not None
    assert champion.number == 1
    assert len(champion.decisions()) == 1
    ((_, entry),) = registry.ledger.read().entries
    assert (entry.kind, entry.version, entry.after) == ("promote", 1, 1)
    assert champion.decision(entry.evidence) == champion.decisions()[0]
    assert decision.key == entry.key
    assert decide.decide(decided).cached
    assert verify(decided) == []


@pytest.mark.slow
@pytest.mark.parametrize("step", ["record_decision", "enter"])
def test_the_same_decision_of_another_machine_stands(
    decided: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """If another machine decides the same just before a step, its decision and evidence stand."""
    other = tmp_path / "other"
    shutil.copytree(decided, other, symlinks=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/both.db")
    owner: Any = Tags if step == "record_decision" else reconcile
    real = getattr(owner, step)

    def late(*arguments: Any) -> Any:
        monkeypatch.setattr(owner, step, real)
        assert not decide.decide(other).cached
        return real(*arguments)

    monkeypatch.setattr(owner, step, late)
    assert decide.decide(decided).cached
    registry = Registry.open(decided)
    ((_, entry),) = registry.ledger.read().entries
    assert entry.version is not None
    assert list(registry.versions.get(entry.version).recorded) == [entry.evidence]
    assert verify(decided) == []


@pytest.mark.parametrize("kind", ["broken database", "driver"])
def test_any_error_of_mlflow_costs_one_warning_and_shows_no_password(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """With a file that is no database, or without the driver, the training continues."""
    if kind == "driver":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "mysql://me:hidden@127.0.0.1:9/mlflow")
    else:
        files.write_text(tmp_path / ".refit/mlflow.db", "this is no database\n" * 100)
    with recording("f", {"lr": 1}, tmp_path) as recorder:
        recorder.log({"loss": 1.0}, 1)
    printed = capfd.readouterr().err
    assert printed.count("warning: MLflow was lost") == 1
    assert "Traceback" not in printed
    assert "hidden" not in printed
    with pytest.raises(RegistryError, match="MLflow cannot be reached") as caught:
        Registry.open(tmp_path, "t")
    assert "hidden" not in str(caught.value)
