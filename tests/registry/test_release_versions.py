"""A release fit goes live, its twin is the evidence, and everything that shows evidence says so."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hostile_graphs
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file

from refit.core import files, paths
from refit.core.errors import DataError, RegistryError
from refit.evaluation import release
from refit.promotion import approval, decide, history, judge, registered, report, scoring
from refit.promotion import candidate as candidates
from refit.promotion.champion import Champion
from refit.promotion.decision import Decision
from refit.promotion.gates.holdout import Reuse
from refit.promotion.judge import Judgement
from refit.registry.registry import Registry
from refit.registry.version import PARTITIONS, RELEASE, Version, partitions_digest
from refit.reproducibility.lineage import lineage_lines
from refit.review import build, html, model_card, publish
from refit.serving import bundle, input_example
from refit.serving.digest import identity
from refit.workflow.status import status
from tests.conftest import EMPTY_REGISTRY, Project

pytestmark = pytest.mark.slow

LIVE, TWIN = "model.onnx", "twin.onnx"
GATES = ("release fit in range", "release fit equals training", "release fit near its twin")
UNUSED = Reuse(decisions=0, candidates=0)


@pytest.fixture(autouse=True)
def _own_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def plain(projects: Callable[[str], Any]) -> Path:
    """The project without a release fit, its pipeline run; tests must not change it."""
    root: Path = projects("pumps").root
    return root


@pytest.fixture(scope="module")
def project(
    projects: Callable[[str], Any], once: Callable[[str, Callable[[Path], object]], Any]
) -> Any:
    """The same project with `train.release: all`; tests must not change it."""

    def make(root: Path) -> None:
        copied = projects("pumps").copy(root)
        copied.change("train", release="all")
        copied.call("dvc", "repro")
        shutil.copy(projects("pumps").root / EMPTY_REGISTRY, root / EMPTY_REGISTRY)

    return once("release-pumps", make)


@pytest.fixture
def root(project: Any, tmp_path: Path) -> Path:
    """A copy of it, its registry empty."""
    copied: Path = project.copy(tmp_path / "release").root
    return copied


@pytest.fixture(scope="module")
def champion(
    project: Any,
    once: Callable[[str, Callable[[Path], object]], Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A copy whose release fit is the champion, reviewed; tests must not change it."""

    def make(root: Path) -> None:
        project.copy(root)
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            done = decide.decide(root)
            assert publish.publish(root, Registry.open(root), done.version, done.key)

    made = once("release-champion", make)
    copied: Path = made.copy_with_registry(tmp_path_factory.mktemp("release") / "pumps").root
    return copied


def version(root: Path, number: int = 1) -> tuple[Registry, Version]:
    registry = Registry.open(root)
    return registry, registry.versions.get(number)


def change_signature(root: Path) -> None:
    """Another bundle that makes the same predictions."""
    path = root / paths.BUNDLE / "signature.json"
    files.write_json(path, files.read_json(path) | {"note": "candidate"})


def multiply(path: Path, factor: float) -> None:
    """Multiply the logits of a graph."""
    model = onnx.load(path)
    head = next(node for node in reversed(model.graph.node) if node.op_type == "MatMul")
    for constant in model.graph.initializer:
        if constant.name == head.input[1]:
            array = (numpy_helper.to_array(constant) * factor).astype("float32")
            constant.CopyFrom(numpy_helper.from_array(array, constant.name))
    files.write_bytes(path, model.SerializeToString())


def judged(root: Path, rival: Champion | None = None) -> Judgement:
    """The judgement, whose evidence must be JSON that the report can show."""
    candidate = candidates.load(root)
    rules = replace(candidate.policy, latency_ratio=1000.0)
    judgement = judge.judge(replace(candidate, policy=rules), rival, UNUSED)
    evidence = json.loads(json.dumps(judgement.evidence(rules), allow_nan=False))
    sentence = report.sentence(judgement.outcome, 8, evidence)
    assert release.HOW in report.markdown(sentence, evidence, candidate.metrics)
    return judgement


def results(judgement: Judgement) -> dict[str, str]:
    return {gate.name: gate.result for gate in judgement.gates}


