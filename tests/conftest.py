"""Small real projects: a Git and DVC repository with Refit's own source and a tiny dataset."""

import compileall
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import HealthCheck, settings

from refit.core import files, paths
from refit.pipeline import stage_deps
from refit.workspace.lock import only_one

ROOT = Path(__file__).resolve().parent.parent
DATASETS = Path(__file__).resolve().parent / "datasets"
sys.path.insert(0, str(DATASETS))

# No generated test may fail because the machine is slow or busy.
settings.register_profile("any-speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-speed")


LONGEST = (
    "test_bad_places.py",
    "test_kills.py",
    "test_approval.py",
    "test_reproduce.py",
    "test_people.py",
    "test_at_once.py",
    "test_flows.py",
    "test_cli.py",
    "test_promote.py",
    "test_registry.py",
    "test_build.py",
    "test_doors.py",
    "test_retrain.py",
    "test_datasets.py",
)
"""Files that begin first, so that none of them is left alone at the end."""


HEAVY = {
    "test_bad_places.py": "full disks and folders that cannot be written",
    "test_kills.py": "kills at random moments, through both doors",
    "test_kill.py": "kills at named moments of a run",
    "test_resume.py": "kills and signals during a training",
    "test_user_model.py": "a user's model: both doors, a kill, a reproduction",
    "test_at_once.py": "twenty deciders at the same time, on PostgreSQL too",
    "test_approval.py": "runs of a real worker that wait for a person",
    "test_flows.py": "whole flows on a Prefect server, and the deployment through a real worker",
    "test_processors.py": "emulated processors, and trainings on 1, 2 and 4 threads",
}
"""Files that only `make test-all` runs, and what they do; single tests have the mark themselves."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, and mark the heavy ones."""
    items.sort(key=lambda item: (*LONGEST, item.path.name).index(item.path.name))
    for item in items:
        if item.path.name in HEAVY:
            item.add_marker(pytest.mark.heavy)


EMPTY_REGISTRY = paths.STATE / "empty.db"
"""MLflow's database without rows. MLflow takes seconds to make one, so copies begin with this."""
MAKE_REGISTRY = """\
import sys
from pathlib import Path
from refit.tracking.client import connect
connect(Path(sys.argv[1]))
"""


@dataclass(frozen=True)
class Project:
    """A project in a folder of its own."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "MLFLOW"))}
        return {
            **kept,
            "PYTHONPATH": f"{self.root / 'src'}:{self.root}",
            "DVC_NO_ANALYTICS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def call(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program of the virtual environment in the project."""
        program = str(self.root / ".venv/bin" / command[0])
        return subprocess.run(
            [program, *command[1:]],
            cwd=self.root,
            env=self.environment,
            text=True,
            capture_output=True,
            check=check,
            timeout=600,
        )

    def copy(self, root: Path) -> "Project":
        """The project in another folder, with what its stages have made, its registry empty."""
        shutil.copytree(self.root, root, symlinks=True, ignore=shutil.ignore_patterns(".refit"))
        if (self.root / EMPTY_REGISTRY).exists():
            (root / paths.STATE).mkdir()
            shutil.copy(self.root / EMPTY_REGISTRY, root / paths.MLFLOW)
        return Project(root)

    def copy_with_registry(self, root: Path) -> "Project":
        """The project and its registry in another folder."""
        shutil.copytree(self.root, root, symlinks=True)
        move_registry(self.root, root)
        forget_artifacts()
        return Project(root)

    def picture(self) -> dict[str, str]:
        """Every file but caches of compiled code and DVC's own notes, with its digest."""
        left_out = {"__pycache__", ".venv", "tmp"}
        found = (
            p for p in self.root.rglob("*") if not left_out & {*p.relative_to(self.root).parts}
        )
        return {str(p): files.digest(p) for p in found if p.is_file()}

    def change(self, section: str, **values: object) -> None:
        """Set parameters."""
        path = self.root / "params.yaml"
        params = yaml.safe_load(path.read_text())
        params[section] |= values
        path.write_text(yaml.safe_dump(params, sort_keys=False))


def move_registry(before: Path, after: Path) -> None:
    """Let the copied registry name the artifacts of the copy: MLflow stores absolute addresses."""
    with closing(sqlite3.connect(after / paths.MLFLOW)) as database, database:
        tables = database.execute("select name from sqlite_master where type = 'table'")
        for (table,) in tables.fetchall():
            for _, column, kind, *_ in database.execute(f"pragma table_info({table})").fetchall():
                if "CHAR" in kind or "TEXT" in kind:
                    database.execute(
                        f'update {table} set "{column}" = replace("{column}", ?, ?)',
                        (str(before), str(after)),
                    )


