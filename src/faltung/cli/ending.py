"""Ctrl-C: wherever a command is, it ends with one line and exit status 130.

Python turns a Ctrl-C into an exception wherever it is: in an import, in a callback, where the
thread team stops while the interpreter ends. Some of these places print a traceback and lose it,
others end the process by the signal.
"""

import _thread
import atexit
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from faltung.cli.errors import INTERRUPTED, line


@contextmanager
def interruptible(ours: bool) -> Iterator[None]:
    """The time in which a command runs. ``ours``: the process is there for nothing but the
    command, and ends after it: then a Ctrl-C that comes while it ends, ends it at once.
    """
    ours = ours and threading.current_thread() is threading.main_thread()
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not ours:
        yield
        return
    # Called last, after everything that is registered from now on: the interpreter then takes away
    # all handlers, except that what is ignored stays ignored.
    atexit.register(_ignore)
    before = sys.unraisablehook
    # A warning is a line, as all else that a command says.
    warnings.formatwarning = lambda message, *_: f"faltung: warning: {line(message)}\n"

    def again(lost: Any) -> None:
        """A Ctrl-C where nothing can be raised (``__del__``, a callback) comes again."""
        if issubclass(lost.exc_type, KeyboardInterrupt):
            _thread.interrupt_main()
        else:
            before(lost)

    sys.unraisablehook = again
    try:
        yield
    except KeyboardInterrupt:  # another one, while the first was being told
        pass
    finally:
        signal.signal(signal.SIGINT, _at_once)
        sys.unraisablehook = before


def stopped(message: str = "stopped") -> int:
    """Say that the command was interrupted, undisturbed by further Ctrl-C; returns the status."""
    mine = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    if mine:
        _ignore()
    try:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        with suppress(OSError, ValueError):
            print(f"\n{message}", file=sys.stderr, flush=True)
    finally:
        if mine and before is not None:
            signal.signal(signal.SIGINT, before)
    return INTERRUPTED


def _ignore() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _at_once(*_: object) -> None:
    """End the process here: all that matters has been written."""
    with suppress(Exception):
        sys.stdout.flush()
    os._exit(INTERRUPTED)