def test_the_twin_is_the_model_without_a_release_fit(plain: Path, project: Any) -> None:
    """Every byte that is evidence is as before; what goes live is another model."""
    root = project.root
    same = (
        "data/baseline",
        "data/model/weights.safetensors",
        "data/model/validation.npy",
        "data/evaluation/predictions.parquet",
        "data/evaluation/slices.json",
        "data/evaluation/plots",
        "data/bundle/signature.json",
    )
    for path in same:
        assert files.digest(root / path) == files.digest(plain / path), path
    live = files.digest(plain / paths.BUNDLE / LIVE)
    assert files.digest(root / paths.BUNDLE / TWIN) == live
    assert files.digest(root / paths.BUNDLE / LIVE) != live
    metrics = files.read_json(root / paths.METRICS)
    part = metrics.pop("release")
    assert metrics == files.read_json(plain / paths.METRICS)
    assert part["statement"] == release.sentence()
    assert not list(plain.rglob("twin.onnx"))
    assert "trained_on" not in files.read_json(plain / paths.BUNDLE / "lineage.json")


def test_the_bundle_holds_both_and_says_what_each_has_learnt(root: Path) -> None:
    """It predicts with the release fit; its digest covers the twin; the distance is measured."""
    model = bundle.load(root / paths.BUNDLE)
    assert model.is_release
    assert not model.evaluated.is_release
    rows = files.read_parquet(root / paths.HOLDOUT)
    live, twin = model.predict(rows), model.evaluated.predict(rows)
    stored = files.read_parquet(root / paths.PREDICTIONS)["network"].to_numpy()
    assert np.abs(twin - stored).max() < 1e-5
    learnt = files.read_parquet(root / paths.RELEASE_PREDICTIONS)["release"].to_numpy()
    assert np.abs(live - learnt).max() < 1e-5
    distance = files.read_json(root / paths.METRICS)["release"]["distance"]["holdout"]
    assert distance["rows"] == rows.height
    assert distance["mean"] == pytest.approx(np.abs(learnt - stored).mean(), abs=1e-5)
    assert distance["largest"] == pytest.approx(np.abs(learnt - stored).max(), abs=1e-5)
    assert files.read_json(root / paths.BUNDLE / "lineage.json")["trained_on"] == {
        LIVE: ["train", "validation", "holdout"],
        TWIN: ["train", "validation"],
    }
    before = identity(root / paths.BUNDLE)
    multiply(root / paths.BUNDLE / TWIN, 2.0)
    assert identity(root / paths.BUNDLE) != before


def improvement(decision: Decision) -> list[float]:
    return [decision.evidence[name] for name in ("difference", "lower", "upper")]


def test_the_decision_is_that_about_the_twin(
    root: Path, projects: Callable[[str], Any], tmp_path: Path
) -> None:
    """The same evidence as without a release fit, and three gates more."""
    other = projects("pumps").copy(tmp_path / "plain").root
    without, with_release = decide.decide(other), decide.decide(root)
    assert improvement(with_release) == improvement(without)
    timed = {"latency one row p50", "latency one row p99", "latency batch", "size"}
    shared = [gate for gate in without.evidence["gates"] if gate["name"] not in timed]
    gates = {gate["name"]: gate for gate in with_release.evidence["gates"]}
    for gate in shared:
        if gate["name"] not in {"holdout unseen", "served equals batch"}:
            assert gates[gate["name"]] == gate
    assert gates.keys() - {gate["name"] for gate in without.evidence["gates"]} == set(GATES)
    assert {gates[name]["result"] for name in GATES} == {"pass"}
    assert with_release.sentence == f"{without.sentence} {release.sentence()}"
    assert "release" not in without.evidence
    assert RELEASE not in version(other)[1].tags


