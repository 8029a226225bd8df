"""Decisions about a real project: what is refused, decided again, found again and read once."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from refit.core import files, paths
from refit.core.errors import PipelineError
from refit.promotion import decide, scoring
from refit.promotion.decision import Decision
from refit.promotion.policy import PromoteParams
from refit.registry.registry import Registry
from refit.serving import bundle
from refit.serving.digest import identity

SIGNATURE = Path("data/bundle/signature.json")


@pytest.fixture
def undecided(
    projects: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of a project whose pipeline has run, its registry empty."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root: Path = projects("pumps").copy(tmp_path / "copy").root
    return root


@pytest.fixture
def decided(undecided: Path) -> Path:
    """The same project with a champion and a candidate that has the champion's weights."""
    decide.decide(undecided)
    change_signature(undecided)
    return undecided


def change_signature(root: Path) -> None:
    """Another bundle that makes the same predictions."""
    files.write_json(root / SIGNATURE, files.read_json(root / SIGNATURE) | {"note": "candidate"})


@pytest.mark.slow
def test_an_evaluation_of_other_rows_is_refused(decided: Path) -> None:
    """Holdout rows and stored predictions must be the same rows in the same order."""
    path = decided / paths.HOLDOUT
    files.write_parquet(files.read_parquet(path).reverse(), path)
    with pytest.raises(PipelineError, match="the evaluation is not of these holdout rows"):
        decide.decide(decided)
    assert Registry.open(decided).versions.find(identity(decided / "data/bundle")) is None


