"""The command line: its help, and the one paragraph that answers a user's mistake."""

import os
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from refit.cli import app
from refit.core import files
from refit.core.errors import RefitError
from refit.workflow import doctor

RUNNER = CliRunner()
COMMANDS = {"ingest", "run", "promote", "up", "down", "status", "doctor", "deps"} | {
    "lineage",
    "reproduce",
    "push",
    "pull",
    "history",
    "approve",
    "reject",
    "rollback",
    "review",
    "compare",
    "seeds",
}


def test_every_command_and_option_is_explained() -> None:
    """Each command has a summary, and each of its options a help text."""
    group = typer.main.get_command(app.app)
    assert set(group.commands) == COMMANDS  # type: ignore[attr-defined]
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        shown = RUNNER.invoke(app.app, [name, "--help"])
        assert shown.exit_code == 0
        assert command.help
        assert all(option.help for option in command.params), name


def test_outside_a_project(tmp_path: Path) -> None:
    """Outside a project the program says so, with status 1 and no traceback."""
    done = subprocess.run(
        [str(Path(os.sys.executable).parent / "refit"), "status"],  # type: ignore[attr-defined]
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert "this is not a Refit project" in done.stderr
    assert "Traceback" not in done.stderr


def raw(project: Any, part: int = 4) -> Path:
    path: Path = project.root / f"data/raw/readings/part-{part}.parquet"
    return path


def rewrite(project: Any, part: int = 4, **columns: pl.Expr) -> None:
    path = raw(project, part)
    frame = files.read_parquet(path)
    files.write_parquet(frame.with_columns(**columns), path)


def drop(project: Any) -> None:
    files.write_parquet(files.read_parquet(raw(project)).drop("heat"), raw(project))


MISTAKES = {
    "missing column": (drop, "heat", "column_in_dataframe"),
    "wrong type": (lambda p: rewrite(p, heat=pl.lit("warm")), "heat", "dtype"),
    "empty table": (
        lambda p: files.write_parquet(files.read_parquet(raw(p)).clear(), raw(p)),
        "not_empty",
        "part-4",
    ),
    "too many bad rows": (lambda p: rewrite(p, pressure=pl.lit(99.0)), "in_range", "20.00%"),
    "single-class target": (
        lambda p: [rewrite(p, i, fails=pl.lit(0, pl.Int8)) for i in range(5)],
        "fails (always 0)",
        "fewer than two values",
    ),
    "constant column": (
        lambda p: [rewrite(p, i, heat=pl.lit(3.0)) for i in range(5)],
        "heat (always 3.0)",
        "at least two values",
    ),
    "all-null column": (
        lambda p: [rewrite(p, i, maker=pl.lit(None, pl.String)) for i in range(5)],
        "maker (all null)",
        "take the column out",
    ),
    "duplicate keys": (
        lambda p: rewrite(p, cycle=pl.lit(2400, pl.Int64)),
        "key is unique",
        "2400",
    ),
    "partitions out of order": (
        lambda p: raw(p).rename(raw(p).with_name("a-first.parquet")),
        "partitions follow each other in time",
        "begins 0",
    ),
    "unreadable file": (
        lambda p: raw(p).write_bytes(b"PAR1 cut short"),
        "part-4.parquet",
        "cannot be read as Parquet",
    ),
    "no partition": (
        lambda p: [path.unlink() for path in raw(p).parent.iterdir()],
        "table `readings` has no partition",
        "refit ingest",
    ),
    "misspelt parameter": (
        lambda p: p.change("preprocess", quantlies=7),
        "`preprocess.quantlies` is unknown (did you mean `quantiles`?)",
        "params.yaml",
    ),
    "bad split window": (
        lambda p: p.change("preprocess", holdout_partitions=4),
        "the split needs 6 partitions",
        "Got 5",
    ),
    "unknown dataset": (
        lambda p: (p.root / "params.yaml").write_text(
            (p.root / "params.yaml").read_text().replace("dataset: pumps", "dataset: pmups")
        ),
        "pmups",
        "name another dataset",
    ),
}


QUICK = {"missing column", "duplicate keys", "single-class target", "misspelt parameter"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "mistake",
    [m if m in QUICK else pytest.param(m, marks=pytest.mark.heavy) for m in MISTAKES],
)
def test_a_mistake_is_answered_in_a_paragraph(pumps: Any, mistake: str) -> None:
    """It says what, where and what to do; the status is not zero; no output is incomplete."""
    make, *phrases = MISTAKES[mistake]
    make(pumps)
    done = pumps.call("refit", "run", "--no-server", check=False)
    assert done.returncode == 1
    for phrase in phrases:
        assert phrase in done.stderr, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("refit: ")
    assert not (pumps.root / "data/prepared/encoder.json").exists()
    assert not (pumps.root / "data/model").exists()


@pytest.mark.parametrize(("missing", "name"), [(".git", "Git"), (".dvc", "DVC")])
def test_missing_repositories(pumps: Any, missing: str, name: str) -> None:
    """Without Git or DVC the program says so before anything runs."""
    (pumps.root / missing).rename(pumps.root / "away")
    done = pumps.call("refit", "run", check=False)
    assert done.returncode == 1
    assert f"there is no {name} repository" in done.stderr


@pytest.mark.slow
def test_an_unreachable_mlflow(projects: Any, tmp_path: Path) -> None:
    """Promotion without a server at the address ends in one paragraph that names it."""
    project = projects("pumps").copy(tmp_path / "pumps")
    environment = {**project.environment, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    done = subprocess.run(
        [str(project.root / ".venv/bin/refit"), "promote"],
        cwd=project.root,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 1
    assert "MLflow cannot be reached" in done.stderr
    assert "http://127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_status_shows_the_champion_and_what_would_run(projects: Any, tmp_path: Path) -> None:
    """It prints the champion, the partitions and, after a change, the stage that would run and why."""
    project = projects("pumps").copy(tmp_path / "pumps")
    project.call("refit", "promote")
    shown = project.call("refit", "status").stdout
    assert "champion   version 1" in shown
    assert "readings: 5 partitions, part-0 to part-4" in shown
    assert "up to date" in shown
    project.change("evaluate", resamples=120)
    assert "would run  evaluate: modified params.yaml" in project.call("refit", "status").stdout


def test_doctor_finds_what_is_wrong(pumps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong pin and a superfluous dependency are found, with the command that fixes them."""
    monkeypatch.chdir(pumps.root)
    assert {check.name for check in doctor.examine(pumps.root) if not check.ok} <= {
        "virtual environment"
    }
    (pumps.root / "constraints.txt").write_text("polars==0.1\nno-such-package==1\n")
    definition = (pumps.root / "dvc.yaml").read_text()
    surplus = definition.replace(
        "      - src/refit/data/drift.py\n", "      - src/refit/serving/bundle.py\n", 1
    )
    (pumps.root / "dvc.yaml").write_text(surplus)
    wrong = {check.name: check for check in doctor.examine(pumps.root) if not check.ok}
    assert "no-such-package is missing" in wrong["pinned packages"].detail
    assert "pinned ==0.1" in wrong["pinned packages"].detail
    assert "drift.py is imported but not named" in wrong["dvc.yaml"].detail
    assert "bundle.py is named under `deps` but not imported" in wrong["dvc.yaml"].detail
    assert "refit deps --fix" in wrong["dvc.yaml"].fix


def test_an_error_is_one_paragraph() -> None:
    """What, where, got, expected and how to fix it, each a sentence."""
    error = RefitError("is wrong", where="here", got="one", expected="two", do="change it")
    assert str(error) == "here: is wrong. Got one. Expected two. To fix it: change it."
    assert str(RefitError("Is wrong!")) == "Is wrong!"
