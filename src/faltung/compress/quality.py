"""How good a model is on some samples, how sure that is, and how much worse it is than another.

Labels: the share of right ones, of all positions where every position has a label. Numbers: the
explained share of the variance, R^2. Both are 1 at best, and a point is a hundredth.

Intervals hold the true value in 95 of 100 cases: that of a share is Wilson's score interval (1927),
that of a difference between two models on the same samples Bonett and Price's (2012), that of R^2
the percentiles of resampled samples. Positions of one picture are not independent, so a share of
positions counts as many trials as there are pictures, which errs on the wide side: the variance of
a number from 0 to 1 with mean p is at most p (1 - p).
"""

from collections.abc import Sequence
from math import isfinite, log, sqrt

import numpy as np
import numpy.typing as npt

from faltung.data.seeds import DRAW, generator
from faltung.data.source import Source
from faltung.geometry.errors import FaltungArithmeticError
from faltung.geometry.record import dataclass
from faltung.graph.losses import targets_of
from faltung.train.evaluate import Evaluation, evaluate
from faltung.train.model import Model

Array = npt.NDArray[np.float64]

Z = 1.959963984540054  # of the normal distribution, for 95%
RESAMPLES = 400  # of the samples, for the interval of R^2


@dataclass(frozen=True)
class Quality:
    """``value``: accuracy or R^2; ``loss``: the mean. ``each``: for labels the share of right ones
    of each sample, for numbers its squared errors, (n, outputs); ``losses``: of each sample;
    ``spread``: of numbers the squared deviations of the targets from their means, (n, outputs).
    ``classes``: how many labels there are.
    """

    value: float
    loss: float
    each: Array
    losses: Array
    spread: Array | None = None
    classes: int = 2

    @property
    def samples(self) -> int:
        return len(self.each)

    def interval(self) -> tuple[float, float]:
        """The least and the largest value that is likely."""
        if self.spread is None:
            return wilson(self.value, self.samples)
        return _percentiles([_explained(self.each[i], self.spread[i]) for i in _resamples(self)])

    def lost(self, before: "Quality") -> tuple[float, float, float]:
        """How many points less this is than another on the same samples: the likeliest number, the
        least and the largest that is likely.
        """
        points = 100 * (before.value - self.value)
        if self.spread is None:
            low, high = paired(before.each - self.each)
        else:
            low, high = _percentiles(
                [
                    _explained(before.each[i], self.spread[i])
                    - _explained(self.each[i], self.spread[i])
                    for i in _resamples(self)
                ]
            )
        return points, 100 * low, 100 * high

    def lost_by_loss(self, before: "Quality") -> float:
        """How many points less this is by its loss, at least: that by which the mean loss has
        grown, less one standard error, where a sample that is lost costs as much as a guess among
        all classes. For numbers what ``lost`` says.
        """
        if self.spread is not None:
            return self.lost(before)[0]
        more = self.losses - before.losses
        error = float(more.std()) / sqrt(len(more))
        return 100 * (float(more.mean()) - error) / log(max(self.classes, 2))


def wilson(share: float, trials: int, z: float = Z) -> tuple[float, float]:
    """Between which numbers a probability lies, of which this share of the trials came true."""
    square = z * z / trials
    middle = (share + square / 2) / (1 + square)
    away = z / (1 + square) * sqrt(max(share * (1 - share), 0.0) / trials + square / trials / 4)
    return max(middle - away, 0.0), min(middle + away, 1.0)


def paired(lost: Array, z: float = Z) -> tuple[float, float]:
    """Between which numbers the mean of differences from -1 to 1 lies, such as of 1 where only the
    first of two models was right, -1 where only the second was. One of each is added, so that none
    at all does not mean certainty.
    """
    trials = len(lost) + 2
    worse, better = (float(np.maximum(sign * lost, 0).sum() + 1) / trials for sign in (1, -1))
    mean = worse - better
    away = z * sqrt(max(worse + better - mean * mean, 0.0) / trials)
    return max(mean - away, -1.0), min(mean + away, 1.0)


def _explained(errors: Array, spread: Array) -> float:
    """1 - errors / spread, the mean over outputs; an output without spread is not explained unless
    it has no error.
    """
    error, whole = errors.sum(0), spread.sum(0)
    parts = np.where(
        whole > 0, 1 - error / np.where(whole > 0, whole, 1), np.where(error > 0, 0, 1)
    )
    return float(parts.mean())


def _resamples(of: Quality) -> Sequence[npt.NDArray[np.int64]]:
    rng = generator(0, DRAW, of.samples)
    return [rng.integers(0, of.samples, of.samples) for _ in range(RESAMPLES)]


def _percentiles(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.quantile(np.asarray(values), (0.025, 0.975))
    return float(low), float(high)


def quality(model: Model, source: Source) -> Quality:
    """Of a model on samples. FloatingPointError: answers that are not finite."""
    loss = model.loss or "cross_entropy"
    found = evaluate(model, source, loss, keep=targets_of(loss) == "numbers")
    count = model.graph.output.channels
    made = _of_numbers(found) if targets_of(loss) == "numbers" else _of_labels(found, count)
    if not (isfinite(made.value) and isfinite(made.loss)):
        raise FaltungArithmeticError(
            "model: its answers are not finite, so there is nothing to compare smaller ones with"
        )
    return made


def _of_labels(found: Evaluation, classes: int) -> Quality:
    assert found.right is not None
    metrics = found.metrics()
    rows = len(found.right)
    counted = found.counted.reshape(rows, -1)
    right = (found.right.reshape(rows, -1) & counted).sum(1, dtype=np.float64)
    each = right / np.maximum(counted.sum(1, dtype=np.float64), 1)
    losses = np.asarray(found.losses, np.float64)
    return Quality(metrics["accuracy"], metrics["loss"], each, losses, classes=classes)


def _of_numbers(found: Evaluation) -> Quality:
    assert found.outputs is not None
    rows = len(found.outputs)
    wanted, made = (
        array.reshape(rows, -1).astype(np.float64) for array in (found.targets, found.outputs)
    )
    errors, spread = (wanted - made) ** 2, (wanted - wanted.mean(0)) ** 2
    value = _explained(errors, spread)
    return Quality(value, float(errors.mean()), errors, errors.mean(1), spread)
