"""The review of a decision, logged to the version: page, model card, and description.

It is made after the decision and is not part of it. If a review cannot be made or logged, one
warning is printed and the decision stands; `refit review` makes the page at any time.
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
        version: number of the version that was decided about.
        key: of the decision.

    Returns:
        A link to it as Markdown; empty if it could not be made.
    """
    try:
        _log(root, registry, registry.versions.get(version), key)
        registry.tags.set(version, {reviewed_tag(key): "yes"})
        return where(root, registry, registry.versions.get(version))
    except Exception as error:  # noqa: BLE001 - an error in a page must not fail a decision that stands
        text = str(error) if isinstance(error, RefitError) else f"{type(error).__name__}: {error}"
        print(f"warning: the review could not be made: {text}", file=sys.stderr, flush=True)
        with suppress(RefitError):  # a second warning would say the same
            registry.tags.set(version, {reviewed_tag(key): "no"})
        return ""


def _log(root: Path, registry: Registry, version: Version, key: str) -> None:
    review = build.review_version(root, registry, version, key)
    texts = {
        file_name(version.number): html.render(review),
        model_card.file_name(version.number): model_card.markdown(review),
    }
    registry.artifacts.attach(version, texts, model_card.description(review))


def where(root: Path, registry: Registry, version: Version) -> str:
    """A link into MLflow if a server runs, and the command that writes the page."""
    name, command = file_name(version.number), f"`refit review {version.number}`"
    uri, local = mlflow_uri(root), servers.running(root).get("mlflow")
    server = uri if uri.startswith("http") else local.url if local else ""
    if not server:
        return f"The whole review: {command} writes {name}.\n"
    link = registry.artifacts.url(version, name, server.rstrip("/"))
    return f"The whole review: [{name}]({link}), or {command}.\n"
