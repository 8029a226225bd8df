"""The house itself: layers that are really held, dependencies that are true, docs that are right."""

import dataclasses
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from refit.cli import app
from refit.core import determinism, params
from refit.data.split import PreprocessParams
from refit.data.validation import ValidateParams
from refit.evaluation.report import EvaluateParams
from refit.models.baselines import BaselineParams
from refit.promotion.decide import PromoteParams
from refit.training.loop import TrainParams

ROOT = Path(__file__).resolve().parent.parent
SECTIONS = {
    "validate": ValidateParams,
    "preprocess": PreprocessParams,
    "baseline": BaselineParams,
    "train": TrainParams,
    "evaluate": EvaluateParams,
    "promote": PromoteParams,
}

VIOLATIONS = {
    "Higher rooms import lower ones": ("src/refit/core/errors.py", "import refit.cli.app"),
    "A gate knows nothing of the judgement": (
        "src/refit/promotion/gates/calibration.py",
        "import refit.promotion.judge",
    ),
    "The review's text and pages only format": (
        "src/refit/review/pair.py",
        "import refit.review.publish",
    ),
    "The engine knows no dataset": ("src/refit/evaluation/metrics.py", "import flights.tables"),
    "MLflow is imported by its client's own modules alone": (
        "src/refit/training/loop.py",
        "import mlflow",
    ),
    "DVC is imported by pipeline alone": ("src/refit/workflow/status.py", "import dvc.repo"),
    "Prefect is imported by flows alone": ("src/refit/workflow/steps.py", "import prefect"),
    "Only the command line starts flows": ("src/refit/workflow/run.py", "import flows.start"),
    "A dataset uses the engine's vocabulary only": (
        "src/flights/examples.py",
        "import refit.pipeline.dvc",
    ),
}


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_each_contract_catches_its_violation(tmp_path: Path, contract: str) -> None:
    """An injected import breaks exactly the contract that forbids it."""
    for folder in ("src/refit", "src/flights", "flows"):
        target = tmp_path / folder.removeprefix("src/")
        shutil.copytree(ROOT / folder, target, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    path, line = VIOLATIONS[contract]
    with (tmp_path / path.removeprefix("src/")).open("a", encoding="utf-8") as handle:
        handle.write(f"\n{line}\n")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(rf"{re.escape(contract)}.* BROKEN", done.stdout), done.stdout


def test_every_parameter_is_read_and_documented() -> None:
    """params.yaml, the sections' classes and docs/params.md name the same parameters."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert values.keys() == {"dataset", "determinism", *SECTIONS}
    assert params.choice("determinism", determinism.LEVELS, ROOT / "params.yaml")
    text = (ROOT / "docs/params.md").read_text()
    for section, cls in SECTIONS.items():
        params.read(cls, section, ROOT / "params.yaml")
        for entry in dataclasses.fields(cls):
            assert f"| `{section}.{entry.name}` |" in text
    assert all(f"`{level}`" in text for level in determinism.LEVELS)


def blocks(name: str) -> list[str]:
    """The commands of a document's shell blocks."""
    found = re.findall(r"```sh\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in found for line in block.splitlines()]
    return [line for line in lines if line]


def test_every_command_of_the_readme_exists() -> None:
    """Each `make` target and each `refit` command and option that the README shows exists."""
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = get_command(app.app).commands  # type: ignore[attr-defined]
    shown = blocks("README.md")
    assert shown
    for line in shown:
        words = line.split()
        if words[0] == "make":
            assert words[1] in targets, line
        elif words[0] == ".venv/bin/refit":
            options = {o for p in commands[words[1]].params for o in (*p.opts, *p.secondary_opts)}
            assert {w for w in words[2:] if w.startswith("-")} <= options, line
        else:
            assert words[0] in {"git", "cd", ".venv/bin/dvc", ".venv/bin/prefect"}, line


def test_every_link_of_the_docs_leads_somewhere() -> None:
    """Relative links of every document point to files that are there."""
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_nothing_writes_or_reads_pickle() -> None:
    """No module of the engine, the dataset or the flows uses a library that runs code at load."""
    forbidden = re.compile(
        r"\b(import (pickle|joblib|cloudpickle|dill)|torch\.(load|save)\(|allow_pickle=True)"
    )
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "flows").glob("*.py")]:
        assert not forbidden.search(path.read_text()), path


def test_pins_carry_no_address() -> None:
    """constraints.txt pins every package by version alone, torch without a build's label."""
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._]+", line) for line in lines)
    assert "torch==2.13.0" in lines
