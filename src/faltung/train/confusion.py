"""Which classes are mistaken for which: a confusion matrix, ready to be shown."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.runtime.narrowing import narrowed

MOST_CLASSES = 20  # in a table
SHADES = 10
_PAIRS = 10  # most frequent mistakes in a list


@dataclass(frozen=True)
class Cell:
    """``shade``: 0 to ``SHADES``, by its share of the row; ``right``: on the diagonal."""

    count: int
    shade: int
    right: bool


@dataclass(frozen=True)
class Pair:
    """``count`` samples of class ``true`` predicted as ``predicted``, a ``share`` of the class."""

    true: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True)
class Confusion:
    """Rows are true classes, columns predicted ones, both in the order of ``labels``.

    ``others``: for each row, how many were predicted as a class that is not shown; empty if all
    are. ``recall``: the share of each row that is right, None for a class without samples.
    """

    labels: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    others: tuple[int, ...]
    recall: tuple[float | None, ...]
    classes: int
    samples: int
    right: int
    pairs: tuple[Pair, ...]


def confusion(matrix: npt.ArrayLike, classes: Sequence[str]) -> Confusion:
    """``matrix[true, predicted]``: counts, as many rows and columns as ``classes``.

    Of more than ``MOST_CLASSES`` those with the most mistakes are shown. ValueError: another shape.
    """
    counts = np.asarray(matrix)
    if counts.shape != (len(classes), len(classes)) or not counts.size:
        raise FaltungError(
            f"confusion.shape={counts.shape}: must be classes by classes, {len(classes)}"
        )
    if counts.dtype.kind not in "iu" or counts.min() < 0:
        raise FaltungError("confusion: must be counts, whole numbers from 0")
    counts = narrowed("confusion", counts, np.int64)
    wrong = counts - np.diag(np.diag(counts))
    chosen = np.arange(len(counts))
    if len(counts) > MOST_CLASSES:
        trouble = wrong.sum(0) + wrong.sum(1)
        chosen = np.sort(np.argsort(-trouble, kind="stable")[:MOST_CLASSES])
    total = counts.sum(1)
    part = counts[np.ix_(chosen, chosen)]
    everyone = len(chosen) == len(counts)
    return Confusion(
        labels=tuple(classes[int(i)] for i in chosen),
        rows=tuple(_row(part[n], n, int(total[i])) for n, i in enumerate(chosen)),
        others=() if everyone else tuple(int(n) for n in total[chosen] - part.sum(1)),
        recall=tuple(float(counts[i, i] / total[i]) if total[i] else None for i in chosen),
        classes=len(counts),
        samples=int(counts.sum()),
        right=int(np.diag(counts).sum()),
        pairs=_pairs(wrong, total, classes),
    )


@dataclass(frozen=True)
class ClassScores:
    """Of one class, from 0 to 1 (scikit-learn's definitions; 0 where nothing is divided by)."""

    name: str
    samples: int
    precision: float
    recall: float
    f1: float


def by_class(matrix: npt.ArrayLike, classes: Sequence[str]) -> tuple[ClassScores, ...]:
    """Of ``matrix[true, predicted]``, for classes that have samples or were predicted; of more than
    ``MOST_CLASSES`` those with the least F1, in their order.
    """
    counts = np.asarray(matrix, np.float64)
    right, true, said = np.diag(counts), counts.sum(1), counts.sum(0)
    parts = [
        np.divide(part, whole, out=np.zeros(len(counts)), where=whole > 0)
        for part, whole in ((right, said), (right, true), (2 * right, true + said))
    ]
    there = np.flatnonzero(true + said)
    worst = there[np.argsort(parts[2][there], kind="stable")[:MOST_CLASSES]]
    return tuple(
        ClassScores(classes[i], round(true[i]), *(float(part[i]) for part in parts))
        for i in np.sort(worst)
    )


def _row(counts: npt.NDArray[Any], diagonal: int, total: int) -> tuple[Cell, ...]:
    """Shaded by the square root of the share, so that one mistake in a hundred is visible."""
    shades = np.ceil(SHADES * np.sqrt(counts / max(total, 1))).astype(int)
    return tuple(
        Cell(int(count), int(shade), n == diagonal)
        for n, (count, shade) in enumerate(zip(counts, shades, strict=True))
    )


def _pairs(
    wrong: npt.NDArray[Any], total: npt.NDArray[Any], classes: Sequence[str]
) -> tuple[Pair, ...]:
    """The most frequent mistakes; equally frequent ones by class."""
    order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
    found = zip(*np.unravel_index(order, wrong.shape), strict=True)
    return tuple(
        Pair(classes[i], classes[j], int(wrong[i, j]), float(wrong[i, j] / total[i]))
        for i, j in found
        if wrong[i, j]
    )
