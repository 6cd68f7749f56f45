"""How many threads a program wakes."""

from faltung.runtime.threads import get_threads

# Cycles of work below which the caller does it alone: a barrier costs about as much as a layer.
ALONE = 60_000.0


def threads_for(cycles: float) -> int:
    """All that ``get_threads`` says, or the caller alone for a program of few cycles."""
    return 1 if cycles < ALONE else get_threads()
