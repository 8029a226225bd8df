"""`refit review` and `refit compare` as a person types them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from refit.cli import app
from refit.core.errors import RegistryError

RUNNER = CliRunner()
pytestmark = pytest.mark.slow


def call(*words: str) -> str:
    done = RUNNER.invoke(app.app, list(words), catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_a_page_is_written_where_it_was_asked_for(
    pumps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a folder within the project, the path is the caller's own; two pages are the same."""
    monkeypatch.chdir(pumps / "data")
    one, two = tmp_path / "one.html", tmp_path / "deeper/two.html"
    assert "Version 2 is" in call("review", "2", "--output", str(one))
    monkeypatch.chdir(pumps / "data")
    call("review", "-o", str(two))
    assert one.read_bytes() == two.read_bytes()
    assert one.read_text().startswith("<!doctype html>")


def test_the_terminal_and_comparison(
    pumps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text where it was asked for; a comparison is text unless a page is."""
    monkeypatch.chdir(pumps)
    assert "Side by side" in call("review", "@champion", "--text")
    assert "version 2 against version 1" in call("compare", "1", "2")
    page = tmp_path / "compared.html"
    call("compare", "1", "2", "--output", str(page))
    assert "refit compare 1 2" in page.read_text()
    with pytest.raises(RegistryError, match="there is no version 9"):
        call("compare", "1", "9")
