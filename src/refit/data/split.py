"""Examples split by time: the newest partitions are the holdout, those before it validation.

Splitting by partition, not by row, keeps rows of one day together, and shows the model what it
will meet: rows newer than all it was trained on. Given up: a random split's lower variance.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from refit.core.errors import ConfigError, DataError
from refit.core.params import param
from refit.dataset import PARTITION, Roles
from refit.tasks import catalog
from refit.tasks.task import Task

PARTS = ("train", "validation", "holdout")


@dataclass(frozen=True, kw_only=True)
class PreprocessParams:
    """Section `preprocess` of params.yaml."""

    holdout_partitions: int = param("newest partitions, kept for the evaluation", minimum=1)
    validation_partitions: int = param(
        "partitions before the holdout, for early stopping and thresholds", minimum=1
    )
    train_partitions: int = param(
        "partitions before the validation that train; 0 takes all", minimum=0
    )
    quantiles: int = param("knots of each numeric column's map", minimum=2, maximum=1001)
    min_count: int = param("training rows that a category needs for its own code", minimum=1)


def check_examples(examples: pl.DataFrame, roles: Roles) -> pl.DataFrame:
    """The example columns in order, sorted by time and key, or one error that names all faults.

    Raises:
        DataError: missing columns, wrong types, no rows, null keys, times or targets, duplicate
            keys, or a binary target beyond 0 and 1.
    """
    task = catalog.find(roles.task)
    faults = _schema_faults(examples, roles, task) or _row_faults(examples, roles, task)
    if faults:
        raise DataError(
            "; ".join(faults),
            where=f"examples, {examples.height:,} rows, {len(faults)} faults",
            do="mend the dataset's `build`, or its ROLES",
        )
    context = (*roles.key, roles.time, PARTITION, roles.target)
    columns = list(dict.fromkeys((*context, *roles.features, *roles.slices)))
    return examples.select(columns).sort(list(dict.fromkeys((roles.time, *roles.key))))


def split(
    examples: pl.DataFrame, roles: Roles, settings: PreprocessParams
) -> Mapping[str, pl.DataFrame]:
    """Examples to `train`, `validation` and `holdout`, no row in two of them.

    Raises:
        ConfigError: the windows ask for more partitions than there are.
        DataError: partitions overlap in time, so that a split would look ahead.
    """
    names = examples[PARTITION].unique().sort().to_list()
    later = settings.validation_partitions + settings.holdout_partitions
    if len(names) < later + max(settings.train_partitions, 1):
        raise ConfigError(
            f"the split needs {later + max(settings.train_partitions, 1)} partitions",
            where="params.yaml, section `preprocess`",
            got=f"{len(names)} ({', '.join(names[:12])})",
            expected=f"{settings.holdout_partitions} for the holdout,"
            f" {settings.validation_partitions} for validation and at least"
            f" {max(settings.train_partitions, 1)} to train",
            do="ingest more partitions (`refit ingest --until`), or make the windows smaller",
        )
    _require_order(examples, roles.time)
    begin, holdout = len(names) - later, len(names) - settings.holdout_partitions
    start = begin - settings.train_partitions if settings.train_partitions else 0
    windows = {
        "train": names[start:begin],
        "validation": names[begin:holdout],
        "holdout": names[holdout:],
    }
    return {
        part: examples.filter(pl.col(PARTITION).is_in(window)) for part, window in windows.items()
    }


def _require_order(examples: pl.DataFrame, time: str) -> None:
    spans = (
        examples.group_by(PARTITION)
        .agg(pl.col(time).min().alias("first"), pl.col(time).max().alias("last"))
        .sort(PARTITION)
        .with_columns(pl.col("last").shift(1).alias("before"))
    )
    wrong = spans.filter(pl.col("first") < pl.col("before"))
    if wrong.height:
        row = wrong.row(0, named=True)
        raise DataError(
            f"{wrong.height} partitions begin before the one before them has ended",
            where=f"examples, column {time}",
            got=f"{row[PARTITION]} begins at {row['first']}, the one before ends at"
            f" {row['before']}",
            expected="partitions whose names sort in the order of time",
            do="rename the partitions, or move the rows to the partition of their time",
        )


def _schema_faults(examples: pl.DataFrame, roles: Roles, task: Task) -> list[str]:
    """Missing columns and wrong types."""
    wanted = dict.fromkeys(
        (*roles.key, roles.time, PARTITION, roles.target, *roles.features, *roles.slices)
    )
    faults = [f"column {name} is missing" for name in wanted if name not in examples.columns]
    kinds = {name: kind for name, kind in examples.schema.items() if name in wanted}
    leak = {roles.target, roles.time} & set(roles.features)
    faults += [f"column {name} is a feature, which {roles.task} forbids" for name in sorted(leak)]
    for name, kind in kinds.items():
        if name in roles.numeric and not (kind.is_numeric() or kind == pl.Boolean):
            faults.append(f"numeric column {name} is {kind}, expected a number")
        if name in roles.categorical and kind != pl.String:
            faults.append(f"categorical column {name} is {kind}, expected String")
        if name == roles.time and not (kind.is_integer() or kind.is_temporal()):
            faults.append(f"time column {name} is {kind}, expected Datetime, Date or an integer")
        if name == roles.target and not task.accepts(kind):
            faults.append(f"target {name} is {kind}, which a {roles.task} target cannot be")
    if examples.is_empty():
        faults.append("there is no row")
    return faults


def _row_faults(examples: pl.DataFrame, roles: Roles, task: Task) -> list[str]:
    """Nulls where none may be, and keys that name two rows."""
    faults = []
    for name in dict.fromkeys((*roles.key, roles.time, PARTITION, roles.target)):
        nulls = examples[name].null_count()
        if nulls:
            faults.append(f"column {name} is null in {nulls:,} rows")
    twice = examples.filter(examples.select(roles.key).is_duplicated())
    if twice.height:
        shown = " ".join(str(value) for value in twice.select(roles.key).row(0))
        faults.append(
            f"{twice.height:,} rows share a key ({', '.join(roles.key)}), for example {shown}"
        )
    return faults + task.target_errors(examples[roles.target].drop_nulls())
