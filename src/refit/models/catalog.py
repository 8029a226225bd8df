"""The models by name; a built-in one is a file in this folder and a line here."""

import importlib
from dataclasses import dataclass

from refit.core.params import param
from refit.models.model import Model


@dataclass(frozen=True, kw_only=True)
class TrainParams:
    """Section `train` of params.yaml; the model's own parameters are in the section of its name."""

    model: str = param("`network`, `boosted`, or a file of the dataset package")
    seed: int = param("seed of weights, shuffles and dropout", minimum=0)


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
