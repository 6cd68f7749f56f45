"""The same calls of SciPy: 2,000 random ones, and SciPy's own tests."""

import ndimage_random
import pytest
import scipy_suite
from grid import CHOSEN, EXHAUSTIVE

from faltung.machine.table import Machine

pytest.importorskip("scipy", minversion="1.17")  # whose axes and modes these calls name

BLOCK = 50  # calls of one test


@pytest.mark.parametrize("block", range(40))
def test_random_calls(block: int) -> None:
    """All with ``--exhaustive``; else one of ten, of all functions, another one each day."""
    numbers = range(block * BLOCK, (block + 1) * BLOCK)
    if CHOSEN.tier is not EXHAUSTIVE:
        numbers = numbers[CHOSEN.seed % 10 :: 10]
    wrong = []
    for number in numbers:
        call = ndimage_random.random_call(0, number)
        found = ndimage_random.difference(call)
        if found:
            wrong.append(f"{number}: {found}: {call}")
    assert wrong == []


def test_random_calls_on_every_machine(machine: Machine) -> None:
    """One of each function: SciPy's numbers come from whatever processor it is."""
    first = CHOSEN.seed % 100 * len(ndimage_random.ALL)
    for number in range(first, first + len(ndimage_random.ALL)):
        call = ndimage_random.random_call(0, number)
        assert ndimage_random.difference(call) == "", f"{number}: {call}"


@pytest.mark.parametrize(
    ("suite", "file", "least"),
    [
        ("faltung.ndimage", "ndimage/tests/test_filters.py", 1000),
        ("faltung.ndimage", "ndimage/tests/test_morphology.py", 300),
    ],
)
def test_scipys_own_tests(suite: str, file: str, least: int) -> None:
    """All with ``--exhaustive``; else one of four, others each day."""
    if scipy_suite.folder() is None:
        pytest.skip("this SciPy came without its tests")
    row = next(one for one in scipy_suite.SUITES if one.ours == suite)
    every = 1 if CHOSEN.tier is EXHAUSTIVE else 4
    found = scipy_suite.outcomes(row, file, first=CHOSEN.seed % every, every=every)
    assert scipy_suite.wrong(found) == []
    assert len(found) >= 0.8 * least / every
