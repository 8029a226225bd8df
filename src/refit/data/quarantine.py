"""What becomes of rows that break a rule: removed, or kept without the outcomes that are wrong.

A row is removed only because of what is known with it. A later fact cannot remove it, because
features of earlier moments count it. It loses the outcomes of the moment at which it breaks a rule
and of all later moments: after an impossible departure an arrival means nothing. Earlier columns
stay, because they were known before.
"""

from collections import defaultdict
from collections.abc import Mapping

import polars as pl

from refit.data.row_rules import Violation
from refit.dataset import ACTION, PARTITION, ROW, RULES, Table

REMOVED = "removed"
EMPTIED = "emptied"


def first_moments(violations: list[Violation]) -> dict[int, int]:
    """The rows that break a rule, in order, and the first moment at which they break one."""
    moments: dict[int, int] = {}
    for violation in sorted(violations, key=lambda violation: violation.moment):
        for row in violation.rows or ():
            moments.setdefault(row, violation.moment)
    return dict(sorted(moments.items()))


def kept_rows(table: Table, frame: pl.DataFrame, moments: Mapping[int, int]) -> pl.DataFrame:
    """The rows that are not removed, without the outcomes from their moment on."""
    if not moments:
        return frame
    never = len(table.outcomes) + 1
    broken = pl.Series([never]).new_from_index(0, frame.height)
    moment = pl.lit(broken.scatter(list(moments), list(moments.values())))
    return frame.with_columns(
        pl.when(moment > number).then(pl.col(name))
        for number, group in enumerate(table.outcomes, 1)
        for name in group
        if name in frame.columns
    ).filter(moment > 0)


def bad_rows(
    table: Table, name: str, frame: pl.DataFrame, violations: list[Violation]
) -> pl.DataFrame:
    """The rows of the partition that break a rule, with the rules and what was done."""
    rules: dict[int, list[str]] = defaultdict(list)
    for violation in violations:
        for row in violation.rows or ():
            rules[row].append(
                f"{violation.column}: {violation.rule}" if violation.column else violation.rule
            )
    moments = first_moments(violations)
    rows = list(moments)
    labels = pl.DataFrame(
        {
            PARTITION: pl.Series([name] * len(rows), dtype=pl.String),
            ROW: pl.Series(rows, dtype=pl.UInt32),
            RULES: pl.Series(["; ".join(rules[row]) for row in rows], dtype=pl.String),
            ACTION: pl.Series([_action(table, moments[row]) for row in rows], dtype=pl.String),
        }
    )
    return pl.concat([labels, frame[rows]], how="horizontal")


def _action(table: Table, moment: int) -> str:
    """What is done with a row that breaks a rule at the moment."""
    if moment == 0:
        return REMOVED
    names = (name for group in table.outcomes[moment - 1 :] for name in group)
    return f"{EMPTIED} {', '.join(names)}"
