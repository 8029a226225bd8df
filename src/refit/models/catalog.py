"""The models by name; a built-in one is a file in this folder and a line here."""

import importlib

from refit.models.model import Model

BUILT_IN = ("network", "boosted")


def find(name: str, dataset: str) -> Model:
    """The model of that name, built in or of the dataset.

    Each is imported only when it is chosen: torch and LightGBM take a second each.

    Raises:
        ConfigError: there is none.
    """
    if name == "network":
        from refit.models.network import NetworkModel

        return NetworkModel()
    if name == "boosted":
        from refit.models.boosted import BoostedModel

        return BoostedModel()
    # By name, so that the stages of a built-in model do not depend on it; see stage_deps.
    model: Model = importlib.import_module("refit.models.module").find(dataset, name)
    return model
