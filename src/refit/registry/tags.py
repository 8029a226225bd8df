"""The tags of versions: what Refit writes onto a version after it was registered.

Decisions are tags, so that every client of the registry can read them.
"""

from collections.abc import Mapping

from refit.registry.client import Connection
from refit.registry.entry import text_digest
from refit.registry.version import Version, decision_tag, decision_tags


class Tags:
    """The tags of a registered model's versions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def set(self, number: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        for tag, value in tags.items():
            self._set(number, tag, value)

    def delete(self, number: int, tag: str) -> None:
        """Delete a tag of a version."""
        self._connection.write(
            "the version's tag cannot be deleted",
            lambda client: client.delete_model_version_tag(self._connection.name, str(number), tag),
        )

    def record_decision(self, number: int, key: str, text: str) -> None:
        """Record a decision, as JSON, on a version."""
        self.set(number, {decision_tag(key, text): text})

    def delete_other_decisions(self, version: Version, key: str, evidence: str) -> None:
        """Delete what other machines recorded for the decision `key`.

        Args:
            version: with its tags.
            key: of the decision.
            evidence: digest of the text that stays.
        """
        for tag, text in version.tags.items():
            if tag.startswith(decision_tags(key)) and text_digest(text) != evidence:
                self.delete(version.number, tag)

    def _set(self, number: int, tag: str, value: str) -> None:
        self._connection.write(
            "the version cannot be tagged",
            lambda client: client.set_model_version_tag(
                self._connection.name, str(number), tag, value
            ),
        )
