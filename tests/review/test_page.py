"""The page: whole, safe, accessible, and the same bytes each time."""

from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from refit.registry.registry import Registry
from refit.review import build, html
from tests.review.conftest import HOSTILE

VOID = frozenset(
    {"meta", "link", "br", "img", "hr", "input", "circle", "line", "rect", "path", "use"}
)


class Page(HTMLParser):
    """What the tests ask of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.hidden: list[bool] = []
        self.drawings: list[bool] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {key: value or "" for key, value in attrs}
        self.tags.append((tag, named))
        if tag == "svg":
            told = named.get("aria-hidden") == "true" or bool(named.get("aria-label"))
            self.drawings.append(told)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def every(self, attribute: str) -> list[str]:
        return [attrs[attribute] for _, attrs in self.tags if attribute in attrs]


def render(root: Path, dataset: str, number: int) -> str:
    registry = Registry.open(root, dataset)
    return html.render(build.of_version(root, registry, registry.versions.get(number)))


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["pumps", "parcels", "meters"])
def test_the_page_is_whole_and_needs_nothing(decided: Callable[[str], Path], dataset: str) -> None:
    """For every task: tags are closed, ids unique, references inside, drawings told in words."""
    root = decided(dataset)
    for number in (1, 2):
        text = render(root, dataset, number)
        found = Page(text)
        assert not found.open
        repeated = [name for name, count in Counter(found.every("id")).items() if count > 1]
        assert not repeated
        for reference in (*found.every("href"), *found.every("src"), *found.every("xlink:href")):
            assert reference.startswith("#")
            assert reference[1:] in found.every("id")
        assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in found.tags}
        assert "url(http" not in text
        assert "@import" not in text
        assert all(found.drawings)
        assert all("scope" in attrs for tag, attrs in found.tags if tag == "th")
        labelled = [attrs for _, attrs in found.tags if attrs.get("role") == "img"]
        assert len(labelled) == 2  # calibration, and ROC or residuals
        assert all(len(attrs["aria-label"]) > 40 for attrs in labelled)


@pytest.mark.slow
def test_the_page_has_every_part(pumps: Path) -> None:
    """Verdict first, and a heading that the contents lead to for each part of the review."""
    text = render(pumps, "pumps", 2)
    found = Page(text)
    parts = ["verdict", "gates", "metrics", "curves", "slices", "changes", "data", "lineage"]
    assert [name[1:] for name in found.every("href")][: len(parts)] == parts
    registry = Registry.open(pumps)
    (decision,) = registry.versions.get(2).decisions()
    words = "".join(found.text)
    assert words.index(decision["sentence"]) < words.index("Every gate of the policy")
    for gate in decision["evidence"]["gates"]:
        assert gate["summary"] in words


@pytest.mark.slow
def test_the_same_version_gives_the_same_bytes(pumps: Path) -> None:
    """Drawn again, and as it was logged when the decision was made."""
    again = render(pumps, "pumps", 2)
    assert render(pumps, "pumps", 2) == again
    logged = list((pumps / ".refit").rglob("review-2.html"))
    assert [path.read_text() for path in logged] == [again]


@pytest.mark.slow
def test_names_from_data_are_text(pumps: Path) -> None:
    """A slice named as a script, and markup in the dataset's words, are shown and never run."""
    text = render(pumps, "pumps", 2)
    words = "".join(Page(text).text)
    assert HOSTILE in words
    assert HOSTILE not in text
    assert "never to run <b>a pump</b>" in words
