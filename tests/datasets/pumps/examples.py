"""Whether a pump fails: binary."""

from refit.dataset import Roles

ROLES = Roles(
    task="binary",
    key=("cycle",),
    time="cycle",
    target="fails",
    numeric=("pressure", "heat"),
    categorical=("maker",),
    slices=("maker",),
)
