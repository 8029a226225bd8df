"""The grade of a reproduction: what was measured, never more.

- machine: a new process on a processor of the same kind gave the same bytes;
- threads: so did processes with 1, 2 and 4 threads;
- any-x86: so did a processor of another maker, or with other instruction sets.
"""

from collections.abc import Iterable
from typing import Literal

from refit.workspace.machine import Machine

Grade = Literal["machine", "threads", "any-x86"]
GRADES: tuple[Grade, ...] = ("machine", "threads", "any-x86")
"""From the lowest to the highest."""
THREADS = (1, 2, 4)
"""Thread counts that the grade `threads` needs."""


def measured_grade(
    made_on: Machine | None, reproduced_on: Machine, threads: tuple[int, ...]
) -> Grade:
    """The grade of the same bytes.

    Args:
        made_on: the version's machine; None if unknown.
        reproduced_on: the machine of the reproduction.
        threads: thread counts of its runs.
    """
    if made_on is not None and not made_on.same_kind(reproduced_on):
        return "any-x86"
    return "threads" if set(THREADS) <= set(threads) else "machine"


def best_grade(grades: Iterable[str]) -> Grade | None:
    """The highest of the grades; None if there is none among them."""
    reached = set(grades)
    return next((grade for grade in reversed(GRADES) if grade in reached), None)
