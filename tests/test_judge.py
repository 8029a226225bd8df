"""A whole judgement on a real pipeline's results: candidate and champion as ONNX bundles."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import polars as pl
import pytest
from onnx import numpy_helper

from refit.core import files, paths
from refit.core.errors import ConfigError
from refit.promotion import judge, policy, report
from refit.promotion.judge import Judgement, Reuse
from refit.promotion.scoring import Champion

pytestmark = pytest.mark.slow

NEVER = Reuse(decisions=0, candidates=0)
ELSEWHERE = {"partitions": {"train": ["part-x"], "validation": ["part-y"], "holdout": []}}


@pytest.fixture
def root(projects: Callable[[str], Any], tmp_path: Path) -> Path:
    """A copy of what a project's pipeline left."""
    shutil.copytree(projects("pumps").root / "data", tmp_path / "data")
    shutil.copy(projects("pumps").root / "params.yaml", tmp_path)
    return tmp_path


def champion(root: Path, factor: float = 1.0, lineage: dict[str, Any] = ELSEWHERE) -> Champion:
    """The candidate's own model, its logits multiplied."""
    folder = root / "champion"
    shutil.copytree(root / paths.BUNDLE, folder, dirs_exist_ok=True)
    model = onnx.load(folder / "model.onnx")
    head = next(node for node in reversed(model.graph.node) if node.op_type == "Gemm")
    for constant in model.graph.initializer:
        if constant.name == head.input[1]:
            array = numpy_helper.to_array(constant) * factor
            constant.CopyFrom(numpy_helper.from_array(array.astype("float32"), constant.name))
    files.write_bytes(folder / "model.onnx", model.SerializeToString())
    return Champion(number=7, bundle=folder, lineage=lineage, since=None)


def judged(
    root: Path, reigning: Champion | None, reuse: Reuse = NEVER, **changed: Any
) -> Judgement:
    law = replace(policy.read(root), latency_ratio=1000.0, **changed)
    found = judge.judge(root, law, reigning, reuse)
    evidence = found.evidence(law)
    assert json.loads(json.dumps(evidence, allow_nan=False))["rival"] == found.rival
    measured = files.read_json(root / paths.EVALUATION / "metrics.json")
    said = report.sentence(found.outcome, 8, evidence)
    assert all(
        gate.said.replace("|", "/") in report.markdown(said, evidence, measured)
        for gate in found.gates
    )
    earlier = {name: value for name, value in evidence.items() if name != "gates"}
    assert report.markdown(said, earlier, measured).startswith(f"**{said}**")
    return found


def of(found: Judgement) -> dict[str, str]:
    assert len({gate.name for gate in found.gates}) == len(found.gates)
    return {gate.name: gate.result for gate in found.gates}


def groups_of(found: Judgement) -> set[str]:
    return {gate.group for gate in found.gates}


EVERY = {"improvement", "baseline", "calibration", "slice", "group", "holdout", "model", "budget"}


def test_a_clear_gain_is_promoted_and_no_gain_rejected(root: Path) -> None:
    """Against a champion that says the opposite the candidate wins, against itself it does not."""
    won = judged(root, champion(root, -1.0))
    assert groups_of(won) == EVERY
    assert set(of(won).values()) == {"pass"}
    assert won.outcome == "promote"
    same = judged(root, champion(root), seed_deviation=0.0)
    assert same.outcome == "reject"
    assert [name for name, result in of(same).items() if result != "pass"] == ["improvement"]


def test_a_clear_gain_is_held_up_by_any_other_gate(root: Path) -> None:
    """Each lack of evidence or failure is named in the sentence."""
    weak = champion(root, -1.0)
    used = judged(root, weak, Reuse(decisions=20, candidates=20))
    assert used.outcome == "not proven"
    law = policy.read(root)
    assert report.sentence(used.outcome, 8, used.evidence(law)).endswith(
        "no proof of holdout reuse."
    )
    strict = judged(root, weak, calibration_limit=0.0001)
    assert strict.outcome == "reject"
    assert "failed calibration." in report.sentence(strict.outcome, 8, strict.evidence(law))


