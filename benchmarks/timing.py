"""Timing of one call, inside a worker."""

from collections.abc import Callable
from time import perf_counter_ns

CAP_SECONDS = 1.5  # a call above this is not made twice in a round; a first call is a cold one
WARM_SECONDS = 0.02  # brings clocks, caches and a parked thread team back after a peer's pause


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
    """Nanoseconds of each call: warm up for ``warm`` seconds (one call at least), then fill
    ``seconds`` (one call at least).

    A call that takes longer than ``cap`` is its own warm-up: what it loses by a cold start is
    small beside its length.
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
