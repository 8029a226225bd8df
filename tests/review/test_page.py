"""The page: complete, safe, accessible, and the same bytes each time."""

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
    """The parts of a page that the tests check."""

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
            described = named.get("aria-hidden") == "true" or bool(named.get("aria-label"))
            self.drawings.append(described)
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
    return html.render(build.review_version(root, registry, registry.versions.get(number)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "dataset",
    ["pumps", *(pytest.param(d, marks=pytest.mark.heavy) for d in ("parcels", "meters", "calls"))],
)
def test_the_page_is_complete_and_loads_nothing(
    decided: Callable[[str], Path], dataset: str
) -> None:
    """For every task: tags are closed, ids unique, references internal, drawings described."""
    root = decided(dataset)
    for number in (1, 2):
        text = render(root, dataset, number)
        page = Page(text)
        assert not page.open
        repeated = [name for name, count in Counter(page.every("id")).items() if count > 1]
        assert not repeated
        for reference in (*page.every("href"), *page.every("src"), *page.every("xlink:href")):
            assert reference.startswith("#")
            assert reference[1:] in page.every("id")
        assert not {"script", "link", "img", "iframe", "object"} & {tag for tag, _ in page.tags}
        assert "url(http" not in text
        assert "@import" not in text
        assert all(page.drawings)
        assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
        labelled = [attrs for _, attrs in page.tags if attrs.get("role") == "img"]
        assert len(labelled) == 2  # calibration, and ROC or residuals
        assert all(len(attrs["aria-label"]) > 40 for attrs in labelled)


@pytest.mark.slow
def test_the_page_has_every_part(pumps: Path) -> None:
    """The verdict comes first, and the contents link to a heading for each part of the review."""
    text = render(pumps, "pumps", 2)
    page = Page(text)
    parts = ["verdict", "gates", "metrics", "charts", "slices", "changes", "data", "lineage"]
    assert [name[1:] for name in page.every("href")][: len(parts)] == parts
    registry = Registry.open(pumps, "pumps")
    (decision,) = registry.versions.get(2).decisions()
    words = "".join(page.text)
    assert words.index(decision["sentence"]) < words.index("Every gate of the policy")
    for gate in decision["evidence"]["gates"]:
        assert gate["summary"] in words


@pytest.mark.slow
def test_the_same_version_gives_the_same_bytes(pumps: Path) -> None:
    """Rendered again, and as it was logged with the decision."""
    again = render(pumps, "pumps", 2)
    assert render(pumps, "pumps", 2) == again
    logged = list((pumps / ".refit").rglob("review-2.html"))
    assert [path.read_text() for path in logged] == [again]


@pytest.mark.slow
def test_names_from_data_are_text(pumps: Path) -> None:
    """A slice named as a script, and markup in the dataset's description, are shown as text."""
    text = render(pumps, "pumps", 2)
    words = "".join(Page(text).text)
    assert HOSTILE in words
    assert HOSTILE not in text
    assert "never to run <b>a pump</b>" in words
