"""What "best" can mean: scores of predictions, by the definitions of scikit-learn.

Each is a few exact lines of NumPy instead of a call of scikit-learn: the choice of the best weights
belongs to the bits of a run, and must not depend on whether, or in which version, a further package
is installed. The tests compare them with scikit-learn.

Classes: where a score is a mean over classes ("macro"), each class counts the same. Labels of -1
do not count; where every position has a label, each position counts. Where a sample may have
several labels at once ("flags"), it is a mean over labels of the score of each. Samples may have
weights, as scikit-learn's ``sample_weight``.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.geometry.words import VALUES, meant
from faltung.graph.losses import targets_of
from faltung.runtime.memory import require

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Score:
    """``of``: the score of a confusion matrix (true, predicted), of (labels, probabilities,
    weights), of which rows have their label among the first, or of (numbers, outputs, weights), by
    ``kind``; None for what every evaluation finds anyway. ``higher``: whether more is better.
    ``flags``: the score of several labels at once, of (right, true, said) counts of each label or,
    of "probabilities", of (flags, probabilities, weights); None where there is none.
    """

    kind: str
    of: Callable[..., Any] | None
    higher: bool
    flags: Callable[..., float] | None = None


# Of counts: right ones, samples and predictions of each class -------------------------------------


def _share(part: Array, whole: Array) -> Array:
    """part / whole, 0 where there is nothing."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _precision(right: Array, true: Array, said: Array) -> float:
    return float(_share(right, said).mean())


def _recall(right: Array, true: Array, said: Array) -> float:
    return float(_share(right, true).mean())


def _f1(right: Array, true: Array, said: Array) -> float:
    return float(_share(2 * right, true + said).mean())


def _jaccard(right: Array, true: Array, said: Array) -> float:
    return float(_share(right, true + said - right).mean())


def _rates(matrix: Array) -> tuple[Array, Array, Array]:
    """Right ones, samples and predictions of each class that occurs among either."""
    right = np.diag(matrix).astype(np.float64)
    true, said = matrix.sum(1).astype(np.float64), matrix.sum(0).astype(np.float64)
    there = (true > 0) | (said > 0)
    return right[there], true[there], said[there]


# Of a confusion matrix ----------------------------------------------------------------------------


def precision(matrix: Array) -> float:
    """Of what is said to be of a class, the share that is; the mean over classes."""
    return _precision(*_rates(matrix))


def recall(matrix: Array) -> float:
    """Of the samples of a class, the share that is found; the mean over classes."""
    return _recall(*_rates(matrix))


def f1(matrix: Array) -> float:
    """The harmonic mean of precision and recall of each class; the mean over classes."""
    return _f1(*_rates(matrix))


def jaccard(matrix: Array) -> float:
    """Intersection over union of each class; the mean over classes."""
    return _jaccard(*_rates(matrix))


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

Ranking = Callable[[Array, Array, "Array | None"], float]


def _one_against_rest(score: Ranking) -> Ranking:
    """The mean over classes; of two classes the score of the second alone."""

    def of(labels: Array, probabilities: Array, weights: Array | None = None) -> float:
        count = probabilities.shape[1]
        if count == 2:
            return score(labels == 1, probabilities[:, 1], weights)
        each = [score(labels == c, probabilities[:, c], weights) for c in range(count)]
        return float(np.mean(each))

    return of


def _each_label(score: Ranking) -> Ranking:
    """The mean over labels that a sample may have at once."""

    def of(flags: Array, probabilities: Array, weights: Array | None = None) -> float:
        columns = range(probabilities.shape[1])
        each = [score(flags[:, c] > 0, probabilities[:, c], weights) for c in columns]
        return float(np.mean(each))

    return of


def _steps(positive: Array, values: Array, weights: Array | None) -> tuple[Array, Array]:
    """How many positive and negative samples, or what weight of them, have at least each of the
    values that occur, from the largest value down.
    """
    order = np.argsort(-values, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(values[order])), len(order) - 1)
    first = positive[order]
    if weights is None:
        right = np.cumsum(first)[ends]
        return right, 1 + ends - right
    each = weights[order]
    return np.cumsum(each * first)[ends], np.cumsum(each * ~first)[ends]


