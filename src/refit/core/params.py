"""params.yaml: one section per stage, read once into a frozen dataclass.

A section's class stands in the module that uses it, so that another stage's parameters are not
part of a stage's code. All errors of a section are collected and raised as one.
"""

import dataclasses
import difflib
from dataclasses import MISSING, field
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from refit.core import paths
from refit.core.errors import ConfigError

T = TypeVar("T")
C = TypeVar("C", bound=str)


def param(
    help: str,  # noqa: A002 - the word that every command-line library uses
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """A field of a section: what it means (with its unit) and which values are allowed."""
    return field(
        metadata={"help": help, "minimum": minimum, "maximum": maximum, "choices": choices}
    )


def load(path: Path = paths.PARAMS) -> dict[str, Any]:
    """The whole file as plain values."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            "the parameters cannot be read",
            where=str(path),
            got=error.strerror or str(error),
            do="run this in the project's folder, or restore the file with `git checkout`",
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(
            "is not valid YAML",
            where=str(path),
            got=" ".join(str(error).split()),
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
            got=repr(name),
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
            got="nothing" if value is None else repr(value),
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
        errors.append(f"`{section}.{key}` is unknown{hint}")
    for key, entry in fields.items():
        if key not in values:
            errors.append(f"`{section}.{key}` is missing ({entry.metadata['help']})")
            continue
        value, error = _value(values[key], hints[key], entry)
        if error:
            errors.append(f"`{section}.{key}` {error}")
        known[key] = value
    if errors:
        raise ConfigError(
            "; ".join(sorted(errors)),
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
            return value, f"is {value!r}, expected a list of {item_type.__name__}"
        return tuple(value), next(filter(None, (_range(v, entry) for v in value)), "")
    if hint is float and _is(value, int):
        value = float(value)
    if not _is(value, hint):
        return value, f"is {value!r}, expected {_words(hint)}"
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
        return f"is {value!r}, expected one of {', '.join(map(str, choices))}"
    if low is not None and value < low:
        return f"is {value}, expected at least {low}"
    if high is not None and value > high:
        return f"is {value}, expected at most {high}"
    return ""
