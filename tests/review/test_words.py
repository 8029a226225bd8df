"""The review as text: model card, terminal, and what is logged with a decision."""

import io
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from refit.registry.artifacts import DESCRIPTION_LIMIT
from refit.registry.registry import Registry
from refit.registry.version import REVIEWED
from refit.review import build, data_report, html, model_card, publish, terminal
from refit.review.build import Review
from refit.review.estimate import Estimate
from refit.tracking.client import connect
from tests.conftest import Project
from tests.review.conftest import HOSTILE


def review(root: Path, number: int) -> Review:
    registry = Registry.open(root, "pumps")
    return build.review_version(root, registry, registry.versions.get(number))


def printed(shown: Review, width: int) -> str:
    out = io.StringIO()
    terminal.print_review(shown, Console(file=out, width=width, highlight=False))
    return out.getvalue()


@given(st.text(alphabet="a_*`[]<>|#\\~ 1.-", min_size=1, max_size=40))
def test_escaped_text_is_shown_as_it_is(text: str) -> None:
    """Markdown shows any text of a table cell as it is, without markup."""
    html = (
        MarkdownIt("commonmark")
        .enable("table")
        .render(f"| head |\n| --- |\n| x{model_card.escape(text)}x |\n")
    )
    cell = html.partition("<td>")[2].partition("</td>")[0]
    shown = cell.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
    assert shown.replace("&amp;", "&") == f"x{text}x"


@pytest.mark.slow
def test_the_card_is_written_from_evidence(pumps: Path) -> None:
    """It has the dataset's description, metrics, limits, and the command that reproduces the version."""
    version = review(pumps, 2)
    text = model_card.markdown(version)
    assert "To test a pipeline" in text
    assert "Made of random numbers." in text
    assert f"refit reproduce {version.version}" in text
    assert HOSTILE not in text
    assert model_card.escape(HOSTILE) in text
    for row in version.slices:
        assert f"{row.rows:,}" in text


@pytest.mark.slow
def test_the_version_is_described_by_its_card(pumps: Path) -> None:
    """The description has the verdict, the gates that did not pass, and the sections that fit."""
    version = review(pumps, 2)
    text = connect(pumps).get_model_version("pumps", "2").description
    assert text == model_card.description(version)
    assert text.startswith(f"**{model_card.escape(version.sentence)}**")
    for gate in (gate for _, group in version.groups for gate in group if gate.result != "pass"):
        assert model_card.escape(f"{gate.name}: {gate.result}") in text
    for heading in ("Intended use", "Limits", "How to reproduce it"):
        assert f"## {heading}" in text
    long = model_card.description(replace(version, slices=version.slices * 300))
    assert len(long) <= DESCRIPTION_LIMIT
    assert "## By slice" not in long
    assert "## How to reproduce it" in long
    assert "`model-card-2.md`" in long