def _area(positive: Array, values: Array, weights: Array | None) -> float:
    """Under the ROC curve: how often a positive sample is above a negative one; a tie is half."""
    right, wrong = (np.append(0, counts) for counts in _steps(positive, values, weights))
    # Without weights twice the area is a whole number of pairs, so that nothing is rounded before
    # the division.
    twice = np.sum(np.diff(wrong) * (right[1:] + right[:-1])).item()
    return float(twice / (2 * right[-1].item() * wrong[-1].item()))


def _precision_by_recall(positive: Array, values: Array, weights: Array | None) -> float:
    """The mean precision over steps of recall."""
    right, wrong = _steps(positive, values, weights)
    gain = np.diff(np.append(0, right)) / right[-1]
    return float(np.sum(gain * _share(right.astype(np.float64), right + wrong)))


def among_five(labels: Array, outputs: Array) -> Array:
    """Whether the label of each row is among its five largest outputs; of equal ones the later come
    first.
    """
    own = np.take_along_axis(outputs, labels[:, np.newaxis], 1)
    later = np.arange(outputs.shape[1]) > labels[:, np.newaxis]
    return np.asarray(((outputs > own) | ((outputs == own) & later)).sum(1) < 5)


# Of numbers ---------------------------------------------------------------------------------------


def _mean(each: Array, weights: Array | None) -> Array:
    """The mean over samples."""
    return np.asarray(np.average(each, axis=0, weights=weights))


def mse(wanted: Array, made: Array, weights: Array | None = None) -> float:
    """The mean of squared errors."""
    return float(_mean((made - wanted) ** 2, weights).mean())


def rmse(wanted: Array, made: Array, weights: Array | None = None) -> float:
    """The root of the mean of squared errors of each output; the mean over outputs."""
    return float(np.sqrt(_mean((made - wanted) ** 2, weights)).mean())


def mae(wanted: Array, made: Array, weights: Array | None = None) -> float:
    """The mean of absolute errors."""
    return float(_mean(np.abs(made - wanted), weights).mean())


def r2(wanted: Array, made: Array, weights: Array | None = None) -> float:
    """The share of the variance that is explained, of each output; the mean over outputs."""
    left = _mean((wanted - made) ** 2, weights)
    spread = _mean((wanted - _mean(wanted, weights)) ** 2, weights)
    # A constant is explained whole, or not at all.
    of_constants = np.where(left == 0, 1.0, 0.0)
    parts = np.where(spread > 0, 1 - left / np.where(spread > 0, spread, 1.0), of_constants)
    return float(parts.mean())


# The table ----------------------------------------------------------------------------------------

SCORES: dict[str, Score] = {
    "loss": Score("any", None, False),
    "accuracy": Score("labels", None, True),
    "top5": Score("rows", among_five, True),
    "balanced_accuracy": Score("confusion", balanced_accuracy, True),
    "f1": Score("confusion", f1, True, _f1),
    "precision": Score("confusion", precision, True, _precision),
    "recall": Score("confusion", recall, True, _recall),
    "jaccard": Score("confusion", jaccard, True, _jaccard),
    "kappa": Score("confusion", kappa, True),
    "mcc": Score("confusion", mcc, True),
    "auc": Score("probabilities", _one_against_rest(_area), True, _each_label(_area)),
    "average_precision": Score(
        "probabilities",
        _one_against_rest(_precision_by_recall),
        True,
        _each_label(_precision_by_recall),
    ),
    "mse": Score("numbers", mse, False),
    "rmse": Score("numbers", rmse, False),
    "mae": Score("numbers", mae, False),
    "r2": Score("numbers", r2, True),
}
# What targets are called in messages.
_SAID = {"labels": "labels", "flags": "several labels at once", "numbers": "numbers"}


def usual(loss: str) -> str:
    """What decides unless something is chosen: accuracy for labels, the loss for numbers."""
    return "loss" if targets_of(loss) == "numbers" else "accuracy"


def check_score(name: object, loss: str | None = None, said: str = "metric") -> str:
    """The name of a score that goes with this loss. ValueError: none, or one that does not."""
    if not isinstance(name, str) or name not in SCORES:
        near = meant(name, SCORES, VALUES["metric"])
        raise FaltungError(f"{said}={show(name)}: must be one of {', '.join(SCORES)}{near}")
    if loss is not None and not fits(name, loss):
        others = ", ".join(other for other in SCORES if fits(other, loss))
        what = _SAID[targets_of(loss)]
        raise FaltungError(f"{said}={name!r}: does not apply to {what}; these do: {others}")
    return name


