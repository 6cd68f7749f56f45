"""Ctrl-C, noted and acted on where a run can stop safely."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(Exception):
    """Stopped by Ctrl-C; the batch was finished and everything is saved."""


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """``with interrupts() as pressed``: the first Ctrl-C makes ``pressed()`` true, the second
    raises KeyboardInterrupt at once.

    Only the main thread receives signals; in other threads nothing changes.
    """
    heard = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        if heard:
            raise KeyboardInterrupt
        heard = True

    ours = threading.current_thread() is threading.main_thread()
    # None: the handler was not installed by Python, and could not be restored.
    if not ours or signal.getsignal(signal.SIGINT) is None:
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: heard
    finally:
        signal.signal(signal.SIGINT, before)
