"""A whole judgement on the results of a real pipeline: candidate and champion as ONNX bundles."""

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import numpy_helper

from refit.core import files, paths
from refit.core.errors import ConfigError
from refit.promotion import candidate as candidates
from refit.promotion import judge, policy, report
from refit.promotion.champion import Champion
from refit.promotion.gates.holdout import Reuse
from refit.promotion.judge import Judgement
from refit.serving import bundle

pytestmark = pytest.mark.slow

UNUSED = Reuse(decisions=0, candidates=0)
NOW = datetime.now(UTC)


@pytest.fixture
def root(projects: Callable[[str], Any], tmp_path: Path) -> Path:
    """A copy of the results of a project's pipeline."""
    shutil.copytree(projects("pumps").root / "data", tmp_path / "data")
    shutil.copy(projects("pumps").root / "params.yaml", tmp_path)
    return tmp_path


def champion(root: Path, factor: float = 1.0, trained_on: Iterable[str] = ()) -> Champion:
    """A champion that has the candidate's model, its logits multiplied."""
    folder = root / "champion"
    shutil.copytree(root / paths.BUNDLE, folder, dirs_exist_ok=True)
    model = onnx.load(folder / "model.onnx")
    head = next(node for node in reversed(model.graph.node) if node.op_type == "MatMul")
    for constant in model.graph.initializer:
        if constant.name == head.input[1]:
            array = numpy_helper.to_array(constant) * factor
            constant.CopyFrom(numpy_helper.from_array(array.astype("float32"), constant.name))
    files.write_bytes(folder / "model.onnx", model.SerializeToString())
    return Champion(
        number=7, bundle=bundle.load(folder), trained_on=frozenset(trained_on), since=NOW
    )


def judged(root: Path, rival: Champion | None, reuse: Reuse = UNUSED, **changed: Any) -> Judgement:
    """The judgement about the candidate; its evidence must be JSON that the report can show."""
    candidate = candidates.load(root)
    rules = replace(candidate.policy, latency_ratio=1000.0, **changed)
    judgement = judge.judge(replace(candidate, policy=rules), rival, reuse)
    evidence = json.loads(json.dumps(judgement.evidence(rules), allow_nan=False))
    assert report.readable(evidence)
    sentence = report.sentence(judgement.outcome, 8, evidence)
    text = report.markdown(sentence, evidence, candidate.metrics)
    assert text.startswith(f"**{sentence}**")
    assert all(gate.summary.replace("|", "/") in text for gate in judgement.gates)
    return judgement


def sentence(root: Path, judgement: Judgement) -> str:
    return report.sentence(judgement.outcome, 8, judgement.evidence(policy.read(root)))


def results(judgement: Judgement) -> dict[str, str]:
    assert len({gate.name for gate in judgement.gates}) == len(judgement.gates)
    return {gate.name: gate.result for gate in judgement.gates}


def groups(judgement: Judgement) -> set[str]:
    return {gate.group for gate in judgement.gates}


EVERY = {"improvement", "baseline", "calibration", "slice", "group", "holdout", "model", "budget"}


def test_a_clear_gain_is_promoted_and_no_gain_rejected(root: Path) -> None:
    """Against a champion that predicts the opposite the candidate passes, against itself it fails."""
    better = judged(root, champion(root, -1.0))
    assert groups(better) == EVERY
    assert set(results(better).values()) == {"pass"}
    assert better.outcome == "promote"
    equal = judged(root, champion(root), seed_deviation=0.0)
    assert equal.outcome == "reject"
    assert [name for name, result in results(equal).items() if result != "pass"] == ["improvement"]


def test_any_other_gate_keeps_a_clear_gain_from_promotion(root: Path) -> None:
    """Each lack of evidence or failure is named in the sentence."""
    weak = champion(root, -1.0)
    used_up = judged(root, weak, Reuse(decisions=20, candidates=20))
    assert used_up.outcome == "not proven"
    assert sentence(root, used_up).endswith("no proof of holdout reuse.")
    strict = judged(root, weak, calibration_limit=0.0001)
    assert strict.outcome == "reject"
    assert "failed calibration." in sentence(root, strict)


