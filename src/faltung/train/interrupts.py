"""Ctrl-C: remembered, and obeyed where a run can be left."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(Exception):
    """Ctrl-C: the batch was finished and everything is saved."""


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """``with interrupts() as pressed``: the first Ctrl-C makes ``pressed()`` true, the second one
    is a KeyboardInterrupt at once.

    Only the main thread of a program hears of signals; in others, Ctrl-C is theirs as ever.
    """
    heard = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        if heard:
            raise KeyboardInterrupt
        heard = True

    ours = threading.current_thread() is threading.main_thread()
    # None: somebody else than Python listens, whom we could not set back.
    if not ours or signal.getsignal(signal.SIGINT) is None:
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: heard
    finally:
        signal.signal(signal.SIGINT, before)