@pytest.mark.slow
def test_a_long_report_is_cut_for_the_database(pumps: Path, tmp_path: Path) -> None:
    """The description takes whole lines of it, the file takes everything."""
    copy = Project(pumps).copy_with_registry(tmp_path / "copy").root
    registry = Registry.open(copy, "pumps")
    (report,) = (copy / ".refit/mlartifacts").rglob("decision-2.md")
    registry.artifacts.log_evaluation(
        registry.versions.get(2), metrics={}, folders={}, report="a line\n" * 999, inputs={}
    )
    assert report.read_text() == "a line\n" * 999
    text = connect(copy).get_model_version("pumps", "2").description
    assert text == "a line\n" * (DESCRIPTION_LIMIT // len("a line\n"))


@pytest.mark.slow
@pytest.mark.parametrize("width", [50, 80, 140])
def test_the_terminal_shows_everything(pumps: Path, width: int) -> None:
    """It fits the width, has no colours in a pipe, and shows text from data as it is."""
    version = review(pumps, 2)
    lines = printed(version, width)
    assert max(map(len, lines.splitlines())) <= width
    assert "\x1b" not in lines
    assert "".join(version.sentence.split()) in "".join(lines.split())
    assert HOSTILE in lines or width < 140  # narrower, it is folded in its column
    for heading in ("Gates", "Side by side", "Slices", "What changed", "Data", "Lineage"):
        assert f"\n{heading}" in lines


@pytest.mark.slow
def test_a_page_that_cannot_be_drawn_fails_no_decision(
    pumps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is one warning; the decision and the description stay as they were."""
    copy = tmp_path / "copy"
    shutil.copytree(pumps, copy, symlinks=True)
    registry = Registry.open(copy)
    before = registry.versions.get(2)

    def broken(_: Review) -> str:
        raise MemoryError("no room to draw")

    monkeypatch.setattr(html, "render", broken)
    assert publish.publish(copy, registry, 2, before.decisions()[0]["key"]) == ""
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "the review could not be made: MemoryError: no room to draw" in text
    after = registry.versions.get(2)
    assert {t: v for t, v in after.tags.items() if before.tags.get(t) != v} == {
        t: "no" for t in after.tags if t.startswith(REVIEWED)
    }
    assert replace(after, tags=before.tags) == before


@pytest.mark.slow
def test_the_report_leads_to_the_page(pumps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link if MLflow is served; otherwise the command that writes the page."""
    registry = Registry.open(pumps, "pumps")
    version = registry.versions.get(2)
    assert "`refit review 2` writes review-2.html" in publish.where(pumps, registry, version)
    served = SimpleNamespace(url="http://127.0.0.1:5000")
    monkeypatch.setattr(publish.servers, "running", lambda _: {"mlflow": served})
    address = publish.where(pumps, registry, version).partition("(")[2].partition(")")[0]
    number = connect(pumps).get_run(version.run).info.experiment_id
    expected = f"/#/experiments/{number}/runs/{version.run}/artifacts/review-2.html"
    assert address == f"http://127.0.0.1:5000{expected}"


@pytest.mark.slow
def test_figures_that_were_not_measured_are_not_drawn(pumps: Path) -> None:
    """A decision without a comparison, as on an empty holdout, has a page, a card and a text."""
    version = review(pumps, 2)
    assert version.gain is not None
    nothing = Estimate(value=None)
    gates = tuple(
        (group, tuple(replace(gate, estimate=nothing, limit=None, rows=None) for gate in each))
        for group, each in version.groups
    )
    empty = replace(
        version,
        gain=replace(version.gain, estimate=nothing, minimum_detectable=None),
        groups=gates,
        metrics=tuple(
            replace(row, models=tuple((name, nothing) for name, _ in row.models))
            for row in version.metrics
        ),
        slices=tuple(replace(row, metric=nothing, gain=nothing) for row in version.slices),
        chart_data=None,
        tables=(),
        changes=None,
    )
    assert "n/a" in html.render(empty)
    assert "n/a" in printed(empty, 80)
    assert "n/a" in model_card.markdown(empty)


@pytest.mark.slow
def test_removed_and_emptied_rows_are_counted_apart(pumps: Path) -> None:
    """The page, the text and the card say how many rows were left out and how many lost outcomes."""
    report = {"rows": 400, "partitions": ["p1"], "removed": 1, "emptied": 8}
    tables = data_report.tables({"parcels": report | {"errors": [], "drift": []}})
    version = replace(review(pumps, 2), tables=tables)
    card = model_card.markdown(version)
    assert "1 row of parcels (0.25 %) broke a rule and was left out." in card
    assert "8 rows of parcels (2.00 %) broke a rule and were kept without their outcomes." in card
    assert "1 (0.25 %)  8 (2.00 %)" in re.sub(" {2,}", "  ", printed(version, 160))
    cells = re.sub("<[^>]+>", " ", html.render(version).partition("Kept without outcomes")[2])
    assert cells.split()[:8] == ["parcels", "p1", "400", "1", "0.25", "%", "8", "2.00"]
