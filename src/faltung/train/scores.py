"""What "best" can mean: scores of predictions, by the definitions of scikit-learn.

Each is a few exact lines of NumPy instead of a call of scikit-learn: the choice of the best weights
belongs to the bits of a run, and must not depend on whether, or in which version, a further package
is installed. The tests compare them with scikit-learn.

Classes: where a score is a mean over classes ("macro"), each class counts the same. Labels of -1
do not count; where every position has a label, each position counts.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.runtime.memory import require

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Score:
    """``of``: the score of a confusion matrix (true, predicted), of (labels, probabilities), or of
    (numbers, outputs), by ``kind``; None for what every evaluation finds anyway. ``higher``:
    whether more is better.
    """

    kind: str
    of: Callable[..., float] | None
    higher: bool


# Of a confusion matrix ----------------------------------------------------------------------------


def _rates(matrix: Array) -> tuple[Array, Array, Array]:
    """Right ones, samples and predictions of each class that occurs among either."""
    right = np.diag(matrix).astype(np.float64)
    true, said = matrix.sum(1).astype(np.float64), matrix.sum(0).astype(np.float64)
    there = (true > 0) | (said > 0)
    return right[there], true[there], said[there]


def _share(part: Array, whole: Array) -> Array:
    """part / whole, 0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def precision(matrix: Array) -> float:
    """Of what is said to be of a class, the share that is; the mean over classes."""
    right, _, said = _rates(matrix)
    return float(_share(right, said).mean())


def recall(matrix: Array) -> float:
    """Of the samples of a class, the share that is found; the mean over classes."""
    right, true, _ = _rates(matrix)
    return float(_share(right, true).mean())


def f1(matrix: Array) -> float:
    """The harmonic mean of precision and recall of each class; the mean over classes."""
    right, true, said = _rates(matrix)
    return float(_share(2 * right, true + said).mean())


def jaccard(matrix: Array) -> float:
    """Intersection over union of each class; the mean over classes."""
    right, true, said = _rates(matrix)
    return float(_share(right, true + said - right).mean())


def balanced_accuracy(matrix: Array) -> float:
    """The recall, over classes that have samples alone."""
    true = matrix.sum(1)
    return float((np.diag(matrix)[true > 0] / true[true > 0]).mean())


def kappa(matrix: Array) -> float:
    """Cohen's kappa: how much better than chance, of what is left above it."""
    counts = matrix.astype(np.float64)
    total = counts.sum()
    expected = float(counts.sum(1) @ counts.sum(0)) / total
    right = float(np.diag(counts).sum())
    return (right - expected) / (total - expected) if total != expected else 1.0


def mcc(matrix: Array) -> float:
    """The correlation of true and predicted classes (Matthews; Gorodkin, 2004)."""
    counts = matrix.astype(np.float64)
    true, said, total = counts.sum(1), counts.sum(0), counts.sum()
    both = np.diag(counts).sum() * total - true @ said
    spread = (total**2 - said @ said) * (total**2 - true @ true)
    return float(both / np.sqrt(spread)) if spread > 0 else 0.0


# Of probabilities ---------------------------------------------------------------------------------


def _one_against_rest(score: Callable[[Array, Array], float]) -> Callable[[Array, Array], float]:
    """The mean over classes; of two classes the score of the second alone."""

    def of(labels: Array, probabilities: Array) -> float:
        count = probabilities.shape[1]
        if count == 2:
            return score(labels == 1, probabilities[:, 1])
        return float(np.mean([score(labels == c, probabilities[:, c]) for c in range(count)]))

    return of


def _steps(positive: Array, values: Array) -> tuple[Array, Array]:
    """How many positive and negative samples have at least each of the values that occur, from the
    largest value down.
    """
    order = np.argsort(-values, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(values[order])), len(order) - 1)
    right = np.cumsum(positive[order])[ends]
    return right, 1 + ends - right


def _area(positive: Array, values: Array) -> float:
    """Under the ROC curve: how often a positive sample is above a negative one; a tie is half."""
    right, wrong = (np.append(0, counts) for counts in _steps(positive, values))
    # Twice the area is a whole number of pairs, so that nothing is rounded before the division.
    twice = int(np.sum(np.diff(wrong) * (right[1:] + right[:-1])))
    return twice / (2 * int(right[-1]) * int(wrong[-1]))


def _precision_by_recall(positive: Array, values: Array) -> float:
    """The mean precision over steps of recall."""
    right, wrong = _steps(positive, values)
    gain = np.diff(np.append(0, right)) / right[-1]
    return float(np.sum(gain * (right / (right + wrong))))


# Of numbers ---------------------------------------------------------------------------------------


