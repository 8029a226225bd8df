"""What a dataset must say of itself; the engine knows nothing else of it.

A dataset is a package that params.yaml names (`dataset: flights`) with up to three modules:

- `tables`: TABLES, the raw tables with their pandera schemas;
- `examples`: ROLES, what each column of the examples is for, and `build`, which turns the raw
  tables into examples. A dataset of one table needs no `build`: its rows are the examples;
- `ingest` (optional): where new partitions come from.

The package is imported by name while a stage runs, so the import graph cannot see it:
DATASET_MODULES says which modules each stage takes from it.
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
    """A raw table: data/raw/NAME/PARTITION.parquet, or NAME/reference.parquet without a time."""

    name: str
    schema: "pa.DataFrameSchema"
    key: tuple[str, ...]
    """Columns that together name a row; no two rows may share them."""
    time: str | None
    """The column that orders the rows in time: Datetime, Date or an integer; None: reference."""


@dataclass(frozen=True, kw_only=True)
class Roles:
    """What each column of the examples is for."""

    task: str
    """One of refit.tasks: binary, multiclass, regression, counts."""
    key: tuple[str, ...]
    time: str
    target: str
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    slices: tuple[str, ...] = ()
    """Columns whose values split the holdout in the evaluation; any column of the examples."""

    @property
    def features(self) -> tuple[str, ...]:
        """The columns that the model reads."""
        return (*self.numeric, *self.categorical)


def tables(dataset: str) -> tuple[Table, ...]:
    """The raw tables of the dataset, in the order in which it lists them."""
    listed: tuple[Table, ...] = _attribute(dataset, "tables", "TABLES")
    return listed


def roles(dataset: str) -> Roles:
    """The roles of the example columns."""
    found: Roles = _attribute(dataset, "examples", "ROLES")
    return found


def build(dataset: str) -> Build:
    """The function that makes examples of the raw tables; of a single table, the table itself."""
    given: Build | None = getattr(_module(dataset, "examples"), "build", None)
    if given is not None:
        return given
    names = [table.name for table in tables(dataset)]
    if len(names) != 1:
        raise ConfigError(
            "several tables need a function `build` that makes examples of them",
            where=f"{dataset}.examples",
            got=f"the tables {', '.join(names)}",
            expected="`def build(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame`",
        )
    return lambda given_tables: given_tables[names[0]]


def ingest(dataset: str) -> ModuleType | None:
    """The dataset's source of partitions, or None when its files are brought by hand."""
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
            expected="a package in src/ with the modules tables and examples",
            do=f"write src/{dataset}/{name}.py, or name another dataset",
        ) from error


def _attribute(dataset: str, module: str, name: str) -> Any:
    found = getattr(_module(dataset, module), name, None)
    if found is None:
        raise ConfigError(
            f"the module does not say {name}",
            where=f"{dataset}.{module}",
            do=f"define {name}; refit.dataset explains it",
        )
    return found
