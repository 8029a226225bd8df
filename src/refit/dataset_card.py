"""The description of a dataset for people: what its model is for, and what it must not be used for.

A dataset may have a module `about` with the description as ABOUT. It becomes part of the model card
of each version. No stage reads it, so a change of the text does not run anything again.
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
    """A description in words; each field may be left empty. Plain text, no markup."""

    title: str = ""
    """What is predicted, in a few words."""
    intended_use: str = ""
    """Who may use the predictions, and for what."""
    source: str = ""
    """Where the data come from, and what they cover."""
    limits: tuple[str, ...] = ()
    """What the model does not know or must not be used for, a sentence each."""


def read(dataset: str) -> About:
    """The description of the dataset; empty if it has no module `about`.

    Raises:
        ConfigError: the module cannot be imported, or has no ABOUT.
    """
    name = f"{dataset}.{MODULE}"
    try:
        if importlib.util.find_spec(name) is None:
            return About()
        about = getattr(importlib.import_module(name), "ABOUT", None)
    except ModuleNotFoundError as error:
        if error.name in {dataset, name}:
            return About()
        raise _unreadable(name, str(error)) from error
    except Exception as error:  # importing a module may raise anything
        raise _unreadable(name, f"{type(error).__name__}: {error}") from error
    if not isinstance(about, About):
        raise _unreadable(name, f"ABOUT of type {type(about).__name__}")
    return about


def _unreadable(name: str, got: str) -> ConfigError:
    return ConfigError(
        "the description of the dataset cannot be read",
        where=name,
        got=got,
        expected="`ABOUT = About(...)`, see refit.dataset_card",
        do="correct the module, or delete it: it is not needed",
    )


def parse(stored: Mapping[str, Any]) -> About:
    """The description that `asdict` and JSON stored."""
    return About(**{**stored, "limits": tuple(stored["limits"])})
