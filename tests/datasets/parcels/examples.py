"""Which route a parcel takes: multiclass."""

from collections.abc import Mapping

import polars as pl

from refit.dataset import Roles

ROLES = Roles(
    task="multiclass",
    key=("id",),
    time="day",
    target="route",
    numeric=("weight", "size"),
    categorical=("region",),
)


def build(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Each parcel with its depot's region."""
    return tables["parcels"].join(tables["depots"], on="depot", how="left", maintain_order="left")
