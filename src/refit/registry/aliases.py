"""The aliases of the registered model: copies of what the ledger says, for MLflow's other users."""

from typing import TYPE_CHECKING

from refit.core.errors import RegistryError
from refit.registry.client import Connection
from refit.registry.ledger import Ledger
from refit.tracking import errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
"""The version that is live."""
CHALLENGER = "challenger"
"""The version that waits for a person."""


def expected_aliases(ledger: Ledger) -> dict[str, int | None]:
    """The number that each alias must name by the ledger; None where it must not be set."""
    return {CHAMPION: ledger.champion, CHALLENGER: ledger.waiting}


class Aliases:
    """The aliases of a registered model."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, alias: str) -> int | None:
        """The number that an alias names, even if that version was deleted."""
        try:
            with self._connection.reading(f"the alias {alias} cannot be read") as client:
                aliases = client.get_registered_model(self._connection.name).aliases
        except RegistryError as error:
            if errors.is_missing(error):
                return None
            raise
        return int(aliases[alias]) if alias in aliases else None

    def set(self, alias: str, number: int | None) -> None:
        """Let the alias name the version; None deletes the alias."""

        def write(client: "MlflowClient") -> None:
            name = self._connection.name
            if number is None:
                client.delete_registered_model_alias(name, alias)
            else:
                client.set_registered_model_alias(name, alias, str(number))

        self._connection.write(f"the alias {alias} cannot be set", write)
