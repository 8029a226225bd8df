"""How much a meter uses: regression, without categorical features."""

from refit.dataset import Roles

ROLES = Roles(
    task="regression",
    key=("meter", "at"),
    time="at",
    target="use",
    numeric=("hour", "warmth"),
    categorical=(),
)
