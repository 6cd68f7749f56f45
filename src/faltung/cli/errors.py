"""Mistakes of the user as one line and an exit status; everything else is a bug with a traceback.

``MISTAKES`` are what users can cause: what Faltung itself refuses, and what the system refuses it.
With FALTUNG_TRACEBACK=1 all of them show a traceback.
"""

import os
import sys

from faltung.geometry.errors import FaltungError

MISTAKES = (FaltungError, OSError, MemoryError)


def refuse(command: str, error: BaseException) -> int:
    """Print what is wrong on one line; returns the exit status. Raises ``error`` again if it means
    that nobody reads the output any more, or if tracebacks are wanted.
    """
    if isinstance(error, BrokenPipeError) or os.environ.get("FALTUNG_TRACEBACK") == "1":
        raise error
    print(f"faltung {command}: {line(error)}", file=sys.stderr)
    return 2


def line(said: object) -> str:
    """A text, or the message of an error, on one line of printable characters."""
    text = " ".join(str(said).split()) or type(said).__name__
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
