"""A range test of the learning rate (Smith, "Cyclical learning rates", 2015).

The rate grows step by step from far too small to far too large, the loss falls, and then rises.
What is suggested is a tenth of the rate at which the smoothed loss was least: there it still falls
well, and there is room for what is different later. Weights, statistics and optimizer are
afterwards as they were before, bit for bit, and the rate depends on the settings and the seed
alone.
"""

import csv
import io
import math
from collections.abc import Callable, Generator
from contextlib import closing
from itertools import count
from typing import cast

from faltung.data.loader import Batch, Loader
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

LOW, HIGH, STEPS = 1e-6, 10.0, 120
SMOOTH = 0.9  # of the mean of losses that stays at a step
DIVERGED = 4.0  # the test ends where the smoothed loss is so many times its least
_HEADER = ("lr", "loss")
BELOW_LEAST = 10.0  # how far the suggestion is below the rate of the least loss


# (rate, smoothed loss) of each step.
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class RangeTest:
    """What was found; ``lr``: the rate that is suggested."""

    points: Points
    lr: float


def rates() -> list[float]:
    """The rates of the test, each a few significant digits long."""
    return [float(f"{LOW * (HIGH / LOW) ** (i / (STEPS - 1)):.4g}") for i in range(STEPS)]


def endless(loader: Loader) -> Generator[Batch, None, None]:
    """The batches of one epoch after another."""
    for epoch in count():
        with closing(cast("Generator[Batch, None, None]", loader.epoch(epoch))) as batches:
            yield from batches


def range_test(train: Callable[[float], float]) -> RangeTest:
    """Train step by step at growing rates: ``train(rate)`` returns the loss of a step.

    ValueError: the loss is not finite at the smallest rates.
    """
    points: list[tuple[float, float]] = []
    mean = weight = 0.0
    least = math.inf
    for rate in rates():
        loss = train(rate)
        if not math.isfinite(loss):
            break
        mean, weight = SMOOTH * mean + (1 - SMOOTH) * loss, SMOOTH * weight + (1 - SMOOTH)
        points.append((rate, mean / weight))
        least = min(least, mean / weight)
        if mean / weight > DIVERGED * least and least > 0:
            break
    if len(points) < 2:
        raise FaltungError(
            "lr='find': the loss is not finite even at a learning rate of "
            f"{LOW:g}: samples, targets or weights must be smaller numbers"
        )
    best = min(points, key=lambda point: point[1])[0]
    target = best / BELOW_LEAST
    chosen = min((rate for rate, _ in points), key=lambda rate: abs(math.log(rate / target)))
    return RangeTest(tuple(points), float(f"{chosen:.2g}"))


def to_csv(points: Points) -> str:
    """A header and a line for each step."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(_HEADER)
    writer.writerows((repr(rate), repr(loss)) for rate, loss in points)
    return made.getvalue()


def from_csv(text: str, source: str) -> Points:
    """What ``to_csv`` wrote. ValueError naming ``source`` and the line: anything else."""
    header, *lines = text.splitlines() or [""]
    if tuple(header.split(",")) != _HEADER or len(lines) > STEPS:
        raise FaltungError(f"{source}: must be a range test: lr,loss and at most {STEPS} lines")
    points = []
    for number, line in enumerate(lines, 2):
        try:
            rate, loss = (float(cell) for cell in line.split(","))
            fits = 0 < rate <= HIGH and math.isfinite(loss)
        except ValueError:
            fits = False
        if not fits:
            raise FaltungError(f"{source}: line {number}: must be a learning rate and a loss")
        points.append((rate, loss))
    return tuple(points)
