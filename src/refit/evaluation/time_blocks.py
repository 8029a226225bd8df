"""Blocks of time: rows whose errors depend on each other and that are resampled together.

A block of the flights is a day, because the flights of a day share the weather. `evaluate.block` in
params.yaml gives the length of a block as Polars writes durations (`1d`, `6h`, `1w`). Where time is
an integer, `10i` stands for ten units.
"""

import re

import numpy as np
import polars as pl

from refit.core.errors import ConfigError
from refit.workspace import memory

DRAWN_ARRAYS = 4
"""Arrays of resamples and blocks, of 8 bytes each, that drawing takes."""
FEWEST_BLOCKS = 10
"""Fewest independent blocks that an interval can be trusted with."""


def block_codes(time: pl.Series, block: str) -> np.ndarray:
    """The block of each row.

    Args:
        time: (N,) Datetime, Date or integer, without nulls.
        block: the length, such as `1d`, or `10i` for an integer time.

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
            do="set `evaluate.block` to such a length",
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
                do="set `evaluate.block` to such a length",
            ) from error
    return (starts.rank("dense").cast(pl.Int64) - 1).to_numpy()


def require_memory(blocks: int, resamples: int, *, parameter: str) -> None:
    """Raise ConfigError unless the resamples of so many blocks fit into the free memory.

    Args:
        blocks: number of blocks.
        resamples: number of resamples.
        parameter: that gives the number of resamples.
    """
    memory.require(
        DRAWN_ARRAYS * 8 * resamples * blocks,
        f"a bootstrap of {resamples:,} resamples of {blocks:,} blocks",
        where=f"params.yaml, `{parameter}` and `evaluate.block`",
        do="draw fewer resamples, or make the blocks longer",
    )
