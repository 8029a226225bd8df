"""params.yaml: one error names every problem, and no value is guessed."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from refit.core import params
from refit.core.errors import ConfigError
from refit.core.params import param
from refit.workspace import memory


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section with one field of each kind."""

    rate: float = param("peak rate", minimum=0)
    epochs: int = param("passes", minimum=1, maximum=10)
    metric: str = param("name", choices=("a", "b"))
    parts: tuple[str, ...] = param("names")


def test_reads_a_section(tmp_path: Path) -> None:
    """A correct section becomes the dataclass. Whole numbers are accepted as floats."""
    path = tmp_path / "params.yaml"
    path.write_text("s: {rate: 1, epochs: 3, metric: a, parts: [x, y]}\n")
    assert params.read(Section, "s", path) == Section(
        rate=1.0, epochs=3, metric="a", parts=("x", "y")
    )


def test_one_error_names_every_problem() -> None:
    """Unknown, missing, mistyped and out-of-range keys are all named, with the likely spelling."""
    with pytest.raises(ConfigError) as caught:
        params.parse(Section, "s", {"ratee": 1.0, "epochs": 11, "metric": "c", "parts": [1]})
    message = str(caught.value)
    assert "5 errors" in message
    assert "`s.ratee` is unknown (did you mean `rate`?)" in message
    assert "`s.rate` is missing (peak rate)" in message
    assert "`s.epochs` is 11, expected at most 10" in message
    assert "`s.metric` is 'c', expected one of a, b" in message
    assert "`s.parts` is [1], expected a list of str" in message


@pytest.mark.parametrize("value", [True, "3", None, 2.5])
def test_whole_numbers_are_strict(value: object) -> None:
    """A Boolean, a word or a fraction is not accepted as a whole number."""
    with pytest.raises(ConfigError, match="expected a whole number"):
        params.parse(Section, "s", {"rate": 1, "epochs": value, "metric": "a", "parts": []})


def test_missing_file_and_section_and_broken_yaml(tmp_path: Path) -> None:
    """A missing file, a missing section and invalid YAML have an error each."""
    path = tmp_path / "params.yaml"
    with pytest.raises(ConfigError, match="cannot be read"):
        params.read(Section, "s", path)
    path.write_text("t: {}\n")
    with pytest.raises(ConfigError, match="section `s` is missing"):
        params.read(Section, "s", path)
    path.write_text("s: {a: [\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        params.read(Section, "s", path)
    path.write_text("dataset: not a name\n")
    with pytest.raises(ConfigError, match="must name the dataset's package"):
        params.dataset_name(path)


@pytest.mark.parametrize(
    "text", ["1:30", "1_0", "0x10", ".nan", ".inf", "-.inf", "1e16", "10" + "0" * 30]
)
def test_only_finite_decimal_numbers_are_numbers(tmp_path: Path, text: str) -> None:
    """NaN, infinity, 1:30 (90 in YAML 1.1) and numbers that no computation survives are refused."""
    path = tmp_path / "params.yaml"
    for section in (f"{{rate: {text}, epochs: 1}}", f"{{rate: 1, epochs: {text}}}"):
        path.write_text(f"s: {section[:-1]}, metric: a, parts: []}}\n")
        with pytest.raises(ConfigError, match=r"1 error.*`s\.(rate|epochs)` is"):
            params.read(Section, "s", path)


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"s: 2024-13-45", b"s: " + b"[" * 5000, b"s: " + b"9" * 5000, b"? {a: 1}\n: 2"],
    ids=["no UTF-8", "no date", "deep", "long number", "odd key"],
)
def test_a_hostile_file_is_one_short_error(tmp_path: Path, content: bytes) -> None:
    """Whatever the bytes are, the error is a short paragraph."""
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        params.read(Section, "s", path)
    assert len(str(caught.value)) < 1000


def test_an_error_is_never_long() -> None:
    """Long values, long keys and many errors are cut."""
    values = {"rate": "x" * 10**6, "y" * 10**6: 1, **{f"k{i}": 0 for i in range(10**4)}}
    with pytest.raises(ConfigError, match=r"and 9,?\d+ more") as caught:
        params.parse(Section, "s", values)
    assert len(str(caught.value)) < 2500


def test_memory_is_asked_for_before_it_is_taken() -> None:
    """What does not fit is an error that names the parameters; what fits is not."""
    memory.require(1, "a thing", where="here", do="less")
    with pytest.raises(ConfigError, match=r"a thing needs more memory.*1,000,000\.0 GiB"):
        memory.require(10**6 * memory.GIB, "a thing", where="here", do="less")
