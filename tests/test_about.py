"""The description of a dataset."""

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


def test_a_description_is_read_stored_and_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It survives JSON; a dataset without one has an empty description."""
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "from refit.dataset_card import About\nABOUT = About(title='T', limits=('one', 'two'))\n"
    about = dataset_card.read(module(tmp_path, text, "wordy"))
    assert about == About(title="T", limits=("one", "two"))
    assert dataset_card.parse(asdict(about)) == about
    assert dataset_card.read(module(tmp_path, None, "silent")) == About()
    assert dataset_card.read("a_dataset_that_is_not_here") == About()


@pytest.mark.parametrize(
    ("text", "got"),
    [("ABOUT = 'words'", "type str"), ("", "NoneType"), ("ABOUT = (", "SyntaxError")],
)
def test_a_wrong_module_is_one_paragraph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, got: str
) -> None:
    """The error names the module, what is wrong, and that the module is not needed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    name = module(tmp_path, text, f"wrong_{len(text)}")
    with pytest.raises(ConfigError, match=rf"{name}\.about.*{got}.*not needed"):
        dataset_card.read(name)
    sys.modules.pop(name, None)
