"""The figures of the README, measured: `make bench` (about four minutes on two cores).

The commands run in a clone in a temporary folder, with this checkout's virtual environment. Times
include the start of the process. Where nothing changed, the commands alternate for nine rounds, and
the medians are shown. LightGBM is fitted on the same rows and columns as the network.
"""

import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from refit.core.processor import cpuinfo

ROOT = Path(__file__).resolve().parent.parent
RUNS = 9
UNTIL = "2013-10"
LINE = re.compile(r"^(Cached|Restored|Completed)\s+(\w+)\s+([\d.]+) s")


def main() -> None:
    """Measure everything and print the tables."""
    print(f"Machine: {machine()}\n")
    with clone() as project:
        first_run(project)
        nothing_changed(project)
        changes(project)
        subprocess.run(
            [sys.executable, str(ROOT / "benchmarks/one_thread.py")], cwd=project, check=True
        )
        models(project)


def machine() -> str:
    """Processor, cores, memory and Python."""
    cpu = cpuinfo().get("model name", platform.processor())
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cpu}, {os.cpu_count()} cores, {gib:.0f} GiB, Python {platform.python_version()}"


@contextmanager
def clone() -> Iterator[Path]:
    """The last commit in a temporary folder; its servers are stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="refit-bench-") as folder:
        project = Path(folder) / "refit"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(project)], check=True)
        (project / ".venv").symlink_to(ROOT / ".venv")
        try:
            yield project
        finally:
            call(project, "refit", "down")


def call(project: Path, *command: str) -> tuple[float, str]:
    """Seconds and output of a command of the virtual environment."""
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "PREFECT"))},
        "PYTHONPATH": f"{project / 'src'}:{project}",
        "DVC_NO_ANALYTICS": "1",
    }
    started = time.perf_counter()
    done = subprocess.run(
        [str(ROOT / ".venv/bin" / command[0]), *command[1:]],
        cwd=project,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - started, done.stdout


def states(output: str) -> list[tuple[str, str, str]]:
    """(step, state, seconds) of each line of `refit run`."""
    matches = filter(None, map(LINE.match, output.splitlines()))
    return [(match[2], match[1], match[3]) for match in matches]


def first_run(project: Path) -> None:
    """From an empty clone to a champion."""
    ingest, _ = call(project, "refit", "ingest", "--until", UNTIL)
    total, output = call(project, "refit", "run")
    print("| First run | Seconds |\n| --- | ---: |")
    print(f"| ingest ten months | {ingest:.1f} |")
    for step, _, seconds in states(output):
        print(f"| {step} | {seconds} |")
    print(f"| `refit run` in all, Prefect server started | {total:.1f} |\n")
    unchanged = subprocess.run(
        ["git", "diff", "--quiet", "dvc.lock", "data/raw.dvc"], cwd=project, check=False
    )
    print(f"dvc.lock after the run: {'changed' if unchanged.returncode else 'as committed'}\n")


def nothing_changed(project: Path) -> None:
    """Both doors with nothing to do, against DVC with equally many trivial stages."""
    bare = bare_repository(project.parent / "bare")
    rounds = [
        (call(project, "refit", "run"), call(project, "dvc", "repro"), call(bare, "dvc", "repro"))
        for _ in range(RUNS)
    ]
    print("| Nothing changed | Seconds | Against bare DVC, in turn |\n| --- | ---: | ---: |")
    names = ("`refit run`", "`dvc repro`", "`dvc repro`, five trivial stages")
    for number, name in enumerate(names):
        seconds = statistics.median(r[number][0] for r in rounds)
        ratio = statistics.median(r[number][0] / r[2][0] for r in rounds)
        print(f"| {name} | {seconds:.2f} | {ratio:.2f}x |")
    for command in ("status", "doctor"):
        seconds = statistics.median(call(project, "refit", command)[0] for _ in range(3))
        print(f"| `refit {command}` | {seconds:.2f} | |")
    print()


def bare_repository(root: Path) -> Path:
    """A repository of five stages that copy a file."""
    root.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    call(root, "dvc", "init", "-q")
    (root / "file0").write_text("x\n", encoding="utf-8")
    stages = "".join(
        f"  s{n}:\n    cmd: cp file{n} file{n + 1}\n    deps: [file{n}]\n    outs: [file{n + 1}]\n"
        for n in range(5)
    )
    (root / "dvc.yaml").write_text(f"stages:\n{stages}", encoding="utf-8")
    call(root, "dvc", "repro")
    return root


def changes(project: Path) -> None:
    """What one change costs, through `refit run` with the server up."""
    print("| One change, then `refit run` | Seconds | Stages that ran |\n| --- | ---: | --- |")
    path = project / "params.yaml"
    original = path.read_text(encoding="utf-8")
    for name, old, new in (
        ("evaluate.resamples", "resamples: 1000", "resamples: 1200"),
        ("network.dropout", "dropout: 0.1", "dropout: 0.15"),
    ):
        path.write_text(original.replace(old, new), encoding="utf-8")
        print_change(name, *call(project, "refit", "run"))
        path.write_text(original, encoding="utf-8")
        print_change(f"{name} restored", *call(project, "refit", "run"))
    print_change("one month added", *call(project, "refit", "run", "--until", "next"))
    shutil.rmtree(project / "data/raw")
    call(project, "refit", "ingest", "--until", UNTIL)
    call(project, "refit", "run")
    print()


def print_change(name: str, seconds: float, output: str) -> None:
    """A row of the table of changes."""
    ran = [f"{step} ({state})" for step, state, _ in states(output) if state != "Cached"]
    print(f"| {name} | {seconds:.1f} | {', '.join(ran) or 'none'} |", flush=True)


def models(project: Path) -> None:
    """Network and LightGBM in separate processes, on the same rows and columns."""
    print("| Model | Fit, seconds | Train rows a second | Holdout ROC AUC | Holdout log loss |")
    print("| --- | ---: | ---: | ---: | ---: |", flush=True)
    for name in ("network", "lightgbm"):
        command = [sys.executable, str(ROOT / "benchmarks/fit.py"), name]
        subprocess.run(command, cwd=project, check=True)


if __name__ == "__main__":
    main()