def test_rows_that_the_champion_has_trained_on_are_left_out(root: Path) -> None:
    """Of two holdout partitions one was seen: compared on the other; of both, on nothing."""
    parts = sorted(files.read_parquet(root / paths.HOLDOUT)["partition"].unique())
    one = judged(root, champion(root, -1.0, {"partitions": {"train": ["0", parts[0]]}}))
    assert one.outcome == "promote"
    assert one.comparison.rows == 600
    assert (
        "version 7 has trained on 600 of 1,200 rows"
        in {g.name: g.said for g in one.gates}["holdout unseen"]
    )
    both = judged(root, champion(root, -1.0, {"partitions": {"validation": parts}}))
    assert both.outcome == "not proven"
    assert of(both)["improvement"] == "not enough evidence"
    nobody_knows = judged(root, champion(root, -1.0, {}))
    assert nobody_knows.outcome == "not proven"
    assert of(nobody_knows)["holdout unseen"] == "not enough evidence"


@pytest.mark.parametrize("rows", [0, 40])
def test_an_empty_or_tiny_holdout_proves_nothing(root: Path, rows: int) -> None:
    """The outcome is clear, every gate is there, and nothing is divided by nothing."""
    for path in (paths.HOLDOUT, paths.PREDICTIONS):
        files.write_parquet(files.read_parquet(root / path).head(rows), root / path)
    for reigning in (None, champion(root, -1.0)):
        found = judged(root, reigning)
        assert found.outcome == "not proven"
        assert groups_of(found) == EVERY
        assert of(found)["improvement"] == "not enough evidence"
        assert "fail" not in of(found).values()


def test_one_class_alone_in_the_holdout(root: Path) -> None:
    """Where nothing ever fails, losses are still defined and the judgement stands."""
    path = root / paths.PREDICTIONS
    files.write_parquet(files.read_parquet(path).with_columns(target=pl.lit(0.0)), path)
    found = judged(root, champion(root, -1.0))
    assert groups_of(found) == EVERY
    assert found.outcome in {"promote", "reject", "not proven"}


def test_a_champion_of_another_signature(root: Path) -> None:
    """A champion that reads a column that is gone cannot be compared: said, and never promoted."""
    other = champion(root, -1.0)
    path = other.bundle / "signature.json"
    signature = files.read_json(path)
    signature["inputs"][0]["name"] = "humidity"
    files.write_json(path, signature)
    found = judged(root, other)
    assert found.outcome == "not proven"
    assert "column humidity is missing" in found.gates[0].said
    assert "could not be compared with version 7" in report.sentence(
        "not proven", 8, found.evidence(policy.read(root))
    )


def test_a_champion_that_predicts_no_numbers(root: Path) -> None:
    """NaN on the champion's side is no victory; on the candidate's side it is a failure."""
    broken = champion(root, float("nan"))
    assert of(judged(root, broken))["improvement"] == "not enough evidence"
    shutil.copy(broken.bundle / "model.onnx", root / paths.BUNDLE)
    found = judged(root, None)
    assert found.outcome == "reject"
    assert of(found)["predictions in range"] == "fail"
    assert of(found)["bundle equals training"] == "fail"


def test_a_metric_of_another_task_is_refused(root: Path) -> None:
    """A loss that the task does not have is an error that names the line and a loss that fits."""
    with pytest.raises(ConfigError, match=r"promote\.metric.*such as log_loss"):
        judged(root, None, metric="absolute_error")


@pytest.mark.parametrize("dataset", ["parcels", "meters"])
def test_every_task_is_judged(projects: Callable[[str], Any], dataset: str) -> None:
    """The first version of a multiclass and of a regression project is promoted over linear."""
    root = projects(dataset).root
    found = judge.judge(root, policy.read(root), None, NEVER)
    assert found.outcome == "promote"
    assert groups_of(found) == EVERY
