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
        ConfigError: the module says no ABOUT.
    """
    if importlib.util.find_spec(f"{dataset}.{MODULE}") is None:
        return About()
    found = getattr(importlib.import_module(f"{dataset}.{MODULE}"), "ABOUT", None)
    if not isinstance(found, About):
        raise ConfigError(
            "the module does not say ABOUT",
            where=f"{dataset}.{MODULE}",
            got=type(found).__name__,
            expected="`ABOUT = About(...)`, see refit.about",
        )
    return found


def parse(stored: Mapping[str, Any]) -> About:
    """As `asdict` and JSON left it."""
    words = {key: str(stored.get(key, "")) for key in ("title", "intended_use", "source")}
    return About(**words, limits=tuple(map(str, stored.get("limits", ()))))
