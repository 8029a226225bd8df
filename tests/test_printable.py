"""Text from outside on a terminal and in Markdown: shown as it is, and never acted on."""

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from flows.report import report
from refit.cli.terminal import SafeConsole
from refit.core.errors import RegistryError
from refit.core.printable import markdown, one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("ann\u202eeve", r"ann\u202eeve"),
        ("\u2066\u200f\ufeff\u200b", r"\u2066\u200f\ufeff\u200b"),
        ("\U000e0041", r"\U000e0041"),
        ("\r\x7f\x9b", r"\x0d\x7f\x9b"),
        ("\ud800", r"\ud800"),
        ("Zoë, 東京, שלום, ☂\u200d\n\tyes", "Zoë, 東京, שלום, ☂\u200d\n\tyes"),
    ],
)
def test_hostile_characters_are_shown_as_codes(text: str, shown: str) -> None:
    """Everything that a person can read stays."""
    assert printable(text) == shown


@given(st.text())
def test_nothing_acts(text: str) -> None:
    """No control or half character is left, a second time changes nothing, one line is one line."""
    shown = printable(text)
    assert {unicodedata.category(each) for each in shown if each not in "\n\t"}.isdisjoint(
        {"Cc", "Cs", "Zl", "Zp"}
    )
    assert printable(shown) == shown
    assert len(one_line(text).splitlines()) <= 1


def test_the_console_and_errors_write_codes() -> None:
    """In plain text, markup, tables and errors."""
    console = SafeConsole(file=io.StringIO(), highlight=False, width=200)
    table = Table("name")
    table.add_row(Text("cell\x1b]0;title"))
    for each in (escape("plain\x1b[2J"), Text("bidi\u202e"), table):
        console.print(each)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(part in printed for part in (r"plain\x1b[2J", r"bidi\u202e", r"cell\x1b]0;"))
    assert str(RegistryError("odd", got="\x1b[2J")) == r"odd. Got \x1b[2J."


def test_markdown_shows_the_text() -> None:
    """HTML, cells of tables, blocks of code, links and images are text; an error is one block of code."""
    text = "<img src=x> a|b `c` ![d](http://e) &lt;\n# f"
    assert markdown(text) == ("&lt;img src=x> a&#124;b `c` ![d]&#40;http://e) &amp;lt;\\n# f")
    error = report([], "a ```\n<script>\x1b[2J")
    assert error.endswith("**Failed.**\n\n```\na '''\n<script>\\x1b[2J\n```\n")
