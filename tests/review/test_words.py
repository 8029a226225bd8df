"""The review in words: model card, terminal, and what is logged with a decision."""

import io
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
from refit.review import build, html, model_card, publish, terminal
from refit.review.comparison import Estimate
from refit.tracking.client import connect
from tests.review.conftest import HOSTILE


def review(root: Path, number: int) -> build.Review:
    registry = Registry.open(root)
    return build.of_version(root, registry, registry.versions.get(number))


def printed(found: build.Review, width: int) -> str:
    out = io.StringIO()
    terminal.print_review(found, Console(file=out, width=width, highlight=False))
    return out.getvalue()


@given(st.text(alphabet="a_*`[]<>|#\\~ 1.-", min_size=1, max_size=40))
def test_escaped_text_is_shown_as_it_is(said: str) -> None:
    """Whatever a table cell holds, Markdown shows its characters and makes no markup of them."""
    html = (
        MarkdownIt("commonmark")
        .enable("table")
        .render(f"| head |\n| --- |\n| x{model_card.escape(said)}x |\n")
    )
    cell = html.partition("<td>")[2].partition("</td>")[0]
    shown = cell.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
    assert shown.replace("&amp;", "&") == f"x{said}x"


@pytest.mark.slow
def test_the_card_is_written_from_evidence(pumps: Path) -> None:
    """Words of the dataset, figures of the evaluation, limits that were found, and how to repeat."""
    found = review(pumps, 2)
    told = model_card.markdown(found)
    assert "To test a pipeline" in told
    assert "Made of random numbers." in told
    assert f"refit reproduce {found.version}" in told
    assert HOSTILE not in told
    assert model_card.escape(HOSTILE) in told
    for row in found.slices:
        assert f"{row.rows:,}" in told


@pytest.mark.slow
def test_the_version_is_described_by_its_card(pumps: Path) -> None:
    """Verdict, gates that did not pass, and what fits of the card into MLflow's database."""
    found = review(pumps, 2)
    told = connect(pumps).get_model_version("pumps", "2").description
    assert told == model_card.description(found)
    assert told.startswith(f"**{model_card.escape(found.sentence)}**")
    for gate in (gate for _, group in found.groups for gate in group if gate.result != "pass"):
        assert model_card.escape(f"{gate.name}: {gate.result}") in told
    for heading in ("Intended use", "Limits", "How to make it again"):
        assert f"## {heading}" in told
    long = model_card.description(replace(found, slices=found.slices * 300))
    assert len(long) <= DESCRIPTION_LIMIT
    assert "## By slice" not in long
    assert "## How to make it again" in long
    assert "`model-card-2.md`" in long


@pytest.mark.slow
def test_a_long_report_is_cut_for_the_database(pumps: Path, tmp_path: Path) -> None:
    """The description takes whole lines of it, the file of the decision takes all."""
    copy = tmp_path / "copy"
    shutil.copytree(pumps, copy, symlinks=True)
    registry = Registry.open(copy)
    (report,) = (pumps / ".refit/mlartifacts").rglob("decision-2.md")  # MLflow knows no other place
    before = report.read_bytes()
    registry.artifacts.log_evaluation(
        registry.versions.get(2), metrics={}, folders={}, report="a line\n" * 999, inputs={}
    )
    assert report.read_text() == "a line\n" * 999
    report.write_bytes(before)
    told = connect(copy).get_model_version("pumps", "2").description
    assert told == "a line\n" * (DESCRIPTION_LIMIT // len("a line\n"))


@pytest.mark.slow
@pytest.mark.parametrize("width", [50, 80, 140])
def test_the_terminal_is_told_everything(pumps: Path, width: int) -> None:
    """Within the width of the terminal, plain where there is none, text from data as it is."""
    found = review(pumps, 2)
    lines = printed(found, width)
    assert max(map(len, lines.splitlines())) <= width
    assert "\x1b" not in lines
    assert "".join(found.sentence.split()) in "".join(lines.split())
    assert HOSTILE in lines or width < 140  # narrower, it is folded in its column
    for heading in ("Gates", "Side by side", "Slices", "What changed", "Data", "Lineage"):
        assert f"\n{heading}" in lines


@pytest.mark.slow
def test_a_page_that_cannot_be_drawn_fails_no_decision(
    pumps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One warning; what was decided and described before stays as it was."""
    copy = tmp_path / "copy"
    shutil.copytree(pumps, copy, symlinks=True)
    registry = Registry.open(copy)
    before = registry.versions.get(2)

    def broken(_: build.Review) -> str:
        raise MemoryError("no room to draw")

    monkeypatch.setattr(html, "render", broken)
    assert publish.publish(copy, registry, 2, before.decisions()[0]["key"]) == ""
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "the review could not be made: MemoryError: no room to draw" in told
    after = registry.versions.get(2)
    assert {t: v for t, v in after.tags.items() if before.tags.get(t) != v} == {
        t: "no" for t in after.tags if t.startswith(REVIEWED)
    }
    assert replace(after, tags=before.tags) == before


@pytest.mark.slow
def test_the_report_leads_to_the_page(pumps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link where MLflow is served; elsewhere the command that writes the page."""
    registry = Registry.open(pumps)
    version = registry.versions.get(2)
    assert "`refit review 2` writes review-2.html" in publish.where(pumps, registry, version)
    served = SimpleNamespace(url="http://127.0.0.1:5000")
    monkeypatch.setattr(publish.servers, "running", lambda _: {"mlflow": served})
    address = publish.where(pumps, registry, version).partition("(")[2].partition(")")[0]
    number = connect(pumps).get_run(version.run).info.experiment_id
    expected = f"/#/experiments/{number}/runs/{version.run}/artifacts/review-2.html"
    assert address == f"http://127.0.0.1:5000{expected}"


@pytest.mark.slow
def test_what_was_never_measured_is_drawn_as_nothing(pumps: Path) -> None:
    """A decision without a comparison, as on an empty holdout, has a page, a card and a text."""
    found = review(pumps, 2)
    assert found.gain is not None
    nothing = Estimate(value=None)
    gates = tuple(
        (group, tuple(replace(gate, estimate=nothing, limit=None, rows=None) for gate in each))
        for group, each in found.groups
    )
    empty = replace(
        found,
        gain=replace(found.gain, estimate=nothing, minimum_detectable=None),
        groups=gates,
        metrics=tuple(
            replace(row, models=tuple((name, nothing) for name, _ in row.models))
            for row in found.metrics
        ),
        slices=tuple(replace(row, metric=nothing, gain=nothing) for row in found.slices),
        curves=None,
        tables=(),
        changes=None,
    )
    assert "n/a" in html.render(empty)
    assert "n/a" in printed(empty, 80)
    assert "n/a" in model_card.markdown(empty)
