"""Checks of JSON that comes from outside: every field that is used later has its type and bounds.

A check takes a value and where it stands, and yields a phrase for each problem. Fields that no
check names are left alone.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from refit.core.errors import DataError

Check = Callable[[Any, str], Iterator[str]]

LARGEST = 2**26
"""Bytes of a file that is read."""
DEEPEST = 32
"""Objects and lists within each other."""
LISTED = 3
"""Problems that an error lists."""
SHOWN = 60
"""Characters of a wrong value that an error shows."""


def read(path: Path, check: Check, *, where: str = "", do: str) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        path: of the file.
        check: of the object.
        where: the file is, for a person; its path if empty.
        do: how to get a right one.

    Raises:
        DataError: it cannot be read, or the check has found problems.
    """
    try:
        loaded: dict[str, Any] = _parsed(path)
        problems = list(islice(check(loaded, ""), LISTED + 1))
    except (OSError, ValueError) as error:
        problems = [str(error)]
    except RecursionError:
        problems = ["values that are nested too deep"]
    if problems:
        more = " and more" if len(problems) > LISTED else ""
        raise DataError(
            f"{path.name} is not what it must be",
            where=where or str(path),
            got="; ".join(problems[:LISTED]) + more,
            do=do,
        )
    return loaded


def _parsed(path: Path) -> Any:
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"{size:,} bytes, more than {LARGEST:,}")
    content = path.read_text(encoding="utf-8")
    loaded = json.loads(content, parse_constant=_no_number)
    if _too_deep(loaded, DEEPEST):
        raise ValueError(f"values that are nested more than {DEEPEST} deep")
    if "\\u" in content:
        json.dumps(loaded, ensure_ascii=False).encode()  # half of a pair can never be printed
    return loaded


def _too_deep(value: Any, allowed: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return allowed == 0 or any(
        _too_deep(each, allowed - 1) for each in inner if isinstance(each, dict | list)
    )


def _no_number(name: str) -> float:
    raise ValueError(f"{name}, which is no number of JSON")


def text(value: Any, at: str) -> Iterator[str]:
    """A text."""
    if not isinstance(value, str):
        yield _wrong(at, value, "text")


def boolean(value: Any, at: str) -> Iterator[str]:
    """A Boolean."""
    if not isinstance(value, bool):
        yield _wrong(at, value, "true or false")


def matching(pattern: str, what: str) -> Check:
    """A text that matches the pattern as a whole."""
    whole = re.compile(pattern)

    def check(value: Any, at: str) -> Iterator[str]:
        if not isinstance(value, str) or whole.fullmatch(value) is None:
            yield _wrong(at, value, what)

    return check


digest = matching(r"[0-9a-f]{64}", "a digest of 64 hexadecimal digits")
commit = matching(r"[0-9a-f]{40}", "a commit of 40 hexadecimal digits")
name = matching(r"(?s).*\S.*", "a text that is not empty")


def one_of(words: Collection[str]) -> Check:
    """One of the words."""

    def check(value: Any, at: str) -> Iterator[str]:
        if not isinstance(value, str) or value not in words:
            yield _wrong(at, value, f"one of {', '.join(words)}")

    return check


def number(lowest: float = -math.inf, highest: float = math.inf) -> Check:
    """A finite number within the bounds."""

    def check(value: Any, at: str) -> Iterator[str]:
        real = isinstance(value, int | float) and not isinstance(value, bool)
        if not real or not lowest <= value <= highest or not abs(value) <= MAXIMUM:
            yield _wrong(at, value, f"a finite number{_bounds(lowest, highest)}")

    return check


MAXIMUM = 1.7976931348623157e308
"""The largest finite number; integers of JSON have no bound."""


def integer(lowest: int, highest: int) -> Check:
    """A whole number within the bounds."""

    def check(value: Any, at: str) -> Iterator[str]:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not lowest <= value <= highest:
            yield _wrong(at, value, f"a whole number{_bounds(lowest, highest)}")

    return check


def optional(inner: Check) -> Check:
    """null, or what the inner check takes."""

    def check(value: Any, at: str) -> Iterator[str]:
        if value is not None:
            yield from inner(value, at)

    return check


def items(inner: Check, *, least: int = 0, unique: bool = False) -> Check:
    """A list of at least so many values."""

    def check(value: Any, at: str) -> Iterator[str]:
        if not isinstance(value, list) or len(value) < least:
            yield _wrong(at, value, f"a list of {least} or more" if least else "a list")
            return
        problems = [p for place, item in enumerate(value) for p in inner(item, f"{at}[{place}]")]
        yield from problems
        if unique and not problems and len(set(value)) < len(value):
            yield from twice(at, next(v for v, count in Counter(value).items() if count > 1))

    return check


def table(inner: Check, *, least: int = 0) -> Check:
    """An object whose values all pass the inner check, with at least so many of them."""

    def check(value: Any, at: str) -> Iterator[str]:
        if not isinstance(value, dict) or len(value) < least:
            yield _wrong(
                at, value, f"an object with {least} or more names" if least else "an object"
            )
            return
        for key, item in value.items():
            yield from inner(item, _within(at, key))

    return check


def record(**fields: Check) -> Check:
    """An object with these fields; it may have others."""

    def check(value: Any, at: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield _wrong(at, value, "an object")
            return
        for key, inner in fields.items():
            if key in value:
                yield from inner(value[key], _within(at, key))
            else:
                yield f"no {_within(at, key)}"

    return check


def extended(inner: Check, **fields: Check) -> Check:
    """What the inner check takes; these fields of it may be missing."""

    def check(value: Any, at: str) -> Iterator[str]:
        yield from inner(value, at)
        if isinstance(value, dict):
            for key in fields.keys() & value.keys():
                yield from fields[key](value[key], _within(at, key))

    return check


def twice(at: str, value: str) -> Iterator[str]:
    """That a value which names something does so twice."""
    yield f"{at} has {_shown(value)} twice"


def anything(value: Any, at: str) -> Iterator[str]:
    """Any value."""
    del value, at
    yield from ()


def _within(at: str, key: str) -> str:
    return f"{at}.{_cut(key)}" if at else _cut(key)


def _wrong(at: str, value: Any, expected: str) -> str:
    return f"{at or 'the whole'} is {_shown(value)}, expected {expected}"


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "a number of too many digits"  # Python refuses to write some of them
    return _cut(json.dumps(value))


def _cut(shown: str) -> str:
    """A foreign text, cut where it is long, its control characters escaped."""
    return repr(shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}...")[1:-1]


def _bounds(lowest: float, highest: float) -> str:
    if math.isinf(lowest) and math.isinf(highest):
        return ""
    return f" from {lowest:g} to {highest:g}" if not math.isinf(highest) else f" from {lowest:g}"
