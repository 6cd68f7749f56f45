"""How calls are timed: warm-up first, one call at least, long calls once."""

import time
from collections.abc import Callable

from benchmarks.timing import samples


def _slow(calls: list[float], seconds: float) -> Callable[[], None]:
    """A call that takes so long and is written down."""

    def call() -> None:
        time.sleep(seconds)
        calls.append(seconds)

    return call


def test_fills_the_time() -> None:
    taken = samples(lambda: time.sleep(0.001), seconds=0.02, warm=0.005)
    assert 2 <= len(taken) <= 20
    assert sum(taken) >= 0.02e9
    assert min(taken) >= 1e6


def test_warms_up_before_it_counts() -> None:
    calls: list[float] = []
    taken = samples(_slow(calls, 0.002), seconds=0.001, warm=0.01)
    assert len(taken) == 1
    assert len(calls) > len(taken)


def test_a_long_call_is_made_once() -> None:
    calls: list[float] = []
    taken = samples(_slow(calls, 0.02), seconds=0.5, cap=0.01)
    assert len(taken) == len(calls) == 1
