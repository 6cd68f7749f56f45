"""Ctrl-C: wherever a command is, it ends with one line and exit status 130.

Python turns a Ctrl-C into an exception wherever it is: in an import, in ``__del__``, where the
thread team stops while the interpreter ends. Some of these places print a traceback and lose it,
others end the process by the signal. So the first Ctrl-C is an exception, and a second one, which
comes while the command ends, ends the process at once.

This file is loaded before anything else, so it needs nothing but built-in modules.
"""

import _signal  # type: ignore[import-not-found]
import _thread
import atexit
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED = 130  # exit status
AGAIN_SECONDS = 1e-3  # after which a Ctrl-C that was lost comes again


class _Ending:
    """``ours``: the process is there for one command. ``began``: it is ending."""

    ours = began = told = False

    def message(self) -> str:
        return "stopped"


_now = _Ending()


def begin(ours: bool) -> None:
    """Note that a command begins. ``ours``: the process is there for it alone, and ends after it;
    else signals stay as they are.
    """
    _now.__dict__.clear()
    if not ours or _signal.getsignal(_signal.SIGINT) is not _signal.default_int_handler:
        return
    try:
        _signal.signal(_signal.SIGINT, _pressed)
    except ValueError:  # not the main thread
        return
    _now.ours = True
    # Called last, after everything that is registered from now on. Then the interpreter takes away
    # all handlers; what is ignored stays ignored.
    atexit.register(_signal.signal, _signal.SIGINT, _signal.SIG_IGN)
    before, main = sys.unraisablehook, _thread.get_ident()

    def press_again() -> None:
        time.sleep(AGAIN_SECONDS)
        if hasattr(_signal, "pthread_kill"):  # it ends what the main thread waits for
            _signal.pthread_kill(main, _signal.SIGINT)
        else:
            _thread.interrupt_main()

    def again(lost: "sys.UnraisableHookArgs") -> None:
        """A Ctrl-C where nothing can be raised (``__del__``, a callback) comes again."""
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            before(lost)
        elif not _now.told:
            _now.began = False
            _thread.start_new_thread(press_again, ())

    sys.unraisablehook = again


def ours() -> bool:
    """Whether the process is there for the command alone."""
    return _now.ours


def when_stopped(message: "Callable[[], str]") -> None:
    """From now on a Ctrl-C says this."""
    _now.message = message  # type: ignore[method-assign]


def stopped() -> int:
    """Say once that the command was interrupted; returns the exit status."""
    _now.began = True
    if _now.ours:
        _signal.signal(_signal.SIGINT, _signal.SIG_IGN)  # or the line would be cut off
    # A Ctrl-C within ``exec`` of a text (of ``dataclass``, say) makes Python end by the signal,
    # although it was caught, unless another text is executed after it.
    exec("")
    if not _now.told:
        _now.told = True
        try:
            sys.stdout.flush()
            print(f"\n{_now.message()}", file=sys.stderr, flush=True)
        except (OSError, ValueError, RuntimeError):
            pass
    if _now.ours:
        _signal.signal(_signal.SIGINT, _pressed)
    return INTERRUPTED


def finish() -> None:
    """Note that the command has done all that it does."""
    _now.began = True


def _pressed(*_: object) -> None:
    if _now.began:
        stopped()
        os._exit(INTERRUPTED)
    _now.began = True
    raise KeyboardInterrupt
