"""The root of a project, the address of its MLflow, and the environment of its programs."""

import os
from pathlib import Path

from refit.core import paths
from refit.core.errors import SetupError


def find_root(start: Path | None = None) -> Path:
    """The nearest folder, upward from `start`, that holds dvc.yaml and params.yaml.

    Raises:
        SetupError: there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if all((folder / mark).is_file() for mark in (paths.DVC_YAML, paths.PARAMS)):
            return folder
    raise SetupError(
        "this is not a Refit project",
        where=str(here),
        got="no dvc.yaml with params.yaml here or above",
        do="change to the folder of a clone of the project",
    )


def mlflow_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI if it is set, otherwise the project's SQLite database."""
    return os.environ.get("MLFLOW_TRACKING_URI") or own_mlflow_uri(root)


def own_mlflow_uri(root: Path) -> str:
    """The address of the project's own SQLite database."""
    return f"sqlite:///{root / paths.MLFLOW}"


def environment(root: Path) -> dict[str, str]:
    """Variables for every program that Refit starts: no telemetry, all state in the project."""
    prefect = root / paths.PREFECT
    return {
        "DO_NOT_TRACK": "true",
        "DVC_NO_ANALYTICS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_TRACKING_URI": mlflow_uri(root),
        "PREFECT_HOME": str(prefect),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{prefect / 'prefect.db'}",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_PROFILES_PATH": str(prefect / "profiles.toml"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
            "prefect.server.concurrency.lease_storage.filesystem"
        ),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PYTHONUNBUFFERED": "1",
    }
