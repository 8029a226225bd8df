"""Stage `validate`: data/raw -> data/validated, data/quarantine and data/validation.json."""

import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from refit import dataset
from refit.core import files, params, paths
from refit.core.errors import DataError
from refit.data import footer, partitions, recorded
from refit.data.drift import drift
from refit.data.validation import ValidateParams, ValidationResult, check_table
from refit.dataset import Table
from refit.workspace import memory


def main() -> None:
    """Check every table; write the rows that are kept only when every table passes."""
    settings = params.read(ValidateParams, "validate")
    tables = dataset.tables(params.dataset_name())
    record = recorded.raw_rows(Path())
    if record is None:
        print(f"{paths.RAW}: DVC has recorded none of its files, so they are not compared")
    _require_memory(tables)
    shutil.rmtree(paths.VALIDATED, ignore_errors=True)
    report, results = {}, {}
    for table in tables:
        raw = partitions.read(paths.RAW, table, record)
        result = check_table(table, raw, listed_examples=settings.listed_examples)
        results[table.name] = result
        report[table.name] = result.report() | {"drift": _drift(raw, result, settings)}
        files.write_parquet(result.quarantine, paths.QUARANTINE / f"{table.name}.parquet")
        print(
            f"{table.name}: {result.rows:,} rows, {result.quarantine.height:,} in quarantine"
            f" ({result.removed:,} removed, {result.emptied:,} kept without outcomes)"
        )
    files.write_json(paths.VALIDATION, files.rounded(report))
    _require_valid(results, settings.tolerated_share)
    for table in tables:
        partitions.write(paths.VALIDATED, table, results[table.name].valid)


def _require_memory(tables: Iterable[Table]) -> None:
    """Raise DataError unless all rows fit into memory."""
    raw = [path for table in tables for path in partitions.find(paths.RAW, table).values()]
    footer.require_memory(raw, memory.free())


def _drift(
    raw: Mapping[str, pl.DataFrame], result: ValidationResult, settings: ValidateParams
) -> list[dict[str, object]]:
    """Drift of the newest partitions; empty without earlier ones, or when the table failed."""
    earlier = len(raw) - settings.recent_partitions
    if earlier < 1 or result.failed:
        return []
    frames = list(raw.values())
    return drift(pl.concat(frames[:earlier]), pl.concat(frames[earlier:]))


def _require_valid(results: Mapping[str, ValidationResult], tolerated_share: float) -> None:
    """Raise one DataError about all tables that failed or have too many rows in quarantine."""
    broken = {
        name: result
        for name, result in results.items()
        if result.failed or result.quarantined_share > tolerated_share
    }
    if not broken:
        return
    for result in broken.values():
        for error in result.errors:
            print(error.sentence(), file=sys.stderr)
    worst = [
        min(result.errors, key=lambda error: (error.level != "table", -error.count))
        for result in broken.values()
    ]
    raise DataError(
        f"the raw data breaks its schema: {'; '.join(error.sentence() for error in worst)}",
        where=str(paths.RAW),
        got=", ".join(_summary(name, result) for name, result in broken.items()),
        expected=f"no error of a whole table, and at most {tolerated_share:.2%} of rows in"
        " quarantine (`validate.tolerated_share`)",
        do=f"read {paths.VALIDATION} (all errors) and {paths.QUARANTINE}/ (the rows), then correct"
        " the partition or the schema",
    )


def _summary(name: str, result: ValidationResult) -> str:
    """How much of a table is broken, for example `sales 3 of 100 rows (3.00%)`."""
    quarantined = f"{result.quarantine.height:,} of {result.rows:,} rows"
    failed = " and an error of the whole table" if result.failed else ""
    return f"{name} {quarantined} ({result.quarantined_share:.2%}){failed}"
