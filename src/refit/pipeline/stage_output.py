"""The lines that a stage prints, what became of the stage, and why it failed."""

import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from refit.core.run_record import RunRecord

TAIL = 20
"""Lines of a failed stage's output that its error repeats."""
INTERRUPTED = (130, -signal.SIGINT)
"""The statuses of a stage that Ctrl-C ended."""

OnOutput = Callable[[str], None]


class Outcome(StrEnum):
    """What became of a stage."""

    CACHED = "Cached"
    """Nothing had changed."""
    RESTORED = "Restored"
    """DVC had the result of the same inputs and put it back."""
    COMPLETED = "Completed"
    """It ran."""


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """What became of one stage in one run."""

    stage: str
    outcome: Outcome
    reason: str
    seconds: float


@dataclass
class Output:
    """Keeps a stage's last lines and hands each on; a listener's error does not harm the stage."""

    on_output: OnOutput
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))
    listener_error: Exception | None = None
    closed: bool = False
    """Set when the stage has ended: later lines come from a background process and are dropped."""

    def __call__(self, line: str) -> None:
        """Take a line that the stage printed."""
        if not self.closed:
            self.tail.append(line)
            self.hand_on(line)

    def hand_on(self, line: str) -> None:
        """Hand a line on without keeping it."""
        if self.listener_error is None:
            try:
                self.on_output(line)
            except Exception as error:  # noqa: BLE001 - raised when the stage has ended
                self.listener_error = error


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Everything that is known about a stage that failed."""

    record: RunRecord | None
    """The stage's own report; None from a user's command, and after a kill."""
    command_status: int | None
    """The status that DVC saw; None when DVC failed rather than the command."""
    tail: tuple[str, ...]
    """The stage's last lines."""
    dvc_message: str

    @property
    def status(self) -> int | None:
        """The exit status of the stage; negative for a signal."""
        if self.record is not None and self.record.status:
            return self.record.status
        return self.command_status

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the stage. DVC itself ignores Ctrl-C while a stage works."""
        return self.status in INTERRUPTED

    def __str__(self) -> str:
        """The stage's own error, otherwise its last lines, otherwise DVC's message."""
        if self.record is not None and self.record.error:
            return self.record.error
        if self.status is None:
            return self.dvc_message
        return "\n".join([*self.tail, f"({_describe_end(self.status)})"])


def error_chain(error: BaseException | None) -> str:
    """An error and its causes, each by its first paragraph."""
    texts = []
    while error is not None:
        texts.append(" ".join(str(error).split("\n\n")[0].split()) or type(error).__name__)
        error = error.__cause__
    return "; ".join(dict.fromkeys(texts))


def _describe_end(status: int) -> str:
    """How a command with this exit status ended."""
    number = -status if status < 0 else status - 128  # a shell adds 128
    if number not in signal.valid_signals():
        return f"its command ended with status {status}"
    name = signal.Signals(number).name
    cause = ", most often because memory ran out" if name == "SIGKILL" else ""
    return f"its command was ended by {name}{cause}"
