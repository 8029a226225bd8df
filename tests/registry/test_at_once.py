"""Twenty simultaneous promotions by real processes on two machines: nothing lost or doubled.

Two machines are simulated by two state folders, each with its own lock. They share only the
registry: one SQLite file, or one PostgreSQL server.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import postgres
import pytest

from refit.core import files
from refit.promotion import history
from refit.registry.entry import Entry
from refit.registry.registry import Registry
from refit.tracking.client import connect
from refit.workspace import servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
DECIDE, ENTER = (Path(__file__).with_name(name) for name in ("decide.py", "enter.py"))
MANY = 20
LEFT_OUT = shutil.ignore_patterns(".refit", ".venv", "cache", "__pycache__", "tmp")


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The address of an empty registry, its artifacts in a folder that both machines reach."""
    if request.param == "server":
        yield _mlflow(tmp_path, monkeypatch)
        servers.stop(tmp_path)
        return
    if request.param == "postgresql" and postgres.programs() is None:
        pytest.skip("no PostgreSQL here: install Debian's `postgresql`")
    with _address(request.param, tmp_path) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        client = connect(tmp_path)
        client.create_experiment("pumps", artifact_location=(tmp_path / "artifacts").as_uri())
        yield address


def _mlflow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An MLflow server of its own."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    connect(folder)
    address = servers.ensure(folder, "mlflow").url
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    return address


def _address(kind: str, folder: Path) -> AbstractContextManager[str]:
    return postgres.server() if kind == "postgresql" else nullcontext(f"sqlite:///{folder}/all.db")


def candidates(source: Path, folder: Path, notes: list[str]) -> list[Path]:
    """A copy of the project with another bundle for each note, on two machines in turn."""
    roots = []
    for number, note in enumerate(notes):
        root = folder / f"candidate-{number}"
        shutil.copytree(source, root, symlinks=True, ignore=LEFT_OUT)
        state = folder / f"machine-{number % 2}"
        state.mkdir(exist_ok=True)
        (root / ".refit").symlink_to(state)
        signature = root / "data/bundle/signature.json"
        files.write_json(signature, files.read_json(signature) | {"note": note})
        roots.append(root)
    return roots


def decide_together(roots: list[Path]) -> list[tuple[int, int]]:
    """The version and the previous champion of each folder's decision."""
    command = [sys.executable, str(DECIDE), *map(str, roots)]
    process = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True, timeout=500)
    return [(int(line.split()[0]), int(line.split()[1])) for line in process.stdout.splitlines()]


def enter_together(commands: list[list[str]]) -> None:
    """Run the program with each list of arguments; all start to enter at the same time."""
    processes = [
        subprocess.Popen(
            [sys.executable, str(ENTER), *command],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for command in commands
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=500)
    assert [process.returncode for process in processes] == [0] * len(processes)


def entries(root: Path) -> list[Entry]:
    return [entry for _, entry in history.read(root).entries]


def test_twenty_simultaneous_promotions(
    projects: Callable[[str], Any], tmp_path: Path, registry: str
) -> None:
    """Each of twenty candidates becomes champion once, against the previous one; the last stays."""
    notes = [str(number) for number in range(MANY)]
    roots = candidates(projects("pumps").root, tmp_path, notes)
    decided = decide_together(roots)
    entered = entries(roots[0])
    assert [entry.kind for entry in entered] == ["promote"] * MANY
    assert sorted(entry.version or 0 for entry in entered) == sorted(
        version for version, _ in decided
    )
    assert len({entry.version for entry in entered}) == MANY
    assert [entry.before for entry in entered] == [None, *(entry.after for entry in entered[:-1])]
    assert {(entry.version, entry.before or 0) for entry in entered} == set(decided)
    shared = Registry.open(roots[0])
    assert shared.aliases.get("champion") == entered[-1].after
    assert history.verify(roots[1]) == []
    versions = shared.versions.all()
    assert len(versions) == MANY
    assert all(sum("refit.decision." in tag for tag in version.tags) == 1 for version in versions)


def test_one_candidate_on_several_machines_is_decided_once(
    projects: Callable[[str], Any], tmp_path: Path, registry: str
) -> None:
    """The same bundle, judged by four processes at the same time, is one version with one entry."""
    roots = candidates(projects("pumps").root, tmp_path, ["same"] * 4)
    decided = decide_together(roots)
    (entry,) = entries(roots[0])
    assert {version for version, _ in decided} == {entry.version}
    assert history.verify(roots[0]) == []
    assert [version.number for version in Registry.open(roots[0]).versions.all()] == [entry.version]


@pytest.mark.parametrize("registry", ["sqlite", "postgresql", "server"], indirect=True)
def test_the_ledger_alone_orders_writers(tmp_path: Path, registry: str) -> None:
    """Five processes write twenty entries without a lock: one chain, and the aliases follow it."""
    shared = Registry.open(tmp_path, "t")
    client = connect(tmp_path)
    client.create_registered_model("t")
    numbers = [str(client.create_model_version("t", "refit:/test").version) for _ in range(MANY)]
    enter_together([[str(tmp_path), *numbers[start::5]] for start in range(5)])
    ledger = shared.ledger.read()
    assert sorted(entry.version or 0 for _, entry in ledger.entries) == list(range(1, MANY + 1))
    assert len(list(shared.ledger.texts())) > MANY  # entries of lost races are skipped
    assert shared.aliases.get("champion") == ledger.champion
    assert ledger.all_damage(shared.versions.entry_tags()) == []