def fits(name: str, loss: str) -> bool:
    """Whether a score applies to targets that this loss takes."""
    score, targets = SCORES[name], targets_of(loss)
    if score.kind == "any":
        return True
    if targets == "flags":
        return score.kind == "labels" or score.flags is not None
    return (score.kind == "numbers") == (targets == "numbers")


def needs_outputs(names: Iterable[str]) -> bool:
    """Whether one of these scores needs all outputs at once."""
    return any(SCORES[name].kind in ("probabilities", "numbers") for name in names)


def better(name: str, value: float) -> float:
    """A number that is higher the better the score."""
    return value if SCORES[name].higher else -value


def no_confusion(count: int) -> Array:
    """Counts of nothing yet. MemoryError: more classes than a table of their pairs can have."""
    require(3 * 8 * count**2, f"metric: counting confusions of {count:,} classes")
    return np.zeros((count, count), np.int64)


def confusion_matrix(labels: Array, said: Array, count: int, weights: Array | None = None) -> Array:
    """Counts (true, predicted), or sums of weights, of labels that are not -1."""
    counted = labels >= 0
    pairs = labels[counted].astype(np.int64) * count + said[counted]
    each = None if weights is None else np.broadcast_to(_wide(weights, labels), labels.shape)
    each = None if each is None else each[counted]
    return np.bincount(pairs, each, minlength=count * count).reshape(count, count)


def flag_counts(flags: Array, said: Array, weights: Array | None = None) -> Array:
    """(3, labels): right ones, samples and predictions of each label, or sums of their weights; of
    flags (n, labels, *space).
    """
    axes = (0, *range(2, flags.ndim))
    wide = 1 if weights is None else _wide(weights, flags)
    true, said = flags > 0.5, said > 0.5
    found = [(each * wide).sum(axes, np.float64) for each in (true & said, true, said)]
    return np.array(found)


def _wide(weights: Array, like: Array) -> Array:
    """Weights of samples, shaped to broadcast."""
    return weights.reshape(-1, *(1,) * (like.ndim - 1))


def of_labels(
    name: str,
    matrix: Array,
    labels: Array,
    outputs: Array | None,
    weights: Array | None = None,
) -> float:
    """A score of labels (n, *space) and outputs (n, classes, *space) before softmax; by
    probabilities only if each class has samples.
    """
    score = SCORES[name]
    assert score.of is not None
    if score.kind == "confusion":
        return float(score.of(matrix)) if matrix.any() else 0.0
    assert outputs is not None
    counted = labels >= 0
    each = None
    if weights is not None:
        each = np.broadcast_to(_wide(weights, labels), labels.shape)[counted]
    rows = np.moveaxis(outputs, 1, -1)[counted].astype(np.float64)
    if score.kind == "rows":
        return float(np.average(score.of(labels[counted], rows), weights=each))
    rows = np.exp(rows - rows.max(1, keepdims=True))
    return float(score.of(labels[counted], rows / rows.sum(1, keepdims=True), each))


def of_flags(
    name: str, counts: Array, flags: Array, outputs: Array | None, weights: Array | None = None
) -> float:
    """A score of flags (n, labels, *space), their counts, and outputs before the sigmoid, which
    orders them as their probabilities do.
    """
    score = SCORES[name]
    assert score.flags is not None
    if score.kind == "confusion":
        return score.flags(*counts)
    assert outputs is not None
    rows, made = (
        np.moveaxis(array, 1, -1).reshape(-1, array.shape[1]) for array in (flags, outputs)
    )
    each = None if weights is None else np.repeat(weights, len(rows) // len(flags))
    return score.flags(rows, made.astype(np.float64), each)


def of_numbers(name: str, wanted: Array, outputs: Array, weights: Array | None = None) -> float:
    """A score of numbers (n, ...) and outputs (n, ...)."""
    score = SCORES[name]
    assert score.of is not None
    rows = (array.reshape(len(outputs), -1).astype(np.float64) for array in (wanted, outputs))
    return float(score.of(*rows, weights))