def forget_artifacts() -> None:
    """MLflow remembers where the artifacts of a run are, and a copied run has the same name."""
    service = sys.modules.get("mlflow.tracking._tracking_service.utils")
    if service is not None:
        service._artifact_repos_cache.clear()


@pytest.fixture(autouse=True)
def _forgotten_artifacts() -> None:
    """What one test made MLflow remember is not taken for another project's."""
    forget_artifacts()


def write_pumps(raw: Path) -> None:
    for part in range(5):
        rng = np.random.default_rng(part)
        rows = 600
        pressure, heat = rng.normal(0, 1, rows), rng.normal(0, 1, rows)
        fails = (np.abs(pressure) + 0.3 * heat + rng.normal(0, 0.3, rows)) > 1.1
        frame = pl.DataFrame(
            {
                "cycle": np.arange(rows) + part * rows,
                "pressure": pressure,
                "heat": pl.Series(heat).set(pl.Series(rng.random(rows) < 0.1), None),
                "maker": pl.Series(rng.choice(["a", "b", "c"], rows)),
                "fails": pl.Series(fails).cast(pl.Int8),
            }
        )
        files.write_parquet(frame, raw / "readings" / f"part-{part}.parquet")


def write_meters(raw: Path) -> None:
    start = datetime(2024, 3, 1, tzinfo=UTC)
    for day in range(15):
        rng = np.random.default_rng(day)
        hours = np.repeat(np.arange(24), 10)
        warmth = rng.normal(10, 4, 240)
        use = 50 + 20 * np.sin(hours / 24 * 6.283) + (warmth - 10) ** 2 / 4 + rng.normal(0, 1, 240)
        frame = pl.DataFrame(
            {
                "meter": np.tile(np.arange(10), 24),
                "at": [start + timedelta(days=day, hours=int(h)) for h in hours],
                "hour": hours,
                "warmth": warmth,
                "use": use,
            },
            schema_overrides={"at": pl.Datetime("us", "UTC")},
        )
        files.write_parquet(
            frame, raw / "meters" / f"{start + timedelta(days=day):%Y-%m-%d}.parquet"
        )


def write_calls(raw: Path) -> None:
    """Counts that depend on the hour, the centre and, not monotonically, on the warmth."""
    start = datetime(2024, 3, 1, tzinfo=UTC)
    level = {"north": 0.6, "south": 1.4, "west": 0.0}
    for week in range(8):
        rng = np.random.default_rng(week)
        hours = np.repeat(np.arange(24 * 7), len(level))
        centres = np.tile(list(level), 24 * 7)
        warmth = rng.normal(10, 5, len(hours))
        rate = np.exp(
            np.array([level[name] for name in centres])
            + 0.8 * np.sin(hours % 24 / 24 * 6.283)
            + np.abs(warmth - 10) / 8
        )
        first = start + timedelta(weeks=week)
        frame = pl.DataFrame(
            {
                "centre": centres,
                "at": [first + timedelta(hours=int(h)) for h in hours],
                "hour": hours % 24,
                "warmth": pl.Series(warmth).set(pl.Series(rng.random(len(hours)) < 0.05), None),
                "calls": rng.poisson(rate),
            },
            schema_overrides={"at": pl.Datetime("us", "UTC")},
        )
        files.write_parquet(frame, raw / "calls" / f"{first:%Y-%m-%d}.parquet")


SMALL = {
    "preprocess": {"min_count": 5, "quantiles": 51},
    "baseline": {"boosting_rounds": 20},
    "network": {"batch_size": 64, "epochs": 3, "hidden_width": 64, "dropout": 0.0},
    "evaluate": {"resamples": 100, "smallest_slice": 50},
    # Their networks are trained for seconds, so boosting and calibration are no fair judges.
    "promote": {
        "resamples": 500,
        "smallest_slice": 50,
        "baselines": ["linear"],
        "calibration_limit": 0.5,
        "seed_deviation": 0.0,
    },
}
SPECIAL: dict[str, dict[str, dict[str, object]]] = {
    "pumps": {"evaluate": {"block": "20i"}},
    "parcels": {"evaluate": {"block": "1d"}, "preprocess": {"holdout_partitions": 2}},
    "meters": {
        "evaluate": {"block": "6h"},
        "preprocess": {"holdout_partitions": 4, "validation_partitions": 2},
        "promote": {"metric": "squared_error"},
    },
    "calls": {
        "evaluate": {"block": "1d"},
        "preprocess": {"holdout_partitions": 2, "validation_partitions": 1},
        "network": {"epochs": 20, "patience": 5, "learning_rate": 0.005},
        "promote": {"metric": "poisson_deviance"},
    },
}


