"""params.yaml: one section per stage, read once into a frozen dataclass.

A section's class stands in the module that uses it, so that another stage's parameters are not
part of a stage's code. All errors of a section are collected and raised as one.
"""

import dataclasses
import difflib
import math
import re
from dataclasses import MISSING, field
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from refit.core import paths
from refit.core.errors import ConfigError

T = TypeVar("T")
C = TypeVar("C", bound=str)

LARGEST = 2**31 - 1
"""The largest whole number, unless a field says less. Every library takes it as a seed."""
LARGEST_FLOAT = 1e15
"""The largest number with a fraction, unless a field says less."""
SHOWN = 80
"""Characters of a wrong value that an error shows."""
LONGEST = 300
"""Characters of another program's message that an error shows."""
LISTED = 20
"""Errors that one error lists."""
QUOTES = "'\""


NUMBERS = {  # the tags of numbers, and what is one
    "tag:yaml.org,2002:int": r"[-+]?(0|[1-9][0-9]*)\Z",
    "tag:yaml.org,2002:float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z"
    r"|[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z",
}


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, where only a plain decimal number is a number.

    YAML 1.1 also reads `1:30` as 90, `010` as 8 and `1_0` as 10, which nobody means here. DVC reads
    params.yaml as YAML 1.2, which has none of the three.
    """


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in NUMBERS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in NUMBERS.items():
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), list("-+.0123456789"))


def param(
    help: str,  # noqa: A002 - the word that every command-line library uses
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """A field of a section: what it means (with its unit) and which values are allowed.

    A number without `maximum` may be at most LARGEST or LARGEST_FLOAT.
    """
    return field(
        metadata={"help": help, "minimum": minimum, "maximum": maximum, "choices": choices}
    )


def load(path: Path = paths.PARAMS) -> dict[str, Any]:
    """The whole file as plain values."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe loader
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "the parameters cannot be read",
            where=str(path),
            got=str(getattr(error, "strerror", error)),
            do="run this in the project's folder, or restore the file with `git checkout`",
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # A date that is none, an integer of thousands of digits, or nesting without end.
        raise ConfigError(
            "is not valid YAML",
            where=str(path),
            got=" ".join(str(error).split())[:LONGEST],
            do="correct the line that is named",
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(
            "holds no parameters",
            where=str(path),
            got=type(values).__name__,
            expected="sections, one for each stage",
        )
    return values


def dataset_name(path: Path = paths.PARAMS) -> str:
    """The dataset's package, `dataset:` in params.yaml."""
    name = load(path).get("dataset")
    if not isinstance(name, str) or not name.isidentifier():
        raise ConfigError(
            "`dataset` must name the dataset's package",
            where=str(path),
            got=_short(name),
            expected="the name of a package in src/, such as flights",
        )
    return name


def choice(key: str, choices: tuple[C, ...], path: Path = paths.PARAMS) -> C:
    """A value outside the sections, one of `choices`."""
    value = load(path).get(key)
    if value not in choices:
        raise ConfigError(
            f"`{key}` must be one of {', '.join(choices)}",
            where=str(path),
            got="nothing" if value is None else _short(value),
            do="correct this line; docs/params.md explains each parameter",
        )
    return choices[choices.index(value)]


def read(cls: type[T], section: str, path: Path = paths.PARAMS) -> T:
    """The section as an instance of `cls`, or one ConfigError that names every error in it."""
    values = load(path).get(section)
    if not isinstance(values, dict):
        raise ConfigError(
            f"section `{section}` is missing",
            where=str(path),
            got="nothing" if values is None else type(values).__name__,
            expected=f"a section with the keys {', '.join(_fields(cls))}",
        )
    return parse(cls, section, values, where=str(path))


def parse(cls: type[T], section: str, values: dict[str, Any], *, where: str = "params") -> T:
    """Check the values against the class's fields; see `read`."""
    fields, hints, errors, known = _fields(cls), get_type_hints(cls), [], {}
    for key in values.keys() - fields.keys():
        close = difflib.get_close_matches(str(key), fields, n=1)
        hint = f" (did you mean `{close[0]}`?)" if close else ""
        errors.append(f"`{section}.{_short(key).strip(QUOTES)}` is unknown{hint}")
    for key, entry in fields.items():
        if key not in values:
            errors.append(f"`{section}.{key}` is missing ({entry.metadata['help']})")
            continue
        value, error = _value(values[key], hints[key], entry)
        if error:
            errors.append(f"`{section}.{key}` {error}")
        known[key] = value
    if errors:
        more = f"; and {len(errors) - LISTED} more" if len(errors) > LISTED else ""
        raise ConfigError(
            "; ".join(sorted(errors)[:LISTED]) + more,
            where=f"{where}, {len(errors)} error{'s' * (len(errors) > 1)}",
            do="correct these lines; docs/params.md explains each parameter",
        )
    return cls(**known)


def _fields(cls: type) -> dict[str, dataclasses.Field[Any]]:
    return {entry.name: entry for entry in dataclasses.fields(cls) if entry.default is MISSING}


def _value(value: Any, hint: Any, entry: dataclasses.Field[Any]) -> tuple[Any, str]:
    """The value in the field's type, and what is wrong with it ('' when nothing is)."""
    if get_origin(hint) is tuple:
        item_type = get_args(hint)[0]
        if not isinstance(value, list) or not all(_is(item, item_type) for item in value):
            return value, f"is {_short(value)}, expected a list of {item_type.__name__}"
        return tuple(value), next(filter(None, (_range(v, entry) for v in value)), "")
    if hint is float and _is(value, int):
        value = float(value) if abs(value) <= LARGEST_FLOAT else math.copysign(math.inf, value)
    if not _is(value, hint):
        return value, f"is {_short(value)}, expected {_words(hint)}"
    return value, _range(value, entry)


def _is(value: Any, hint: Any) -> bool:
    return isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool)


def _words(hint: Any) -> str:
    return {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}.get(
        hint, str(hint)
    )


def _range(value: Any, entry: dataclasses.Field[Any]) -> str:
    low, high, choices = (entry.metadata[key] for key in ("minimum", "maximum", "choices"))
    if choices is not None and value not in choices:
        return f"is {_short(value)}, expected one of {', '.join(map(str, choices))}"
    if isinstance(value, float) and math.isnan(value):
        return "is not a number (NaN)"
    if isinstance(value, int | float) and not isinstance(value, bool):
        largest = LARGEST if isinstance(value, int) else LARGEST_FLOAT
        low, high = (-largest if low is None else low), (largest if high is None else high)
        if value < low:
            return f"is {_short(value)}, expected at least {low}"
        if value > high:
            return f"is {_short(value)}, expected at most {high}"
    return ""


def _short(value: Any) -> str:
    """The value as the error shows it: not pages of it."""
    try:
        text = repr(value)
    except ValueError:  # Python prints no integer of thousands of digits
        text = "a number of thousands of digits"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