def mse(wanted: Array, made: Array) -> float:
    """The mean of squared errors."""
    return float(((made - wanted) ** 2).mean())


def rmse(wanted: Array, made: Array) -> float:
    """The root of the mean of squared errors of each output; the mean over outputs."""
    return float(np.sqrt(((made - wanted) ** 2).mean(0)).mean())


def mae(wanted: Array, made: Array) -> float:
    """The mean of absolute errors."""
    return float(np.abs(made - wanted).mean())


def r2(wanted: Array, made: Array) -> float:
    """The share of the variance that is explained, of each output; the mean over outputs."""
    left = ((wanted - made) ** 2).sum(0)
    spread = ((wanted - wanted.mean(0)) ** 2).sum(0)
    # A constant is explained whole, or not at all.
    of_constants = np.where(left == 0, 1.0, 0.0)
    parts = np.where(spread > 0, 1 - left / np.where(spread > 0, spread, 1.0), of_constants)
    return float(parts.mean())


# The table ----------------------------------------------------------------------------------------

SCORES: dict[str, Score] = {
    "loss": Score("any", None, False),
    "accuracy": Score("labels", None, True),
    "balanced_accuracy": Score("confusion", balanced_accuracy, True),
    "f1": Score("confusion", f1, True),
    "precision": Score("confusion", precision, True),
    "recall": Score("confusion", recall, True),
    "jaccard": Score("confusion", jaccard, True),
    "kappa": Score("confusion", kappa, True),
    "mcc": Score("confusion", mcc, True),
    "auc": Score("probabilities", _one_against_rest(_area), True),
    "average_precision": Score("probabilities", _one_against_rest(_precision_by_recall), True),
    "mse": Score("numbers", mse, False),
    "rmse": Score("numbers", rmse, False),
    "mae": Score("numbers", mae, False),
    "r2": Score("numbers", r2, True),
}


def usual(loss: str) -> str:
    """What decides unless something is chosen: accuracy for labels, the loss for numbers."""
    return "loss" if loss == "mse" else "accuracy"


def check_score(name: object, loss: str | None = None, said: str = "metric") -> str:
    """The name of a score that goes with this loss. ValueError: none, or one that does not."""
    if not isinstance(name, str) or name not in SCORES:
        raise FaltungError(f"{said}={show(name)}: must be one of {', '.join(SCORES)}")
    if loss is not None and not fits(name, loss):
        others = ", ".join(other for other in SCORES if fits(other, loss))
        what = "numbers" if loss == "mse" else "labels"
        raise FaltungError(f"{said}={name!r}: does not apply to {what}; these do: {others}")
    return name


def fits(name: str, loss: str) -> bool:
    """Whether a score applies to targets that this loss takes."""
    return SCORES[name].kind == "any" or (SCORES[name].kind == "numbers") == (loss == "mse")


def needs_outputs(names: Iterable[str]) -> bool:
    """Whether one of these scores cannot be had from a confusion matrix."""
    return any(SCORES[name].kind in ("probabilities", "numbers") for name in names)


def better(name: str, value: float) -> float:
    """A number that is higher the better the score."""
    return value if SCORES[name].higher else -value


def no_confusion(count: int) -> Array:
    """Counts of nothing yet. MemoryError: more classes than a table of their pairs can have."""
    require(3 * 8 * count**2, f"metric: counting confusions of {count:,} classes")
    return np.zeros((count, count), np.int64)


def confusion_matrix(labels: Array, said: Array, count: int) -> Array:
    """Counts (true, predicted), of labels that are not -1."""
    counted = labels >= 0
    pairs = labels[counted].astype(np.int64) * count + said[counted]
    return np.bincount(pairs, minlength=count * count).reshape(count, count)


def of_labels(name: str, matrix: Array, labels: Array, outputs: Array | None) -> float:
    """A score of labels (n, *space) and outputs (n, classes, *space) before softmax; by
    probabilities only if each class has samples.
    """
    score = SCORES[name]
    assert score.of is not None
    if score.kind == "confusion":
        return score.of(matrix) if matrix.any() else 0.0
    assert outputs is not None
    counted = labels >= 0
    rows = np.moveaxis(outputs, 1, -1)[counted].astype(np.float64)
    rows = np.exp(rows - rows.max(1, keepdims=True))
    return score.of(labels[counted], rows / rows.sum(1, keepdims=True))


def of_numbers(name: str, wanted: Array, outputs: Array) -> float:
    """A score of numbers (n, ...) and outputs (n, ...)."""
    score = SCORES[name]
    assert score.of is not None
    rows = (array.reshape(len(outputs), -1).astype(np.float64) for array in (wanted, outputs))
    return score.of(*rows)
