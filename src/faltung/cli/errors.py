"""Mistakes of the user as one line and an exit status; everything else is a bug with a traceback.

``MISTAKES`` are what users can cause: what Faltung itself refuses (``FaltungError``), and what the
system refuses it. Commands raise them, and ``main`` alone catches them. A command that goes on
after a mistake, as ``predict`` does with its other files, prints it with ``complain``.
With FALTUNG_TRACEBACK=1 all of them show a traceback.
"""

import os
import sys

from faltung.cli.line import REFUSED, line
from faltung.geometry.errors import FaltungError

MISTAKES = (FaltungError, OSError, MemoryError)


def complain(command: str, error: BaseException, message: str | None = None) -> None:
    """Print what is wrong on one line, and each note of the error on another. Raises ``error``
    again if it means that nobody reads the output any more, or if tracebacks are wanted.
    """
    if isinstance(error, BrokenPipeError) or os.environ.get("FALTUNG_TRACEBACK") == "1":
        raise error
    sys.stdout.flush()  # in the order in which they happened, where both go to one place
    print(
        f"faltung {command}: {line(told(error) if message is None else message)}", file=sys.stderr
    )
    for note in getattr(error, "__notes__", ()):
        print(line(note), file=sys.stderr)


def refuse(command: str, error: BaseException) -> int:
    """``complain``; returns the exit status."""
    complain(command, error)
    return REFUSED


def told(error: BaseException) -> str:
    """What an error says; one of the system's begins with its file, as ours do."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror.lower()}"
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return error.strerror.lower()  # of what has no name: the output, say
    if isinstance(error, MemoryError):
        return str(error) or "there is not enough memory"
    return str(error)


def about(file: object, error: BaseException) -> str:
    """What an error says, beginning with the file that it is about."""
    from faltung.data.names import printable

    said, name = told(error), printable(file)
    return said if said.startswith(name) else f"{name}: {said}"
