"""Blocks of time: rows whose errors depend on each other, resampled together.

A day for flights (its flights share their weather). A block is named in params.yaml as polars names
durations (`1d`, `6h`, `1w`), or, where time is an integer, as `10i`: ten units of it.
"""

import re

import numpy as np
import polars as pl

from refit.core.errors import ConfigError

FEWEST_BLOCKS = 10
"""With fewer independent blocks no interval can be trusted."""


def block_codes(time: pl.Series, block: str) -> np.ndarray:
    """The block of each row.

    Args:
        time: (N,) Datetime, Date or integer, without nulls.
        block: its length, such as `1d`, or `10i` for an integer time.

    Returns:
        (N,) int64: 0, 1, 2 … in the order of time.

    Raises:
        ConfigError: the length does not fit the type of the time column.
    """
    whole = re.fullmatch(r"([1-9]\d*)i", block)
    if time.dtype.is_integer() != bool(whole):
        raise ConfigError(
            "the block's length does not fit the time column",
            where="params.yaml, `evaluate.block`",
            got=f"{block!r} for column {time.name} of type {time.dtype}",
            expected="such as `10i` for an integer time, `1d` for a date or datetime",
        )
    if whole:
        starts = time // int(whole[1])
    else:
        try:
            starts = time.dt.truncate(block)
        except pl.exceptions.PolarsError as error:
            raise ConfigError(
                "the block is not a length of time",
                where="params.yaml, `evaluate.block`",
                got=f"{block!r} ({error})",
                expected="a number and a unit, such as `1d`, `6h` or `1w`",
            ) from error
    return (starts.rank("dense").cast(pl.Int64) - 1).to_numpy()