def test_everything_that_shows_the_evaluation_says_so(champion: Path) -> None:
    """Ledger, status, lineage, report, review, model card and tags name the twin."""
    registry, one = version(champion)
    assert one.tags[RELEASE] == "all"
    lineage = registry.artifacts.lineage(one)
    assert lineage["params"]["train"]["release"] == "all"
    (why,) = (entry.why for _, entry in history.read(champion).entries)
    assert release.sentence() in why
    assert f"live       {release.HOW}" in status(champion).lines()
    lines = lineage_lines(lineage, one)
    assert f"live       {release.HOW}" in lines
    learnt = "model.onnx: train, validation, holdout; twin.onnx: train, validation"
    assert f"trained on {learnt}" in lines
    review = build.review_version(champion, registry, one)
    (sentence,) = review.release
    assert sentence.startswith(f"Version 1 goes live {release.HOW}. Predictions of the two differ")
    assert ("Trained on", learnt) in review.lineage
    page = html.render(review)
    assert "which the twin of version 1 was not trained on" in page
    assert page.count(release.HOW) >= 4
    card = model_card.markdown(review)
    assert "Evaluated is the twin of version 1" in card
    assert release.HOW in model_card.description(review)
    for name in ("decision-1.md", "model-card-1.md"):
        (path,) = (champion / paths.ARTIFACTS).rglob(name)
        assert release.HOW in path.read_text()
    assert registered.check(registry, one) == registered.CHECKED
    assert not history.verify(champion)


def test_a_later_candidate_is_compared_twin_with_twin(champion: Path, tmp_path: Path) -> None:
    """The champion's release fit knows the holdout, so equal twins have a difference of zero."""
    root = Project(champion).copy_with_registry(tmp_path / "copy").root
    change_signature(root)
    decision = decide.decide(root)
    assert decision.evidence["difference"] == 0
    assert decision.outcome == "reject"
    assert "It would go live trained on all rows" in decision.sentence
    assert decision.evidence["rival_twin"] is True
    (unseen,) = (g for g in decision.evidence["gates"] if g["name"] == "holdout unseen")
    assert unseen["result"] == "pass"
    assert unseen["summary"].endswith(
        "compared by the twin, which has not learnt the holdout: the candidate and version 1"
    )
    assert "Rival: version 1, its twin, trained without the holdout." in decision.report


def test_asking_for_a_release_fit_is_no_gain(
    projects: Callable[[str], Any], root: Path, tmp_path: Path
) -> None:
    """Against the champion of the same recipe the twin is its equal; the champion stays."""
    other = projects("pumps").copy(tmp_path / "plain").root
    decide.decide(other)
    shutil.rmtree(other / "data")
    shutil.copytree(root / "data", other / "data", symlinks=True)
    shutil.copy(root / "params.yaml", other)
    shutil.copy(root / "dvc.lock", other)
    decision = decide.decide(other)
    assert decision.evidence["difference"] == 0
    assert (decision.outcome, decision.version) == ("reject", 2)
    assert "rival_twin" not in decision.evidence


def test_what_goes_live_is_served_timed_and_weighed(root: Path) -> None:
    """Latency, size, served predictions and example rows are the release fit's."""
    candidate = candidates.load(root)
    scored = scoring.score(candidate, None)
    assert scored.candidate.path.name == LIVE
    live = scored.candidate.predict(candidate.holdout)
    assert scored.holdout.release is not None
    assert np.abs(scored.holdout.release - live).max() == 0
    assert np.abs(scored.holdout.candidate - live).max() > 1e-3
    path = root / "examples.parquet"
    path.write_bytes(input_example.take(candidate.bundle, candidate.holdout))
    rows = input_example.read(path)
    assert {"refit.prediction", "refit.twin"} <= set(rows.columns)
    assert input_example.difference(candidate.bundle, rows) == 0
    multiply(root / paths.BUNDLE / TWIN, 1.5)
    assert input_example.difference(bundle.load(root / paths.BUNDLE), rows) > 0.01


@pytest.mark.parametrize(
    ("factor", "failed"),
    [(float("nan"), set(GATES)), (-1.0, set(GATES[1:]))],
)
def test_a_broken_release_fit_is_rejected(root: Path, factor: float, failed: set[str]) -> None:
    """One that is not finite, or is worse on rows that it has learnt, never goes live."""
    multiply(root / paths.BUNDLE / LIVE, factor)
    judgement = judged(root)
    assert judgement.outcome == "reject"
    assert {name for name, result in results(judgement).items() if result == "fail"} >= failed
    assert {results(judgement)[name] for name in GATES if name not in failed} <= {"pass"}
    assert results(judgement)["predictions in range"] == "pass"
    assert results(judgement)["bundle equals training"] == "pass"


