"""What a stage is heard to say while it runs, whether DVC ran or restored it, and how it failed.

Nothing here imports DVC: refit.pipeline.dvc does, and hands over its loggers, status and errors.
"""

import contextlib
import logging
import re
import signal
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

TAIL = 20
"""Lines of a failed stage's output that its error repeats."""
OWN = "refit: "
"""How the line begins with which a stage of Refit's explains its failure."""
INTERRUPTED = 130
"""The status of a stage that was ended by Ctrl-C, as a shell reports it."""
NOT_CACHED = "not in cache"

OnOutput = Callable[[str], None]


class Outcome(StrEnum):
    """What became of a stage."""

    CACHED = "Cached"
    """Nothing had changed."""
    RESTORED = "Restored"
    """DVC had the result of these very inputs and put it back."""
    COMPLETED = "Completed"
    """It ran."""


@dataclass
class Output:
    """Keeps a stage's last lines and hands each on; a listener's fault never harms the stage."""

    on_output: OnOutput
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))
    fault: Exception | None = None
    over: bool = False
    """Set when the stage has ended: what a process that it left behind prints is nobody's."""

    def __call__(self, line: str) -> None:
        """Take a line that the stage printed."""
        if not self.over:
            self.tail.append(line)
            self.tell(line)

    def tell(self, line: str) -> None:
        """Hand a line on that is not the stage's own."""
        if self.fault is None:
            try:
                self.on_output(line)
            except Exception as error:  # noqa: BLE001 - raised when the stage has ended
                self.fault = error


class Log(logging.Handler):
    """Listens to DVC's loggers, which alone say whether a stage ran or was restored."""

    def __init__(self) -> None:
        """Hear from the level on at which they say it."""
        super().__init__(logging.INFO)
        self.names: set[str] = set()
        self.listener: OnOutput | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Note who speaks, and hand on warnings."""
        self.names.add(record.name.removeprefix("dvc.stage."))
        if self.listener is not None and record.levelno >= logging.WARNING:
            self.listener(record.getMessage())

    @contextlib.contextmanager
    def watch(self, listener: OnOutput) -> Iterator["Log"]:
        """Listen to one stage, its warnings handed to the listener."""
        self.names.clear()
        self.listener = listener
        try:
            yield self
        finally:
            self.listener = None

    def outcome(self) -> Outcome:
        """`run` is logged by a stage that runs, `cache` by one that is restored."""
        if "run" in self.names:
            return Outcome.COMPLETED
        return Outcome.RESTORED if "cache" in self.names else Outcome.CACHED


def changes(entries: list[Any]) -> Iterator[str]:
    """DVC's status of one stage as short phrases: `modified src/refit/models/network.py`."""
    for entry in entries:
        if not isinstance(entry, dict):
            yield str(entry)
            continue
        for kind, paths in entry.items():
            noun = "output " if kind == "changed outs" else ""
            for path, state in paths.items():
                if isinstance(state, dict):
                    yield from (f"{change} {path}: {key}" for key, change in state.items())
                else:
                    yield (
                        f"{noun}{path} {state}" if state == NOT_CACHED else f"{state} {noun}{path}"
                    )


def failure(error: Exception, tail: deque[str], *, of_command: bool) -> str:
    """The stage's own last words where it spoke as Refit does, else its last lines, or DVC's.

    Args:
        error: what DVC raised.
        tail: the stage's last lines.
        of_command: whether the stage's command failed, rather than DVC before or after it.
    """
    lines = list(tail)
    own = [number for number, line in enumerate(lines) if line.startswith(OWN)]
    if own:
        return "\n".join(lines[own[-1] :]).removeprefix(OWN)
    if of_command:
        return "\n".join([*lines, _ended(str(error.__cause__))])
    return causes(error)


def interrupted(error: Exception) -> bool:
    """Whether the stage was ended by Ctrl-C, which DVC itself ignores while a stage works."""
    return _status(str(error.__cause__)) in {INTERRUPTED, -signal.SIGINT}


def causes(error: BaseException | None) -> str:
    """The chain of an error's causes, each in its first paragraph."""
    texts = []
    while error is not None:
        texts.append(" ".join(str(error).split("\n\n")[0].split()) or type(error).__name__)
        error = error.__cause__
    return "; ".join(dict.fromkeys(texts))


def _status(sentence: str) -> int | None:
    """The exit status in DVC's sentence about a command that failed."""
    found = re.search(r"exited with (-?\d+)$", sentence)
    return None if found is None else int(found[1])


def _ended(sentence: str) -> str:
    """How the command ended, from DVC's sentence about it."""
    status = _status(sentence)
    if status is None:
        return sentence
    number = -status if status < 0 else status - 128  # a shell adds 128
    if number not in signal.valid_signals():
        return f"(its command ended with status {status})"
    name = signal.Signals(number).name
    cause = {"SIGKILL": ", most often because memory ran out"}.get(name, "")
    return f"(its command was ended by {name}{cause})"
