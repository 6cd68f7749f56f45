"""Mistakes of the user as one line and an exit status; everything else is a bug with a traceback.

``MISTAKES`` are what users can cause. A bug can raise a TypeError too, so only those count as
mistakes that Faltung raised on purpose, by a ``raise`` in its own source, and those of the system:
a file, the memory. With FALTUNG_TRACEBACK=1 all of them show a traceback.
"""

import dis
import os
import sys
from pathlib import Path

MISTAKES = (
    ArithmeticError,
    ImportError,
    MemoryError,
    OSError,
    TypeError,
    ValueError,
)
_PACKAGE = str(Path(__file__).resolve().parents[1]) + os.sep
_RAISE = dis.opmap["RAISE_VARARGS"]


def refuse(command: str, error: BaseException) -> int:
    """Print what is wrong on one line; returns the exit status. Raises ``error`` again if it is a
    bug, or means that nobody reads the output any more.
    """
    if (
        isinstance(error, BrokenPipeError)
        or os.environ.get("FALTUNG_TRACEBACK") == "1"
        or not on_purpose(error)
    ):
        raise error
    print(f"faltung {command}: {line(error)}", file=sys.stderr)
    return 2


def line(said: object) -> str:
    """A text, or the message of an error, on one line of printable characters."""
    text = " ".join(str(said).split()) or type(said).__name__
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def on_purpose(error: BaseException) -> bool:
    """Whether an error comes from the system, or from a ``raise`` in Faltung's own source."""
    if isinstance(error, OSError | MemoryError):
        return True
    trace = error.__traceback__
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    ours = os.path.realpath(code.co_filename).startswith(_PACKAGE)
    return ours and code.co_code[trace.tb_lasti] == _RAISE
