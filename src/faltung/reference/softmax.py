"""The definition of softmax and cross-entropy along the channels of (N, C, *space), in float64."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
IGNORED = -1


class CrossEntropy(NamedTuple):
    """losses, correct: (batch, *space), correct being 0 or 1; grad: in the shape of the logits."""

    losses: Array
    correct: Array
    grad: Array


def _powers(logits: ArrayLike) -> tuple[Array, Array]:
    """The logits minus the largest of their row, and the exponentials of that."""
    x = np.asarray(logits, dtype=np.float64)
    with np.errstate(invalid="ignore", under="ignore"):
        away = x - np.fmax.reduce(x, axis=1, keepdims=True)  # the largest, ignoring NaN
        return away, np.exp(away)


def log_softmax(logits: ArrayLike) -> Array:
    """The logarithms of the probabilities."""
    away, powers = _powers(logits)
    return np.asarray(away - np.log(powers.sum(axis=1, keepdims=True)))


def softmax(logits: ArrayLike) -> Array:
    """The probabilities: positive, with sum 1."""
    _, powers = _powers(logits)
    with np.errstate(under="ignore"):
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    smoothing: float = 0.0,
    scale: float = 1.0,
    weights: ArrayLike | None = None,
) -> CrossEntropy:
    """The losses of all rows, and the gradient of ``scale * losses.sum()`` with respect to logits.

    labels: ints (batch, *space); a row with the label ``IGNORED`` has loss and gradient zero. The
    target is ``smoothing / channels`` for every channel, plus ``1 - smoothing`` for the label, each
    times the channel's weight. A
    row is correct if the first of its largest entries is that of the label and no entry is NaN.
    """
    x, chosen = np.asarray(logits, dtype=np.float64), np.expand_dims(np.asarray(labels), 1)
    channels = x.shape[1]
    number = np.arange(channels).reshape(-1, *(1,) * (x.ndim - 2))
    target = np.where(number == chosen, 1 - smoothing, 0.0) + smoothing / channels
    if weights is not None:
        target = target * np.reshape(np.asarray(weights, dtype=np.float64), number.shape)
    logs, counts = log_softmax(x), chosen != IGNORED
    with np.errstate(invalid="ignore"):
        terms = np.where(target == 0, np.where(np.isnan(logs), np.nan, 0.0), target * logs)
    losses = np.where(counts, -terms.sum(axis=1, keepdims=True), 0.0)[:, 0]
    best = np.argmax(np.where(np.isnan(x), -np.inf, x), axis=1)
    right = counts[:, 0] & (best == chosen[:, 0]) & ~np.isnan(logs).any(axis=1)
    with np.errstate(under="ignore"):
        whole = 1.0 if weights is None else target.sum(axis=1, keepdims=True)
        grad = np.where(counts, scale * (softmax(x) * whole - target), 0.0)
    return CrossEntropy(losses, right.astype(np.float64), grad)


def soft_cross_entropy(
    logits: ArrayLike, targets: ArrayLike, *, scale: float = 1.0
) -> tuple[Array, Array]:
    """The losses ``- sum t_c log p_c`` of targets t in the shape of the logits, and the gradient of
    ``scale * losses.sum()`` with respect to the logits. A row of zeros has loss and gradient zero.
    """
    x, t = np.asarray(logits, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    logs, whole = log_softmax(x), t.sum(axis=1, keepdims=True)
    counts = whole != 0
    with np.errstate(invalid="ignore"):
        terms = np.where(t == 0, np.where(np.isnan(logs), np.nan, 0.0), t * logs)
    losses = np.where(counts, -terms.sum(axis=1, keepdims=True), 0.0)[:, 0]
    return losses, np.where(counts, scale * (softmax(x) * whole - t), 0.0)
