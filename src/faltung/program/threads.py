"""How many threads a program uses."""

from faltung.runtime.threads import get_threads

# Below this much work the caller does it alone: a barrier costs about as much as a layer then.
MIN_PARALLEL_CYCLES = 60_000.0


def threads_for(cycles: float) -> int:
    """``get_threads()``, or 1 for a program of few cycles."""
    return 1 if cycles < MIN_PARALLEL_CYCLES else get_threads()
