"""The review of a decision, logged to the version: page, model card, and description.

It comes after the decision and is no part of it: a review that cannot be made or sent costs one
warning, the decision stands, and `refit review` makes the page at any time.
"""

import sys
from contextlib import suppress
from pathlib import Path

from refit.core.errors import RefitError
from refit.registry.registry import Registry
from refit.registry.version import Version, reviewed_tag
from refit.review import build, html, model_card
from refit.workspace import servers
from refit.workspace.project import mlflow_uri


def file_name(version: int) -> str:
    """The page's name among the artifacts of the version's run."""
    return f"review-{version}.html"


def publish(root: Path, registry: Registry, version: int, key: str) -> str:
    """Make the review of a decision and log it.

    Args:
        root: of the project.
        registry: of the project.
        version: that was decided about.
        key: of the decision.

    Returns:
        Where it is to be seen, as Markdown; empty when it could not be made.
    """
    try:
        _log(root, registry, registry.versions.get(version), key)
        registry.tags.set(version, {reviewed_tag(key): "yes"})
        return where(root, registry, registry.versions.get(version))
    except Exception as error:  # noqa: BLE001 - no fault of a page may fail a decision that stands
        said = str(error) if isinstance(error, RefitError) else f"{type(error).__name__}: {error}"
        print(f"warning: the review could not be made: {said}", file=sys.stderr, flush=True)
        with suppress(RefitError):  # one warning is enough, unless the registry itself is lost
            registry.tags.set(version, {reviewed_tag(key): "no"})
        return ""


def _log(root: Path, registry: Registry, version: Version, key: str) -> None:
    review = build.of_version(root, registry, version, key)
    texts = {
        file_name(version.number): html.render(review),
        model_card.file_name(version.number): model_card.markdown(review),
    }
    registry.artifacts.attach(version, texts, model_card.description(review))


def where(root: Path, registry: Registry, version: Version) -> str:
    """A link into MLflow where it is served, and the command that writes the page anywhere."""
    name, command = file_name(version.number), f"`refit review {version.number}`"
    uri, own = mlflow_uri(root), servers.running(root).get("mlflow")
    server = uri if uri.startswith("http") else own.url if own else ""
    if not server:
        return f"The whole review: {command} writes {name}.\n"
    link = registry.artifacts.url(version, name, server.rstrip("/"))
    return f"The whole review: [{name}]({link}), or {command}.\n"
