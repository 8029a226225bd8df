"""Text from outside as a terminal may show it: what would act on the terminal is written out.

Names, reasons and tags come from files, Git and the registry's database. A control character in
them could move the cursor, change the colours or the window's title, or reverse the order of the
letters that follow.
"""

import re

HOSTILE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, escapes among them
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # invisible, bidi
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"  # annotations, half characters, hidden tags
)
"""Characters that are shown as their code. Newlines and tabs stay; see `one_line`."""
MARKDOWN = {"&": "&amp;", "<": "&lt;", "|": "&#124;", "```": "&#96;" * 3, "](": "]&#40;"}
"""What would start HTML, a table's cell, a block of code or a link's address, and its escape."""


def printable(text: str) -> str:
    r"""The text with each control, invisible or bidi character as its code, such as `\x1b`."""
    return HOSTILE.sub(_code, text)


def one_line(text: str) -> str:
    """As `printable`, with newlines and tabs as codes too, so that no text looks like two lines."""
    return printable(text).replace("\n", r"\n").replace("\t", r"\t")


def markdown(text: str) -> str:
    """One line of text as Markdown that shows exactly it: no HTML, table cells, images or links."""
    text = one_line(text)
    for sign, written in MARKDOWN.items():
        text = text.replace(sign, written)
    return text


def _code(match: "re.Match[str]") -> str:
    number = ord(match.group())
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
