"""Hourly readings of meters; the time is a Datetime, the use is known later."""

import pandera.polars as pa
import polars as pl

from refit.dataset import Table

TABLES = (
    Table(
        name="meters",
        schema=pa.DataFrameSchema(
            {
                "meter": pa.Column(pl.Int64),
                "at": pa.Column(pl.Datetime("us", "UTC")),
                "hour": pa.Column(pl.Int64, pa.Check.in_range(0, 23)),
                "warmth": pa.Column(pl.Float64),
                "use": pa.Column(pl.Float64, pa.Check.gt(0), nullable=True),
            },
            strict=True,
        ),
        key=("meter", "at"),
        time="at",
        outcomes=(("use",),),
    ),
)
