"""The repository: each import contract catches a violation, and the documents match the code."""

import ast
import dataclasses
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from refit.cli import app
from refit.core import determinism, params
from refit.data.split import PreprocessParams
from refit.data.validation import ValidateParams
from refit.evaluation.report import EvaluateParams
from refit.models.baselines import BaselineParams
from refit.models.boosted import BoostedParams
from refit.models.final import TrainParams
from refit.models.network import NetworkParams
from refit.promotion.policy import PromoteParams
from refit.tasks.catalog import TASKS

ROOT = Path(__file__).resolve().parent.parent
SECTIONS = {
    "validate": ValidateParams,
    "preprocess": PreprocessParams,
    "baseline": BaselineParams,
    "train": TrainParams,
    "network": NetworkParams,
    "boosted": BoostedParams,
    "evaluate": EvaluateParams,
    "promote": PromoteParams,
}

VIOLATIONS = {
    "Higher rooms import lower ones, never the other way": (
        "src/refit/data/drift.py",
        "import refit.evaluation.bootstrap",
    ),
    "A gate knows nothing of the judgement that it is part of": (
        "src/refit/promotion/gates/calibration.py",
        "import refit.promotion.judge",
    ),
    "The review's text and pages only format what build collects": (
        "src/refit/review/pair.py",
        "import refit.review.publish",
    ),
    "The engine knows no dataset": ("src/refit/evaluation/bootstrap.py", "import flights.tables"),
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
"""An import that each contract of .importlinter forbids, by the contract's name."""


def test_every_contract_has_a_violation() -> None:
    """VIOLATIONS names exactly the contracts of .importlinter."""
    config = ConfigParser()
    config.read(ROOT / ".importlinter")
    contracts = [config[name]["name"] for name in config.sections() if ":contract:" in name]
    assert sorted(contracts) == sorted(VIOLATIONS)


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
    broken = re.findall(r"^(.+) BROKEN", done.stdout, re.MULTILINE)
    assert broken == [contract], done.stdout


TASK_NAME = rf"""["'](?:{"|".join(TASKS)})["']"""
TASK_CHECK = re.compile(
    rf"(?:==|!=) *{TASK_NAME}"
    rf"|{TASK_NAME} *(?:==|!=|:)"
    rf"|\bin *[({{\[][^)}}\]\n]*{TASK_NAME}"
    rf"|\bcase +{TASK_NAME}"
)
"""A comparison with a task's name, or a task's name as a key."""


def without_docstrings(path: Path) -> str:
    """A module's code as Python writes it, without comments and docstrings."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(value=None)
    return ast.unparse(tree)


@pytest.mark.parametrize(
    "code",
    [
        'task == "binary"',
        '"counts" != task',
        'task in {"binary", "multiclass"}',
        'task not in ("regression",)',
        '{"counts": 1}',
        'case "binary":',
    ],
)
def test_a_check_of_the_task_is_recognised(code: str) -> None:
    """Each way to branch on a task's name is one that the next test searches for."""
    assert TASK_CHECK.search(code)


def test_only_the_tasks_know_their_names() -> None:
    """No module outside refit.tasks branches on a task's name."""
    checks = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sorted((ROOT / "src/refit").rglob("*.py"))
        if not path.is_relative_to(ROOT / "src/refit/tasks")
        for line in without_docstrings(path).splitlines()
        if TASK_CHECK.search(line)
    ]
    assert checks == []


def test_every_parameter_is_read_and_documented() -> None:
    """params.yaml, the sections' classes and docs/params.md name the same parameters."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert values.keys() == {"dataset", "determinism", *SECTIONS}
    assert params.choice("determinism", determinism.LEVELS, ROOT / "params.yaml")
    text = (ROOT / "docs/params.md").read_text()
    for section, cls in SECTIONS.items():
        params.read(cls, section, ROOT / "params.yaml")
        for entry in dataclasses.fields(cls):
            row = re.search(rf"\| `{section}\.{entry.name}` \|.*\| (.*) \|", text)
            assert row, entry.name
            assert entry.metadata["minimum"] is None or row[1] == _values(entry), entry.name
    assert all(f"`{level}`" in text for level in determinism.LEVELS)


def _values(entry: dataclasses.Field[Any]) -> str:
    """The values of a number, as docs/params.md gives them."""
    low, high = (
        f"{int(bound):,}" if bound is not None and bound == int(bound) else str(bound)
        for bound in (entry.metadata["minimum"], entry.metadata["maximum"])
    )
    return f"{low} or more" if high == "None" else f"{low} to {high}"


def blocks(name: str) -> list[str]:
    """The commands of a document's shell blocks."""
    shell = re.findall(r"```sh\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in shell for line in block.splitlines()]
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