def test_an_empty_holdout_proves_nothing_about_it(root: Path) -> None:
    """Its gates have no evidence, and none fails."""
    for path in (paths.HOLDOUT, paths.PREDICTIONS, paths.RELEASE_PREDICTIONS):
        files.write_parquet(files.read_parquet(root / path).head(0), root / path)
    judgement = judged(root)
    assert judgement.outcome == "not proven"
    assert {results(judgement)[name] for name in GATES} == {"not enough evidence"}


def test_the_stage_refuses_a_fit_that_is_not_finite(root: Path) -> None:
    """The evaluation ends in one error that names the rows, and writes no bundle."""
    path = root / paths.RELEASE / "weights.safetensors"
    tensors = load_file(path)
    path.unlink()  # DVC has linked and protected it
    name = next(iter(tensors))
    save_file(tensors | {name: np.full_like(tensors[name], np.nan)}, path)
    done = subprocess.run(
        [sys.executable, "-m", "refit", "evaluate"],
        cwd=root,
        env=Project(root).environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert "the release fit predicts what cannot be" in done.stderr
    assert "600 predictions that are not finite probabilities" in done.stderr


@pytest.mark.parametrize("name", [LIVE, TWIN])
def test_a_hostile_graph_is_tried_in_either_place(root: Path, name: str) -> None:
    """Neither model of a candidate is loaded before its trial, and nothing is registered."""
    path = root / paths.BUNDLE / name
    path.unlink()
    path.write_bytes(hostile_graphs.endless().SerializeToString())
    with pytest.raises(DataError, match=rf"{name}.*the operator Loop"):
        decide.decide(root)
    assert not Registry.open(root).versions.all()


def test_a_lineage_that_hides_the_release_fit_is_refused(root: Path) -> None:
    """What each model has learnt stands in the lineage exactly where there is a twin."""
    path = root / paths.BUNDLE / "lineage.json"
    lineage = files.read_json(path)
    del lineage["trained_on"]
    files.write_json(path, lineage)
    with pytest.raises(DataError, match="the lineage does not fit the models of the bundle"):
        decide.decide(root)


@pytest.fixture
def stored(champion: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A project with a champion, and the folder of its bundle in the store; both may be changed."""
    root = Project(champion).copy_with_registry(tmp_path / "stored").root
    (folder,) = (root / paths.ARTIFACTS).rglob("bundle-*")
    return root, folder


def test_a_person_is_told_what_goes_live(stored: tuple[Path, Path]) -> None:
    """A person who makes such a version champion again reads that its twin was evaluated."""
    root, _ = stored
    assert "release" not in approval.rollback(root, 0, why="to try").sentence
    move = approval.rollback(root, 1, why="it was right")
    assert move.sentence == f"Version 1 is champion again. {release.sentence()}"
    assert move.checked == registered.CHECKED


def test_a_registered_twin_is_what_was_registered(stored: tuple[Path, Path]) -> None:
    """A changed or missing twin is refused before anything is loaded."""
    root, folder = stored
    registry, one = version(root)
    kept = (folder / TWIN).read_bytes()
    multiply(folder / TWIN, 2.0)
    with pytest.raises(RegistryError, match="is not the one that was registered"):
        registered.load(registry, one)
    (folder / TWIN).unlink()
    with pytest.raises(RegistryError, match="is not the one that was registered"):
        registered.load(registry, one)
    (folder / TWIN).write_bytes(kept)
    assert registered.load(registry, one).is_release


def test_a_registered_lineage_that_hides_it_is_refused(stored: tuple[Path, Path]) -> None:
    """Also by somebody who can write the tags, but not the ledger."""
    root, folder = stored
    registry, one = version(root)
    lineage = files.read_json(folder / "lineage.json")
    trained_on = lineage.pop("trained_on")
    files.write_json(folder / "lineage.json", lineage)
    with pytest.raises(RegistryError, match="names other partitions"):
        registered.check(registry, one)
    registry.tags.set(1, {PARTITIONS: partitions_digest(lineage)})
    with pytest.raises(RegistryError, match="does not say what its models have learnt"):
        registered.check(*version(root))
    lineage["trained_on"] = trained_on | {LIVE: ["tomorrow"]}
    files.write_json(folder / "lineage.json", lineage)
    with pytest.raises(RegistryError, match=r"lineage.json is not what it must be. .*trained_on"):
        registered.check(*version(root))


def test_a_twin_beside_another_version_is_not_taken(
    projects: Callable[[str], Any], tmp_path: Path
) -> None:
    """A file of that name beside a version without a release fit is named, and never loaded."""
    root = projects("pumps").copy(tmp_path / "plain").root
    decide.decide(root)
    (folder,) = (root / paths.ARTIFACTS).rglob("bundle-*")
    (folder / TWIN).write_bytes(hostile_graphs.endless().SerializeToString())
    registry, one = version(root)
    assert registered.check(registry, one).endswith("not its own, and ignored: twin.onnx")
    loaded = registered.load(registry, one)
    assert not loaded.is_release
    (loaded.folder / TWIN).write_bytes(b"put there by hand")
    again = registered.load(registry, one)
    assert not (again.folder / TWIN).exists()


@pytest.mark.heavy
@pytest.mark.parametrize(("dataset", "kind"), [("pumps", "boosted"), ("parcels", "network")])
def test_every_kind_of_model_and_several_classes(
    projects: Callable[[str], Any], tmp_path: Path, dataset: str, kind: str
) -> None:
    """Trees and a network with several classes have release fits that pass their gates."""
    project = projects(dataset).copy(tmp_path / dataset)
    project.change("train", release="all", model=kind)
    project.call("dvc", "repro")
    judgement = judged(project.root)
    assert {results(judgement)[name] for name in GATES} == {"pass"}
    assert decide.decide(project.root).version == 1
    assert registered.check(*version(project.root)) == registered.CHECKED


@pytest.mark.heavy
def test_both_models_are_reproduced(project: Any, tmp_path: Path) -> None:
    """The commit makes the same bytes of both on one thread and on two."""
    copied = project.copy(tmp_path / "reproduce")
    copied.call("refit", "run", "--no-server", "-q")
    counts = ("--threads", "1", "--threads", "2")
    done = copied.call("refit", "reproduce", "@champion", "-q", *counts, check=False)
    assert "the same bytes: all 8 outputs" in done.stdout, done.stderr


@pytest.mark.heavy
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_release_fit_that_was_ended_resumes_to_the_same_bytes(
    project: Any, tmp_path: Path, number: signal.Signals
) -> None:
    """The real stage, ended within the release fit, goes on there and leaves the same models."""
    copied = project.copy(tmp_path / "resume")
    copied.change("network", batch_size=2, epochs=3, patience=3, dropout=0.2, hidden_width=32)
    code = copied.root / "src/refit/training/loop.py"
    code.write_text(
        code.read_text().replace("CHECKPOINT_SECONDS = 30.0", "CHECKPOINT_SECONDS = 0.1")
    )
    whole = start(copied)
    assert whole.wait(timeout=240) == 0
    expected = files.digest(copied.root / paths.MODEL)
    shutil.rmtree(copied.root / paths.MODEL)
    ended = start(copied)
    pattern = "checkpoints/*/release/step-*"
    while ended.poll() is None and not list((copied.root / paths.STATE).glob(pattern)):
        time.sleep(0.005)
    ended.send_signal(number)
    assert ended.wait(timeout=240) == (143 if number == signal.SIGTERM else -number)
    resumed = start(copied)
    out, _ = resumed.communicate(timeout=240)
    assert resumed.returncode == 0
    last = out[out.index("again on all rows") :]
    assert "continuing from step" in last
    assert files.digest(copied.root / paths.MODEL) == expected


def start(project: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "refit", "train"],
        cwd=project.root,
        env=project.environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
