"""Mistakes of the user, as one line and an exit status; all else is a bug and shows itself."""

import sys

MISTAKES = (
    ArithmeticError,
    BlockingIOError,
    ImportError,
    MemoryError,
    OSError,
    TypeError,
    ValueError,
)


def refuse(command: str, error: BaseException) -> int:
    """Say what is wrong on one line; the exit status."""
    text = " ".join(str(error).split()) or type(error).__name__
    print(f"faltung {command}: {text}", file=sys.stderr)
    return 2
