"""How many threads a program uses."""

from faltung.machine.costs import MIN_PARALLEL_PROGRAM_CYCLES
from faltung.runtime.threads import get_threads


def threads_for(cycles: float) -> int:
    """``get_threads()``, or 1 for a program of few cycles."""
    return 1 if cycles < MIN_PARALLEL_PROGRAM_CYCLES else get_threads()
