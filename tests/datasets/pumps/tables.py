"""Readings of pumps; the time is an integer, the cycle."""

import pandera.polars as pa
import polars as pl

from refit.dataset import Table

TABLES = (
    Table(
        name="readings",
        schema=pa.DataFrameSchema(
            {
                "cycle": pa.Column(pl.Int64, pa.Check.ge(0)),
                "pressure": pa.Column(pl.Float64, pa.Check.in_range(-10, 10), nullable=True),
                "heat": pa.Column(pl.Float64, nullable=True),
                "maker": pa.Column(pl.String, nullable=True),
                "fails": pa.Column(pl.Int8, pa.Check.isin([0, 1])),
            },
            strict=True,
        ),
        key=("cycle",),
        time="cycle",
    ),
)
