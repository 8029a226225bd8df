"""What a dataset says of itself to people: what its model is for, and what it must not be used for.

It stands in the dataset's optional module `about`, as ABOUT, and goes into the model card of each
version. No stage reads it: better words make nothing run again.
"""

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from refit.core.errors import ConfigError

MODULE = "about"


@dataclass(frozen=True, kw_only=True)
class About:
    """A dataset in words; each field may be left empty. Plain text, no markup."""

    title: str = ""
    """What is predicted, in a few words."""
    intended_use: str = ""
    """Who may use the predictions, and for what."""
    source: str = ""
    """Where the data come from, and what they cover."""
    limits: tuple[str, ...] = ()
    """What the model does not know or must not be used for, a sentence each."""


def read(dataset: str) -> About:
    """What the dataset says; empty where it has no module `about`.

    Raises:
        ConfigError: the module cannot be imported, or says no ABOUT.
    """
    name = f"{dataset}.{MODULE}"
    try:
        if importlib.util.find_spec(name) is None:
            return About()
        found = getattr(importlib.import_module(name), "ABOUT", None)
    except ModuleNotFoundError as error:
        if error.name in {dataset, name}:
            return About()
        raise _unsaid(name, str(error)) from error
    except Exception as error:  # whatever a module may do wrong when it is imported
        raise _unsaid(name, f"{type(error).__name__}: {error}") from error
    if not isinstance(found, About):
        raise _unsaid(name, f"ABOUT of type {type(found).__name__}")
    return found


def _unsaid(name: str, got: str) -> ConfigError:
    return ConfigError(
        "the dataset does not say what it is about",
        where=name,
        got=got,
        expected="`ABOUT = About(...)`, see refit.dataset_card",
        do="mend the module, or delete it: it is not needed",
    )


def parse(stored: Mapping[str, Any]) -> About:
    """As `asdict` and JSON left it."""
    words = {key: str(stored.get(key, "")) for key in ("title", "intended_use", "source")}
    return About(**words, limits=tuple(map(str, stored.get("limits", ()))))
