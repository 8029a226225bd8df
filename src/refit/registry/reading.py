"""Answers a question about the registry, without MLflow's client where that is possible."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from refit.core import params, paths
from refit.registry.reader import Reader
from refit.registry.registry import Registry
from refit.registry.sqlite_reader import SqliteReader, UnknownError

Answer = TypeVar("Answer")


def ask(root: Path, question: Callable[[Reader], Answer]) -> Answer:
    """The answer from the project's own database, or from MLflow's client where that cannot tell.

    Args:
        root: of the project.
        question: may be asked twice.

    Raises:
        RegistryError: MLflow cannot be reached.
    """
    name = params.dataset_name(root / paths.PARAMS)
    try:
        return question(SqliteReader.open(root, name))
    except UnknownError:
        return question(Registry.open(root, name))
