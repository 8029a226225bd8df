"""The interface between the engine and a dataset, the package that a user writes.

params.yaml names the package (`dataset: flights`). Its modules are:

- `tables`: TABLES, the raw tables with their pandera schemas;
- `examples`: ROLES, what each column of the examples is for, and `build`, which turns the raw
  tables into examples. With one raw table `build` may be left out: the rows are the examples;
- `ingest` (optional): the source of new partitions;
- `about` (optional): texts for the model card, see `refit.dataset_card`;
- a file of any other name (optional): a model, see `refit.models.module`.

The package is imported by name while a stage runs, so the import graph does not show it.
DATASET_MODULES lists the modules that each stage imports.
"""

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import polars as pl

from refit.core.errors import ConfigError

if TYPE_CHECKING:
    import pandera.polars as pa

DATASET_MODULES: dict[str, tuple[str, ...]] = {
    "validate": ("tables",),
    "preprocess": ("tables", "examples"),
}

PARTITION = "partition"
REFERENCE = "reference"

Build = Callable[[Mapping[str, pl.DataFrame]], pl.DataFrame]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A raw table: the files of data/raw/NAME, of which a reference table has one."""

    name: str
    schema: "pa.DataFrameSchema"
    key: tuple[str, ...]
    """Columns that together identify a row."""
    time: str | None
    """The Datetime, Date or integer column that orders the rows; None for a reference table."""


@dataclass(frozen=True, kw_only=True)
class Roles:
    """What each column of the examples is for."""

    task: str
    """One of refit.tasks: binary, multiclass, regression, counts."""
    key: tuple[str, ...]
    """Columns that together identify an example."""
    time: str
    target: str
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    slices: tuple[str, ...] = ()
    """Columns whose values are evaluated separately; any columns of the examples."""

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that the model reads."""
        return (*self.numeric, *self.categorical)


def tables(dataset: str) -> tuple[Table, ...]:
    """The raw tables of the dataset, in its order."""
    value: tuple[Table, ...] = _attribute(dataset, "tables", "TABLES")
    return value


def roles(dataset: str) -> Roles:
    """The roles of the example columns."""
    value: Roles = _attribute(dataset, "examples", "ROLES")
    return value


def build(dataset: str) -> Build:
    """The function that turns the raw tables into examples.

    Raises:
        ConfigError: the dataset has several tables and no such function.
    """
    function: Build | None = getattr(_module(dataset, "examples"), "build", None)
    if function is not None:
        return function
    names = [table.name for table in tables(dataset)]
    if len(names) != 1:
        raise ConfigError(
            "several tables need a function `build` that makes examples of them",
            where=f"{dataset}.examples",
            got=f"the tables {', '.join(names)}",
            expected="`def build(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame`",
            do=f"define `build` in src/{dataset}/examples.py",
        )
    return lambda raw: raw[names[0]]


def ingest(dataset: str) -> ModuleType | None:
    """The dataset's source of partitions; None where files are added by hand."""
    if importlib.util.find_spec(f"{dataset}.ingest") is None:
        return None
    return _module(dataset, "ingest")


def _module(dataset: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(f"{dataset}.{name}")
    except ModuleNotFoundError as error:
        if error.name not in {dataset, f"{dataset}.{name}"}:
            raise
        raise ConfigError(
            f"the dataset's module {dataset}.{name} does not exist",
            where="params.yaml, `dataset`",
            got=dataset,
            expected="a package in src/ with the modules `tables` and `examples`",
            do=f"write src/{dataset}/{name}.py, or name another dataset",
        ) from error


def _attribute(dataset: str, module: str, name: str) -> Any:
    value = getattr(_module(dataset, module), name, None)
    if value is None:
        raise ConfigError(
            f"the module does not define {name}",
            where=f"{dataset}.{module}",
            do=f"define {name}; the docstring of refit.dataset explains it",
        )
    return value
