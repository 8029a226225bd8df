"""What a dataset says of itself in words."""

import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from refit import dataset_card
from refit.core.errors import ConfigError
from refit.dataset_card import About


def module(folder: Path, text: str | None, name: str) -> str:
    (folder / name).mkdir()
    (folder / name / "__init__.py").touch()
    if text is not None:
        (folder / name / "about.py").write_text(text)
    return name


def test_words_are_read_kept_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they were written, through JSON; a dataset without them has none."""
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "from refit.dataset_card import About\nABOUT = About(title='T', limits=('one', 'two'))\n"
    said = dataset_card.read(module(tmp_path, text, "wordy"))
    assert said == About(title="T", limits=("one", "two"))
    assert dataset_card.parse(asdict(said)) == said
    assert dataset_card.read(module(tmp_path, None, "silent")) == About()
    assert dataset_card.read("a_dataset_that_is_not_here") == About()


@pytest.mark.parametrize(
    ("text", "got"),
    [("ABOUT = 'words'", "type str"), ("", "NoneType"), ("ABOUT = (", "SyntaxError")],
)
def test_a_wrong_module_is_one_paragraph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, got: str
) -> None:
    """It names the module, what is wrong, and that it may be left out."""
    monkeypatch.syspath_prepend(str(tmp_path))
    name = module(tmp_path, text, f"wrong_{len(text)}")
    with pytest.raises(ConfigError, match=rf"{name}\.about.*{got}.*not needed"):
        dataset_card.read(name)
    sys.modules.pop(name, None)
