"""Calls by the hour: a datetime."""

import pandera.polars as pa
import polars as pl

from refit.dataset import Table

TABLES = (
    Table(
        name="calls",
        schema=pa.DataFrameSchema(
            {
                "centre": pa.Column(pl.String, pa.Check.isin(["north", "south", "west"])),
                "at": pa.Column(pl.Datetime("us", "UTC")),
                "hour": pa.Column(pl.Int64, pa.Check.in_range(0, 23)),
                "warmth": pa.Column(pl.Float64, nullable=True),
                "calls": pa.Column(pl.Int64, pa.Check.ge(0)),
            },
            strict=True,
        ),
        key=("centre", "at"),
        time="at",
    ),
)
