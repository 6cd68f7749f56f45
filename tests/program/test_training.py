"""The compiled training step against the interpreter: gradients, losses, statistics, bits."""

import pytest
from graph import networks
from graph.networks import problem
from program.programs import close, poison, ran, same, step_of, threads, wanted
from program.schedules import backwards, by_threads, shuffled

NAMES = pytest.mark.parametrize("name", networks.TABLE)
SHAPES = pytest.mark.parametrize("name", networks.SHAPES)


@NAMES
def test_gradients_are_those_of_the_interpreter(name: str) -> None:
    """And the same bits from memory full of NaN, by any number of threads, and by threads that are
    as far apart as barriers let them.
    """
    given = problem(name)
    step = step_of(given)
    found = ran(step, given)
    close(found, wanted(step, given), 1e-10)
    for number in (1, 2, 3, 7):
        with threads(number):
            poison(step)
            same(ran(step, given), found)
    for order in ([1, 0], [2, 1, 0], shuffled(7)):
        by_threads(step, order)
        poison(step)
        same(ran(step, given), found)
    backwards(step)
    poison(step)
    same(ran(step, given), found)


@SHAPES
def test_gradients_in_float32(name: str) -> None:
    given = problem(name, "cross_entropy", samples=5, smoothing=0.1, dtype="float32")
    step = step_of(given)
    found = ran(step, given)
    close(found, wanted(step, given), 1e-5)
    for number in (2, 7):
        with threads(number):
            poison(step)
            same(ran(step, given), found)
