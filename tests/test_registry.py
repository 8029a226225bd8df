"""Tracking, registry and promotion on a real SQLite MLflow."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from refit import promote, tracking
from refit.core import files
from refit.core.errors import ConfigError, PipelineError, RegistryError
from refit.identity import identity
from refit.judging.judge import LINEAR
from refit.peek import Peek, UnknownError
from refit.registry import Registry
from refit.tracking import Tracker

KEY = "a" * 64


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose MLflow database is made once."""
    folder = tmp_path_factory.mktemp("mlflow")
    tracking.connect(folder)
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
    client = tracking.connect(root)
    run = tracking.find_run(client, tracking.experiment(client, root, "t"), fingerprint)
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
    client = tracking.connect(root)
    found = client.search_runs([tracking.experiment(client, root, "t")], "tags.x = 'y'")
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


def test_the_alias_moves_only_from_where_it_was_expected(root: Path, tmp_path: Path) -> None:
    """A promotion that was decided against an older champion is refused."""
    registry = Registry(root, "alias")
    versions = []
    for text in ("one", "two", "three"):
        bundle = make_bundle(tmp_path / text, text)
        digest = identity(bundle)
        versions.append(registry.register(digest, bundle, fingerprint=text))
    registry.move(versions[0], KEY, expected=None)
    registry.move(versions[1], KEY, expected=1)
    with pytest.raises(RegistryError, match=r"Got version 2\. Expected version 1"):
        registry.move(versions[2], KEY, expected=1)
    champion = registry.champion()
    assert champion is not None
    assert champion.number == 2
    assert champion.moved(KEY)


def test_a_tampered_bundle_is_refused(root: Path, tmp_path: Path) -> None:
    """A download whose files are not those that were registered is an error that says so."""
    registry = Registry(root, "tamper")
    bundle = make_bundle(tmp_path, "honest")
    version = registry.register(identity(bundle), bundle, fingerprint="f")
    assert identity(registry.download(version)) == version.digest
    shutil.rmtree(root / ".refit/bundles")
    (stored,) = (root / ".refit/mlartifacts/tamper").rglob("model.onnx")
    stored.write_text("changed")
    with pytest.raises(RegistryError, match="not the one that was registered"):
        registry.download(version)


def test_the_quick_look_says_what_mlflow_says(root: Path, tmp_path: Path) -> None:
    """Champion and versions read straight from SQLite are MLflow's own answers."""
    registry = Registry(root, "peek")
    with pytest.raises(UnknownError):
        Peek(tmp_path, "peek")
    assert Peek(root, "peek").champion() is None
    for text in ("one", "two"):
        bundle = make_bundle(tmp_path / text, text)
        digest = identity(bundle)
        version = registry.register(digest, bundle, fingerprint=text)
        registry.record(version, KEY, {"outcome": "promote"})
        registry.move(version, KEY, expected=version.number - 1 or None)
        assert Peek(root, "peek").champion() == registry.champion()
        assert Peek(root, "peek").find(digest) == registry.find(digest)
    assert Peek(root, "peek").find("c" * 64) is None


def test_no_candidate_is_said(tmp_path: Path) -> None:
    """Without a pipeline run there is nothing to decide about."""
    with pytest.raises(PipelineError, match="no candidate"):
        promote.decide(tmp_path)


@pytest.fixture
def decided(projects: Callable[[str], Any], tmp_path: Path) -> Path:
    """A copy of a project whose pipeline has run, its registry empty."""
    copy = tmp_path / "copy"
    shutil.copytree(projects("pumps").root, copy, symlinks=True)
    shutil.rmtree(copy / ".refit", ignore_errors=True)
    return copy


@pytest.mark.slow
def test_promotion_is_decided_once(decided: Path) -> None:
    """The first version beats the linear baseline; asked again, the decision is found."""
    first = promote.decide(decided)
    assert (first.outcome, first.version, first.cached) == ("promote", 1, False)
    assert first.evidence["rival"] == LINEAR
    assert first.evidence["lower"] > 0
    again = promote.decide(decided)
    assert (again.outcome, again.version, again.cached) == ("promote", 1, True)
    version = Registry(decided, "pumps").champion()
    assert version is not None
    assert version.number == 1
    client = tracking.connect(decided)
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
    promote.decide(decided)
    signature = decided / "data/bundle/signature.json"
    files.write_json(signature, files.read_json(signature) | {"note": "same predictions"})
    second = promote.decide(decided)
    assert (second.outcome, second.version, second.champion_before) == ("reject", 2, 1)
    assert second.evidence["difference"] == 0
    assert promote.decide(decided).cached
    params = decided / "params.yaml"
    params.write_text(params.read_text().replace("confidence: 0.95\n", "confidence: 0.9\n"))
    assert not promote.decide(decided).cached
    params.write_text(params.read_text().replace("metric: log_loss", "metric: squared_error"))
    with pytest.raises(ConfigError, match=r"promote\.metric.*such as log_loss"):
        promote.decide(decided)


CRASH = """
import sys, os, signal
from pathlib import Path
from refit import promote, registry
def dies(*a, **k): os.kill(os.getpid(), signal.SIGKILL)
whole = registry.Registry._tag
def mark(self, version, key, value):
    (dies if key.startswith(registry.MOVED) else whole)(self, version, key, value)
if sys.argv[1] == "mark":
    registry.Registry._tag = mark
else:
    setattr(registry.Registry, sys.argv[1], dies)
promote.decide(Path.cwd())
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["register", "log", "record", "move", "mark"])
def test_a_crash_in_the_middle_is_completed(decided: Path, moment: str) -> None:
    """Killed before any step of a promotion, the next run ends as an undisturbed one."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")}
    crashed = subprocess.run(
        [sys.executable, "-c", CRASH, moment], cwd=decided, env=environment, check=False
    )
    assert crashed.returncode == -9
    found = promote.decide(decided)
    assert (found.outcome, found.version) == ("promote", 1)
    registry = Registry(decided, "pumps")
    champion = registry.champion()
    assert champion is not None
    assert champion.number == 1
    assert len(champion.decisions()) == 1
    assert champion.moved(found.key)
    assert promote.decide(decided).cached


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