def test_rows_that_the_champion_has_trained_on_are_left_out(root: Path) -> None:
    """With one of two holdout partitions seen, the other is compared; with both seen, nothing is."""
    parts = sorted(files.read_parquet(root / paths.HOLDOUT)["partition"].unique())
    one = judged(root, champion(root, -1.0, ["0", parts[0]]))
    assert one.outcome == "promote"
    assert one.comparison.rows == 600
    assert (
        "version 7 has trained on 600 of 1,200 rows"
        in {g.name: g.summary for g in one.gates}["holdout unseen"]
    )
    both = judged(root, champion(root, -1.0, parts))
    assert both.outcome == "not proven"
    assert results(both)["improvement"] == "not enough evidence"


@pytest.mark.parametrize("rows", [0, 40])
def test_an_empty_or_tiny_holdout_proves_nothing(root: Path, rows: int) -> None:
    """The outcome is `not proven`, every gate is there, and nothing is divided by zero."""
    for path in (paths.HOLDOUT, paths.PREDICTIONS):
        files.write_parquet(files.read_parquet(root / path).head(rows), root / path)
    for rival in (None, champion(root, -1.0)):
        judgement = judged(root, rival)
        assert judgement.outcome == "not proven"
        assert groups(judgement) == EVERY
        assert results(judgement)["improvement"] == "not enough evidence"
        assert "fail" not in results(judgement).values()


def test_a_holdout_with_one_class(root: Path) -> None:
    """Where no pump ever fails, losses are still defined and every gate is there."""
    path = root / paths.PREDICTIONS
    files.write_parquet(files.read_parquet(path).with_columns(target=pl.lit(0.0)), path)
    judgement = judged(root, champion(root, -1.0))
    assert groups(judgement) == EVERY
    assert judgement.outcome in {"promote", "reject", "not proven"}


def test_a_champion_of_another_signature(root: Path) -> None:
    """A champion that reads a missing column cannot be compared, and the candidate is not promoted."""
    other = champion(root, -1.0)
    path = other.bundle.folder / "signature.json"
    signature = files.read_json(path)
    signature["inputs"][0]["name"] = "humidity"
    files.write_json(path, signature)
    judgement = judged(root, replace(other, bundle=bundle.load(other.bundle.folder)))
    assert judgement.outcome == "not proven"
    assert "column humidity is missing" in judgement.gates[0].summary
    assert "could not be compared with version 7" in sentence(root, judgement)


def test_a_champion_that_predicts_nan(root: Path) -> None:
    """NaN from the champion proves nothing; NaN from the candidate is a failure."""
    broken = champion(root, float("nan"))
    assert results(judged(root, broken))["improvement"] == "not enough evidence"
    shutil.copy(broken.bundle.folder / "model.onnx", root / paths.BUNDLE)
    judgement = judged(root, None)
    assert judgement.outcome == "reject"
    assert results(judgement)["predictions in range"] == "fail"
    assert results(judgement)["bundle equals training"] == "fail"


def test_a_metric_of_another_task_is_refused(root: Path) -> None:
    """A loss that the task does not have is an error that names the parameter and the losses."""
    with pytest.raises(ConfigError, match=r"promote\.metric.*log_loss"):
        judged(root, None, metric="absolute_error")


@pytest.mark.heavy
@pytest.mark.parametrize("dataset", ["parcels", "meters"])
def test_every_task_is_judged(projects: Callable[[str], Any], dataset: str) -> None:
    """The first version of a multiclass and of a regression project is promoted over linear."""
    judgement = judge.judge(candidates.load(projects(dataset).root), None, UNUSED)
    assert judgement.outcome == "promote"
    assert groups(judgement) == EVERY


@pytest.mark.heavy
def test_a_champion_that_knows_more_classes(projects: Callable[[str], Any]) -> None:
    """A class that only the champion knows is compared, and is no difference from training."""
    candidate = candidates.load(projects("parcels").root)
    signature = candidate.bundle.signature
    model = SimpleNamespace(
        folder=candidate.bundle.folder,
        signature={**signature, "classes": ["lost", *signature["classes"]]},
        predict=lambda rows: np.pad(candidate.bundle.predict(rows), ((0, 0), (1, 0))),
        is_release=False,
    )
    model.evaluated = model
    rival = Champion(number=7, bundle=cast("Any", model), trained_on=frozenset(), since=NOW)
    judgement = judge.judge(candidate, rival, UNUSED)
    assert judgement.comparison.difference == 0
    assert results(judgement)["bundle equals training"] == "pass"
    table = judgement.scored.table()
    assert table is not None
    assert table["scored.candidate_lost"].unique().to_list() == [0]
