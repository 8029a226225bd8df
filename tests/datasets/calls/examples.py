"""How many calls a centre receives in an hour: counts."""

from refit.dataset import Roles

ROLES = Roles(
    task="counts",
    key=("centre", "at"),
    time="at",
    target="calls",
    numeric=("hour", "warmth"),
    categorical=("centre",),
    slices=("centre",),
)