def make_project(root: Path, dataset: str) -> Project:
    """A repository with the engine's source, the dataset, its raw rows and small parameters."""
    project = Project(root)
    shutil.copytree(ROOT / "src/refit", root / "src/refit", ignore=shutil.ignore_patterns("__pyc*"))
    shutil.copytree(DATASETS / dataset, root / "src" / dataset)
    shutil.copytree(ROOT / "flows", root / "flows", ignore=shutil.ignore_patterns("__pyc*"))
    compileall.compile_dir(root, quiet=1)  # once, and not by the first process of every copy
    for name in ("dvc.yaml", "params.yaml", "constraints.txt", "prefect.yaml"):
        shutil.copy(ROOT / name, root / name)
    params = yaml.safe_load((root / "params.yaml").read_text()) | {"dataset": dataset}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for section, values in SMALL.items():
        project.change(section, **values)
    for section, values in SPECIAL.get(dataset, {}).items():
        project.change(section, **values)
    (root / ".venv").symlink_to(sys.prefix)
    shutil.copy(ROOT / ".gitignore", root / ".gitignore")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    project.call("dvc", "init", "-q")
    shutil.copy(ROOT / ".dvcignore", root / ".dvcignore")  # compiled copies are no dependency
    stage_deps.fix(root)
    writers: dict[str, Callable[[Path], None]] = {
        "pumps": write_pumps,
        "meters": write_meters,
        "calls": write_calls,
    }
    if dataset in writers:
        writers[dataset](root / "data/raw")
        project.call("dvc", "add", "-q", "data/raw")
    return project


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all of pytest's processes have in common."""
    own = tmp_path_factory.getbasetemp()
    return (own if worker_id == "master" else own.parent) / "common"


def make_once(folder: Path, make: Callable[[Path], object]) -> Project:
    """The project that the first of pytest's processes to want it makes in the folder."""
    made = folder.with_suffix(".made")
    with only_one(folder.with_suffix(".lock"), wait=3600):
        if not made.exists():
            make(folder)
            made.touch()
    return Project(folder)


def _make_registry(root: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")}
    subprocess.run([sys.executable, "-c", MAKE_REGISTRY, str(root)], check=True, env=environment)


@pytest.fixture(scope="session")
def once(common: Path) -> Callable[[str, Callable[[Path], object]], Project]:
    """Projects by name, each made by the first of pytest's processes to want it."""
    return lambda name, make: make_once(common / name, make)


@pytest.fixture(scope="session")
def new_project(common: Path) -> Callable[[Path, str], Project]:
    """Makes a fresh project in a folder, of a dataset, nothing run yet."""

    def new(root: Path, dataset: str) -> Project:
        return make_once(common / f"new-{dataset}", lambda at: make_project(at, dataset)).copy(root)

    return new


@pytest.fixture
def pumps(tmp_path: Path, new_project: Callable[[Path, str], Project]) -> Project:
    """A fresh project of the dataset `pumps`, nothing run yet."""
    return new_project(tmp_path / "pumps", "pumps")


@pytest.fixture
def parcels(tmp_path: Path, new_project: Callable[[Path, str], Project]) -> Project:
    """A fresh project of the dataset `parcels`, nothing ingested yet."""
    return new_project(tmp_path / "parcels", "parcels")


Shared = dict[str, tuple[Project, dict[str, str]]]
"""Projects by dataset, and the files of each as it was made."""


@pytest.fixture(scope="session")
def shared() -> Shared:
    """The projects that tests share; empty until one is asked for."""
    return {}


@pytest.fixture(scope="session")
def projects(
    common: Path,
    new_project: Callable[[Path, str], Project],
    shared: Shared,
) -> Callable[[str], Project]:
    """Projects by dataset, made once and run once through `dvc repro`; work in a copy of them."""

    def make(root: Path, dataset: str) -> None:
        project = new_project(root, dataset)
        if dataset == "parcels":
            project.call("refit", "ingest")
        project.call("dvc", "repro")
        made = make_once(common / "registry", _make_registry)
        shutil.copy(made.root / paths.MLFLOW, root / EMPTY_REGISTRY)

    def get(dataset: str) -> Project:
        if dataset not in shared:
            project = make_once(common / dataset, lambda root: make(root, dataset))
            shared[dataset] = project, project.picture()
        return shared[dataset][0]

    return get


@pytest.fixture(autouse=True)
def _shared_projects_stay_as_they_are(
    request: pytest.FixtureRequest, shared: Shared
) -> Iterator[None]:
    """What one test leaves in a shared project, another would find, or not, by their order."""
    yield
    if "projects" in request.fixturenames:
        for dataset, (project, before) in shared.items():
            differing = sorted({name for name, _ in before.items() ^ project.picture().items()})
            assert not differing, f"the test changed the shared {dataset}: {differing[:5]}"
