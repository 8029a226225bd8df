"""SIGTERM and SIGINT as a flag that the loop polls, instead of a sudden end."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from signal import Signals

from refit.core.run_record import StageStopped

STOPPING = (Signals.SIGTERM, Signals.SIGINT)

Stop = Callable[[], Signals | None]
"""Returns the signal that asked to stop; None while none did."""


class Stopped(StageStopped):
    """Training was told to stop and left a checkpoint. Not an error, like KeyboardInterrupt."""

    def __init__(self, by: Signals, step: int) -> None:
        super().__init__(
            f"training was stopped by {by.name}; the next run continues from step {step:,}",
            status=128 + by,
        )


@contextlib.contextmanager
def noted() -> Iterator[Stop]:
    """Within the block, note both signals; the handlers from before are back after it.

    A signal that the block did not act on takes its usual effect after it. One that was ignored
    stays ignored, and outside the main thread, where Python sets no handlers, nothing changes.
    """
    heard: list[Signals] = []

    def first() -> Signals | None:
        return heard[0] if heard else None

    before = {number: signal.getsignal(number) for number in _ours()}
    for number in before:
        signal.signal(number, lambda number, _frame: heard.append(Signals(number)))
    try:
        yield first
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if heard:
        signal.raise_signal(heard[0])


def _ours() -> list[Signals]:
    """The signals whose handlers are ours to set."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [number for number in STOPPING if signal.getsignal(number) not in (signal.SIG_IGN, None)]
