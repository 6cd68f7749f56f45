"""Times one call, inside a worker."""

from collections.abc import Callable
from time import perf_counter_ns

CAP_SECONDS = 1.5  # a longer call is not repeated within a round; the first call is cold
WARM_SECONDS = 0.02  # restores clocks, caches and parked threads after a pause


def timed(call: Callable[[], object]) -> int:
    """Nanoseconds of one call."""
    start = perf_counter_ns()
    call()
    return perf_counter_ns() - start


def samples(
    call: Callable[[], object],
    seconds: float,
    warm: float = WARM_SECONDS,
    cap: float = CAP_SECONDS,
) -> list[int]:
    """Nanoseconds of each call in ``seconds``, after ``warm`` seconds of warm-up.

    Each takes at least one call. A call longer than ``cap`` is its own warm-up: the cold start
    hardly matters.
    """
    spent = first = timed(call)
    if first > cap * 1e9:
        return [first]
    while spent < warm * 1e9:
        spent += timed(call)
    taken: list[int] = []
    left = seconds * 1e9
    while left > 0:
        taken.append(timed(call))
        left -= taken[-1]
    return taken
