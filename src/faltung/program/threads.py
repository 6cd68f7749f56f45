"""How many threads a program uses."""

from faltung.machine.costs import MIN_PARALLEL_PROGRAM_CYCLES
from faltung.runtime.threads import threads_to_use


def threads_for(cycles: float) -> int:
    """``threads_to_use()``, or 1 for a program of few cycles."""
    return 1 if cycles < MIN_PARALLEL_PROGRAM_CYCLES else threads_to_use()
