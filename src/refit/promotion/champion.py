"""The champion: the version that a candidate is compared with, read once from the registry."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from refit.promotion import registered
from refit.registry.registry import Registry
from refit.registry.version import Version

if TYPE_CHECKING:
    from refit.serving.bundle import Bundle


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The version that is live."""

    number: int
    bundle: "Bundle"
    trained_on: frozenset[str]
    """Partitions of the training and validation parts; of a release fit, those of its twin.

    Training rows shaped its weights, validation rows chose its epoch and its thresholds. On both,
    it looks better than it is. A release fit has learnt its holdout, too, so it is compared by its
    twin.
    """
    since: datetime
    """When it became champion, in UTC."""


def load(registry: Registry, version: Version, since: datetime) -> Champion:
    """The champion, its bundle checked.

    Raises:
        RegistryError: its bundle or lineage is not the one that was registered, or does not pass
            the check.
    """
    parts = registry.artifacts.lineage(version)["partitions"]
    return Champion(
        number=version.number,
        bundle=registered.load(registry, version),
        trained_on=frozenset((*parts["train"], *parts["validation"])),
        since=since,
    )
