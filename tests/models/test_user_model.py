"""A user's own model, a small FT-Transformer, through both doors, a kill, and a reproduction."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from refit.core import files, paths
from refit.registry.registry import Registry

pytestmark = pytest.mark.slow

LOOP = ("patience", "batch_size", "warmup_share", "weight_decay", "clip_norm")


def choose(project: Any, **changes: object) -> None:
    """Set `train.model` to the file ft_transformer of the dataset, and its section."""
    path = project.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["train"]["model"] = "ft_transformer"
    section = {name: params["network"][name] for name in LOOP}
    section |= {"epochs": 2, "learning_rate": 0.005}
    section |= {"width": 16, "heads": 2, "blocks": 1, "dropout": 0.1}
    params["ft_transformer"] = section | changes
    path.write_text(yaml.safe_dump(params, sort_keys=False))


@pytest.fixture
def project(projects: Callable[[str], Any], tmp_path: Path) -> Any:
    """A project whose network has been trained, told to train the FT-Transformer instead."""
    copied = projects("pumps").copy(tmp_path / "pumps")
    choose(copied)
    return copied


def test_a_missing_dependency_is_named(project: Any) -> None:
    """Until dvc.yaml names the model's file, a change of it would not be seen: nothing is run."""
    done = project.call("dvc", "repro", "train", check=False)
    assert done.returncode
    assert "does not depend on the model's file" in done.stderr
    assert "refit deps --fix" in done.stderr


def test_both_doors_and_a_reproduction(project: Any) -> None:
    """Trained through one door, cached behind the other, promoted, and built again byte by byte."""
    project.call("refit", "deps", "--fix")
    subprocess.run(["git", "add", "-A"], cwd=project.root, check=True)
    out = project.call("dvc", "repro").stdout
    assert "bundle equals the model on 1,200 rows" in out
    lock = (project.root / "dvc.lock").read_bytes()
    shown = project.call("refit", "run", "--no-server").stdout
    states = dict(reversed(line.split()[:2]) for line in shown.splitlines() if line[0] != " ")
    assert {states[stage] for stage in ("train", "evaluate")} == {"Cached"}
    assert (project.root / "dvc.lock").read_bytes() == lock
    models = files.read_json(project.root / paths.METRICS)["models"]
    assert models["ft_transformer"]["roc_auc"]["value"] > 0.7
    reproduced = project.call("refit", "reproduce", "1").stdout
    assert "the same bytes" in reproduced
    training = files.read_json(project.root / paths.TRAINING)
    assert training["determinism"]["asked"] == "any-x86"
    assert training["determinism"]["level"] == "threads"


def test_a_killed_training_resumes_to_the_same_bytes(project: Any) -> None:
    """Killed between checkpoints, the next run ends in the bytes of one that was not."""
    project.call("refit", "deps", "--fix")
    choose(project, batch_size=4, epochs=3, patience=3)
    code = project.root / "src/refit/training/loop.py"
    code.write_text(
        code.read_text().replace("CHECKPOINT_SECONDS = 30.0", "CHECKPOINT_SECONDS = 0.05")
    )
    undisturbed = train(project)
    assert "continuing" not in undisturbed
    expected = files.digest(project.root / paths.MODEL)
    shutil.rmtree(project.root / paths.MODEL)
    kill(project)
    assert "continuing from step" in train(project)
    assert files.digest(project.root / paths.MODEL) == expected


def train(project: Any) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "refit", "train"],
        cwd=project.root,
        env=project.environment,
        text=True,
        capture_output=True,
        check=True,
    )
    return done.stdout


def kill(project: Any) -> None:
    """Begin the stage, and kill -9 it after its first checkpoint."""
    process = subprocess.Popen(
        [sys.executable, "-m", "refit", "train"],
        cwd=project.root,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not [
        *(project.root / paths.CHECKPOINTS).glob("*/step-*.safetensors")
    ]:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL


def test_the_registry_knows_the_model(project: Any) -> None:
    """The version's lineage names the model, its parameters and the level that holds."""
    project.call("refit", "deps", "--fix")
    project.call("refit", "run", "--no-server")
    registry = Registry.open(project.root)
    version = registry.versions.get(1)
    lineage = registry.artifacts.lineage(version)
    assert lineage["model"]["name"] == "ft_transformer"
    assert lineage["model"]["settings"]["width"] == 16
    assert version.tags["refit.determinism"] == "threads"
