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
ROW, RULES, ACTION = "row", "rules", "row_action"
RESERVED = frozenset({PARTITION, ROW, RULES, ACTION})
"""Columns that Refit adds: the partition; in quarantine the row, its rules and what was done."""
PREDICTION = "prediction"
"""The output of the bundle, whose inputs are the features."""

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
    outcomes: tuple[tuple[str, ...], ...] = ()
    """The columns that become known after the row, in groups, the earliest first.

    A row that breaks a rule about an outcome stays, without the columns of that group and of the
    later ones; so they must be nullable. All other columns are known with the row: a row that
    breaks a rule about them is removed. Without `outcomes` every row that breaks a rule is removed.
    That is right where an example is made of its own row alone (no `build`). Where `build` looks at
    other rows, name what becomes known later. Otherwise a later fact changes earlier examples.
    """

    def __post_init__(self) -> None:
        """Raises ConfigError where `outcomes` names columns that cannot be outcomes."""
        errors = _outcome_errors(self) if self.outcomes else []
        if errors:
            raise ConfigError(
                "; ".join(errors),
                where=f"table {self.name} in TABLES, `outcomes`",
                got=repr(self.outcomes),
                expected="groups of nullable columns of the schema, neither key nor time, such as"
                ' (("shipped",), ("delivered", "signed_by"))',
                do="correct `outcomes`, or the schema",
            )

    def moment(self, column: str) -> int:
        """When a column is known: 0 with the row, k with the k-th group of `outcomes`."""
        groups = enumerate(self.outcomes, 1)
        return next((moment for moment, group in groups if column in group), 0)


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
    """The raw tables of the dataset, in its order.

    Raises:
        ConfigError: there are none, or a column has a name that Refit itself uses.
    """
    value: tuple[Table, ...] = _attribute(dataset, "tables", "TABLES")
    for table in value:
        taken = sorted(RESERVED.intersection(table.schema.columns))
        if taken:
            raise ConfigError(
                f"table `{table.name}` has a column whose name Refit itself uses",
                where=f"{dataset}.tables",
                got=", ".join(taken),
                expected=f"other names than {', '.join(sorted(RESERVED))}",
                do="rename the column in the schema and in the raw files",
            )
    return value


def roles(dataset: str) -> Roles:
    """The roles of the example columns."""
    value: Roles = _attribute(dataset, "examples", "ROLES")
    return value


def build(dataset: str) -> Build:
    """The function that turns the raw tables into examples.

    Without one, the rows of the only table are the examples. If the target is one of its outcomes,
    those are the rows whose target is known.

    Raises:
        ConfigError: the dataset has several tables and no such function.
    """
    function: Build | None = getattr(_module(dataset, "examples"), "build", None)
    if function is not None:
        return function
    raw_tables = tables(dataset)
    if len(raw_tables) != 1:
        raise ConfigError(
            "several tables need a function `build` that makes examples of them",
            where=f"{dataset}.examples",
            got=f"the tables {', '.join(table.name for table in raw_tables)}",
            expected="`def build(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame`",
            do=f"define `build` in src/{dataset}/examples.py",
        )
    (table,), target = raw_tables, roles(dataset).target
    if not table.moment(target):
        return lambda raw: raw[table.name]
    return lambda raw: raw[table.name].filter(pl.col(target).is_not_null())


def ingest(dataset: str) -> ModuleType | None:
    """The dataset's source of partitions; None where files are added by hand."""
    if importlib.util.find_spec(f"{dataset}.ingest") is None:
        return None
    return _module(dataset, "ingest")


def _outcome_errors(table: Table) -> list[str]:
    """What is wrong with a table's outcomes."""
    if any(isinstance(group, str) for group in (table.outcomes, *table.outcomes)):
        return ["`outcomes` holds names, not groups of names"]
    names = [name for group in table.outcomes for name in group]
    errors = ["a group has no column"] if not all(table.outcomes) else []
    for name in dict.fromkeys(names):
        column = table.schema.columns.get(name)
        if column is None or column.regex:
            errors.append(f"column {name} is not in the schema")
        elif not column.nullable:
            errors.append(f"column {name} is not nullable, so it cannot be emptied")
        if names.count(name) > 1:
            errors.append(f"column {name} is named {names.count(name)} times")
        if name in table.key:
            errors.append(f"column {name} is part of the key, which is known with the row")
        if name == table.time:
            errors.append(f"column {name} is the time, which is known with the row")
    return errors


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
