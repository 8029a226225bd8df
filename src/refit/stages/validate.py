"""Stage `validate`: data/raw -> data/validated, data/quarantine and the report."""

import shutil
import sys
from collections.abc import Mapping

import polars as pl

from refit import dataset
from refit.core import files, params, paths
from refit.core.errors import DataError
from refit.data import partitions
from refit.data.drift import drift
from refit.data.validation import Checked, ValidateParams, check_table


def main() -> None:
    """Check every table; write the valid rows only when every table passes."""
    settings = params.read(ValidateParams, "validate")
    tables = dataset.tables(params.dataset_name())
    shutil.rmtree(paths.VALIDATED, ignore_errors=True)
    report, checked = {}, {}
    for table in tables:
        raw = partitions.read(paths.RAW, table)
        result = check_table(table, raw, listed_examples=settings.listed_examples)
        checked[table.name] = result
        report[table.name] = result.report() | {"drift": _drift(raw, result, settings)}
        files.write_parquet(result.quarantine, paths.QUARANTINE / f"{table.name}.parquet")
        print(f"{table.name}: {result.rows:,} rows, {result.quarantine.height:,} in quarantine")
    files.write_json(paths.VALIDATION, files.rounded(report))
    _require(checked, settings.tolerated_share)
    for table in tables:
        partitions.write(paths.VALIDATED, table, checked[table.name].valid)


def _drift(
    raw: Mapping[str, pl.DataFrame], result: Checked, settings: ValidateParams
) -> list[dict[str, object]]:
    """The newest partitions against the earlier ones; nothing where either is missing."""
    cut = len(raw) - settings.recent_partitions
    if cut < 1 or result.failed:
        return []
    parts = list(raw.values())
    return drift(pl.concat(parts[:cut]), pl.concat(parts[cut:]))


def _require(checked: Mapping[str, Checked], tolerated: float) -> None:
    """Fail with every fault named when a table is broken or too many rows are bad."""
    broken = {
        name: result
        for name, result in checked.items()
        if result.failed or result.share > tolerated
    }
    for result in broken.values():
        for fault in result.faults:
            print(fault.sentence(), file=sys.stderr)
    if not broken:
        return
    worst = [
        fault.sentence()
        for result in broken.values()
        for fault in sorted(result.faults, key=lambda f: (f.level != "table", -f.count))[:1]
    ]
    shares = ", ".join(
        f"{name} {result.quarantine.height:,} of {result.rows:,} rows ({result.share:.2%})"
        + (" and a fault of the whole table" if result.failed else "")
        for name, result in broken.items()
    )
    raise DataError(
        f"the raw data breaks its schema: {'; '.join(worst)}",
        where=str(paths.RAW),
        got=shares,
        expected=f"no fault of a whole table, and at most {tolerated:.2%} of rows in quarantine"
        " (`validate.tolerated_share`)",
        do=f"read {paths.VALIDATION} (all faults) and {paths.QUARANTINE}/ (the rows), then mend"
        " the partition or the schema",
    )
