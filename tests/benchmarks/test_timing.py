"""How calls are timed: warm-up first, one call at least, long calls once."""

import time

from benchmarks.timing import samples


def test_fills_the_time():
    taken = samples(lambda: time.sleep(0.001), seconds=0.02, warm=0.005)
    assert 2 <= len(taken) <= 20
    assert sum(taken) >= 0.02e9
    assert min(taken) >= 1e6


def test_warms_up_before_it_counts():
    calls = []
    taken = samples(lambda: calls.append(time.sleep(0.002)), seconds=0.001, warm=0.01)
    assert len(taken) == 1
    assert len(calls) > len(taken)


def test_a_long_call_is_made_once():
    calls = []
    taken = samples(lambda: calls.append(time.sleep(0.02)), seconds=0.5, cap=0.01)
    assert len(taken) == len(calls) == 1
