"""Examples split by time: the newest partitions are the holdout, those before it validation.

Splitting by partition, not by row, keeps the rows of one day together, and evaluates the model as
it is used: on rows newer than those that it was trained on. The price is a higher variance than a
random split has.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from refit.core.errors import ConfigError, DataError
from refit.core.params import param
from refit.dataset import PARTITION, PREDICTION, Roles
from refit.tasks import catalog
from refit.tasks.task import Task

PARTS = ("train", "validation", "holdout")
EVALUATED = frozenset({"block", "target"})
"""Columns that the evaluation adds to key, time and slices."""


@dataclass(frozen=True, kw_only=True)
class PreprocessParams:
    """Section `preprocess` of params.yaml."""

    holdout_partitions: int = param("newest partitions, kept for the evaluation", minimum=1)
    validation_partitions: int = param(
        "partitions before the holdout, for early stopping and thresholds", minimum=1
    )
    train_partitions: int = param(
        "partitions before the validation part that are used for training; 0: all", minimum=0
    )
    quantiles: int = param("knots of each numeric column's map", minimum=2, maximum=1001)
    min_count: int = param("training rows that a category needs to get a code", minimum=1)


def check_examples(examples: pl.DataFrame, roles: Roles) -> pl.DataFrame:
    """The example columns in order, sorted by time and key, or one error that names all problems.

    Raises:
        DataError: missing columns, wrong types, no rows, null keys, times or targets, duplicate
            keys, or target values that the task does not allow.
    """
    task = catalog.find(roles.task)
    errors = _schema_errors(examples, roles, task) or _row_errors(examples, roles, task)
    if errors:
        count = f"{len(errors)} error{'s' * (len(errors) > 1)}"
        raise DataError(
            "; ".join(errors),
            where=f"examples, {examples.height:,} rows, {count}",
            do="correct the dataset's `build`, or its ROLES",
        )
    context = (*roles.key, roles.time, PARTITION, roles.target)
    columns = list(dict.fromkeys((*context, *roles.features, *roles.slices)))
    return examples.select(columns).sort(list(dict.fromkeys((roles.time, *roles.key))))


def split(
    examples: pl.DataFrame, roles: Roles, settings: PreprocessParams
) -> Mapping[str, pl.DataFrame]:
    """The examples of `train`, `validation` and `holdout`. No row is in two of them.

    Raises:
        ConfigError: the parts need more partitions than there are.
        DataError: partitions overlap in time, so the model would be trained on later rows.
    """
    names = examples[PARTITION].unique().sort().to_list()
    later = settings.validation_partitions + settings.holdout_partitions
    needed = later + max(settings.train_partitions, 1)
    if len(names) < needed:
        raise ConfigError(
            f"the split needs {needed} partitions",
            where="params.yaml, section `preprocess`",
            got=f"{len(names)} ({', '.join(names[:12])})",
            expected=f"{settings.holdout_partitions} for the holdout,"
            f" {settings.validation_partitions} for validation and at least"
            f" {max(settings.train_partitions, 1)} to train",
            do="ingest more partitions (`refit ingest --until`), or use fewer for each part",
        )
    _require_order(examples, roles.time)
    validation, holdout = len(names) - later, len(names) - settings.holdout_partitions
    train = validation - settings.train_partitions if settings.train_partitions else 0
    parts = {
        "train": names[train:validation],
        "validation": names[validation:holdout],
        "holdout": names[holdout:],
    }
    return {
        part: examples.filter(pl.col(PARTITION).is_in(partitions))
        for part, partitions in parts.items()
    }


def _require_order(examples: pl.DataFrame, time: str) -> None:
    """Each partition must begin after the end of the previous one."""
    spans = (
        examples.group_by(PARTITION)
        .agg(pl.col(time).min().alias("first"), pl.col(time).max().alias("last"))
        .sort(PARTITION)
        .with_columns(pl.col("last").shift(1).alias("previous"))
    )
    overlapping = spans.filter(pl.col("first") < pl.col("previous"))
    if overlapping.height:
        row = overlapping.row(0, named=True)
        raise DataError(
            f"{overlapping.height} partitions begin before the end of the previous one",
            where=f"examples, column {time}",
            got=f"{row[PARTITION]} begins at {row['first']}, the previous one ends at"
            f" {row['previous']}",
            expected="partitions whose names sort in the order of time",
            do="rename the partitions, or move each row to the partition of its time",
        )


def _schema_errors(examples: pl.DataFrame, roles: Roles, task: Task) -> list[str]:
    """Missing columns and wrong types."""
    needed = dict.fromkeys(
        (*roles.key, roles.time, PARTITION, roles.target, *roles.features, *roles.slices)
    )
    errors = [f"column {name} is missing" for name in needed if name not in examples.columns]
    for role, name in (("target", roles.target), ("time", roles.time)):
        if name in roles.features:
            errors.append(f"column {name} is a feature, but it is the {role}")
    errors += _name_errors(roles)
    for name, dtype in examples.schema.items():
        if name in needed and dtype.is_nested():
            errors.append(f"column {name} is {dtype}, expected one value in each row")
        if name in roles.numeric and not (dtype.is_numeric() or dtype == pl.Boolean):
            errors.append(f"numeric column {name} is {dtype}, expected a number")
        if name in roles.categorical and dtype != pl.String:
            errors.append(f"categorical column {name} is {dtype}, expected String")
        if name == roles.time and not (dtype.is_integer() or dtype.is_temporal()):
            errors.append(f"time column {name} is {dtype}, expected Datetime, Date or an integer")
        if name == roles.target and not task.accepts(dtype):
            errors.append(f"target {name} is {dtype}, which a {roles.task} target cannot be")
    if examples.is_empty():
        errors.append("there is no row")
    return errors


def _name_errors(roles: Roles) -> list[str]:
    """Columns with names that Refit gives to columns of its own."""
    context = {*roles.key, roles.time, *roles.slices}
    taken = sorted(EVALUATED & context) + sorted({PREDICTION} & set(roles.features))
    return [f"column {name} has a name that Refit itself uses: rename it" for name in taken]


def _row_errors(examples: pl.DataFrame, roles: Roles, task: Task) -> list[str]:
    """Nulls where none are allowed, duplicate keys, and target values that the task refuses."""
    errors = []
    for name in dict.fromkeys((*roles.key, roles.time, PARTITION, roles.target)):
        nulls = examples[name].null_count()
        if nulls:
            advice = " (leave out rows whose outcome is not known)" * (name == roles.target)
            errors.append(f"column {name} is null in {nulls:,} rows{advice}")
    duplicates = examples.filter(examples.select(roles.key).is_duplicated())
    if duplicates.height:
        key = ", ".join(roles.key)
        example = " ".join(str(value) for value in duplicates.select(roles.key).row(0))
        errors.append(f"{duplicates.height:,} rows share a key ({key}), for example {example}")
    return errors + task.target_errors(examples[roles.target].drop_nulls())