@pytest.mark.slow
def test_other_blocks_of_the_same_model_are_decided_again(decided: Path) -> None:
    """A decision depends on the blocks and on the predictions of the baselines."""
    first = decide.decide(decided)
    path = decided / paths.PREDICTIONS
    wide = files.read_parquet(path).with_columns(pl.col("block") // 2)
    files.write_parquet(wide, path)
    second = decide.decide(decided)
    assert not second.cached
    assert second.version == first.version
    assert second.evidence["blocks"] < first.evidence["blocks"]


@pytest.mark.slow
def test_a_champion_of_another_task_leaves_it_not_proven(decided: Path) -> None:
    """The decision is recorded with the reason and the way out, and the champion stays."""
    changed = files.read_json(decided / SIGNATURE) | {"task": "regression"}
    files.write_json(decided / SIGNATURE, changed)
    path = decided / "params.yaml"
    values = yaml.safe_load(path.read_text())
    values["promote"]["metric"] = "squared_error"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    decision = decide.decide(decided)
    (gate,) = (gate for gate in decision.evidence["gates"] if gate["group"] == "improvement")
    assert decision.outcome == "not proven"
    assert "could not be compared with version 1" in decision.sentence
    assert gate["result"] == "not enough evidence"
    assert re.search("it is a binary model.*refit rollback --to none", gate["summary"])
    assert gate["summary"] in decision.report
    registry = Registry.open(decided)
    champion = registry.champion(registry.ledger.read())
    assert champion is not None
    assert champion.number == 1


def model(*classes: str) -> Any:
    """A model that gives each of these classes the same probability."""
    signature = {"task": "multiclass", "classes": list(classes)}
    uniform = lambda rows: np.full((rows.height, len(classes)), 1 / len(classes))  # noqa: E731
    return SimpleNamespace(signature=signature, predict=uniform)


def test_a_class_that_a_model_does_not_know_has_probability_zero() -> None:
    """Classes are matched by name, whatever their order."""
    rows = pl.DataFrame({"x": [1.0, 2.0]})
    candidate, champion = scoring.predict_both(model("a", "b", "c"), model("c", "a"), rows)
    assert candidate.tolist() == [[1 / 3, 1 / 3, 1 / 3]] * 2
    assert champion.tolist() == [[0.5, 0.0, 0.5]] * 2
    candidate, champion = scoring.predict_both(model("a"), model("b", "a"), rows)
    assert candidate.tolist() == [[1.0, 0.0]] * 2
    assert champion.tolist() == [[0.5, 0.5]] * 2


@pytest.mark.slow
def test_an_overdue_champion_may_be_replaced_by_its_equal(
    decided: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A candidate with the same predictions is rejected until the champion is overdue."""
    first = decide.decide(decided)
    assert first.outcome == "reject"
    monkeypatch.setattr(PromoteParams, "overdue", lambda *_: 400)
    second = decide.decide(decided)
    assert (second.outcome, second.version, second.champion_before) == ("promote", 2, 1)
    assert "champion for 400 days" in second.report


@pytest.mark.slow
@pytest.mark.parametrize("rows", [0, 30])
def test_an_empty_or_tiny_holdout_is_recorded_as_not_proven(decided: Path, rows: int) -> None:
    """Nothing is promoted on rows that prove nothing, and the decision is kept and found again."""
    for path in (paths.HOLDOUT, paths.PREDICTIONS):
        files.write_parquet(files.read_parquet(decided / path).head(rows), decided / path)
    decision = decide.decide(decided)
    assert decision.outcome == "not proven"
    assert decision.version == 2
    assert {gate["name"] for gate in decision.evidence["gates"]} > {"improvement", "holdout unseen"}
    again = decide.decide(decided)
    assert again.cached
    assert again.sentence == decision.sentence


INPUTS = (paths.HOLDOUT, paths.PREDICTIONS, paths.BUNDLE / "model.onnx", paths.METRICS)


def count_reads(monkeypatch: pytest.MonkeyPatch, root: Path) -> Counter[str]:
    """Counts how often each file of the project is read, by function and path."""
    reads: Counter[str] = Counter()

    def counted(function: Callable[[Path], Any]) -> Callable[[Path], Any]:
        def call(path: Path) -> Any:
            if path.is_relative_to(root):
                reads[f"{function.__name__} {path.relative_to(root)}"] += 1
            return function(path)

        return call

    for function in (files.digest, files.read_parquet, files.read_json, bundle.load):
        owner = bundle if function is bundle.load else files
        monkeypatch.setattr(owner, function.__name__, counted(function))
    return reads


@pytest.mark.slow
def test_a_decision_reads_each_input_once(decided: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judging and recording digest and read each file of the candidate once, no raw one twice."""
    reads = count_reads(monkeypatch, decided)
    assert not decide.decide(decided).cached
    for path in INPUTS:
        assert reads[f"digest {path}"] <= 1
        assert reads[f"read_parquet {path}"] + reads[f"read_json {path}"] <= 1
    assert reads[f"digest {paths.HOLDOUT}"] == reads[f"read_parquet {paths.HOLDOUT}"] == 1
    assert reads[f"digest {paths.PREDICTIONS}"] == reads[f"read_parquet {paths.PREDICTIONS}"] == 1
    assert reads[f"load {paths.BUNDLE}"] == 1
    raw = {name: count for name, count in reads.items() if name.startswith("digest data/raw")}
    assert set(raw.values()) == {1}


@pytest.mark.slow
def test_a_decision_that_is_found_reads_no_table(
    decided: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quick answer needs the digests alone, each computed once."""
    decide.decide(decided)
    reads = count_reads(monkeypatch, decided)
    assert decide.decide(decided).cached
    assert reads[f"digest {paths.HOLDOUT}"] == reads[f"digest {paths.PREDICTIONS}"] == 1
    assert not any(name.startswith(("read_parquet", "load")) for name in reads)


@pytest.mark.slow
def test_the_quick_answer_imports_no_heavy_library(decided: Path) -> None:
    """Finding a decision, the history and the status load neither a model runtime nor MLflow."""
    decide.decide(decided)
    heavy = ("mlflow", "onnxruntime", "onnx", "sklearn", "torch", "lightgbm")
    code = (
        "import sys; from pathlib import Path; from refit.promotion.decide import decide;"
        " from refit.promotion import history; from refit.workflow.status import status;"
        " assert history.live(Path.cwd(), history.read(Path.cwd()).entries[-1][1].moment) == 1;"
        " assert history.verify(Path.cwd()) == []; assert status(Path.cwd()).champion.number == 1;"
        f" assert decide(Path.cwd()).cached; print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=decided, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_evidence_of_another_checkout_does_not_fail(
    undecided: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decision whose evidence has other keys is found, and the ledger's sentence tells it."""

    def with_other_keys(decision: Decision) -> str:
        gates = [
            {"name": gate["name"], "said": gate["summary"]} for gate in decision.evidence["gates"]
        ]
        return to_json(replace(decision, evidence={**decision.evidence, "gates": gates}))

    to_json = Decision.to_json
    for outcome in ("promote", "reject"):
        monkeypatch.setattr(Decision, "to_json", with_other_keys)
        first = decide.decide(undecided)
        monkeypatch.setattr(Decision, "to_json", to_json)
        second = decide.decide(undecided)
        assert (first.outcome, first.cached) == (outcome, False)
        assert (second.outcome, second.cached, second.evidence) == (outcome, True, {})
        assert second.report.startswith(f"**{first.sentence}**")
        assert second.reviewed
        if outcome == "promote":
            assert second.sentence.startswith("Version 1 is the champion")
        else:
            assert second.sentence == first.sentence
        change_signature(undecided)
