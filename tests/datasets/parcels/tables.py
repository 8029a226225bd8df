"""Parcels by day, and a reference table of depots."""

import pandera.polars as pa
import polars as pl

from refit.dataset import Table

TABLES = (
    Table(
        name="parcels",
        schema=pa.DataFrameSchema(
            {
                "id": pa.Column(pl.Int64),
                "day": pa.Column(pl.Date),
                "weight": pa.Column(pl.Float64, pa.Check.gt(0)),
                "size": pa.Column(pl.Float64),
                "depot": pa.Column(pl.String),
                "route": pa.Column(pl.String, pa.Check.isin(["air", "rail", "road"])),
            },
            strict=True,
        ),
        key=("id",),
        time="day",
    ),
    Table(
        name="depots",
        schema=pa.DataFrameSchema(
            {"depot": pa.Column(pl.String), "region": pa.Column(pl.String)}, strict=True
        ),
        key=("depot",),
        time=None,
    ),
)
