"""Losses of classes, from ONNX: what is picked by a label is a sum over the classes."""

from typing import Any

import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr, equal, select
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_losses import MOST_CLASSES, as_classes, picked
from faltung.graph.foreign_maps import known
from faltung.graph.foreign_reduce import reduced, softmax
from faltung.onnx.arguments import Arguments

Array = npt.NDArray[Any]


def negative_log_likelihood(a: Arguments) -> Tensor:
    return _loss(a, a.floats(0))


def cross_entropy(a: Arguments) -> list[Tensor]:
    scores = a.floats(0)
    if scores.rank < 2:
        raise FaltungError(f"scores of shape {scores.shape}: must be (batch, classes, *space)")
    log = softmax(a.f, scores, (1,), log=True)
    return [_loss(a, log), log][: len(a.call.outputs)]


def _loss(a: Arguments, log: Tensor) -> Tensor:
    """Of logarithms (batch, classes, *space): minus that of the label, weighted; one number, or
    with ``reduction`` none one for each label.
    """
    f, kind = a.f, a.word("reduction", "mean")
    if kind not in ("none", "sum", "mean"):
        raise FaltungError(f"reduction={kind!r}: must be none, sum or mean")
    label, weight = _labels(a, log), _weight(a, log)
    rank = log.rank
    loss = picked(f, log, label, log.shape, log.dtype)
    if weight is not None:
        weight = picked(f, weight, label, log.shape, log.dtype)
    ignored = a.attribute("ignore_index")
    if ignored is not None:
        index = float(a.whole("ignore_index", 0))

        def kept(*operands: Expr) -> Expr:
            return select(equal(operands[-1], index), 0, operands[0] if len(operands) > 1 else 1)

        given = [label] if weight is None else [weight, label]
        weight = formula(f, kept, *given, dtype=log.dtype)
    # What does not count is zero, be it infinite.
    if weight is None:
        loss = formula(f, lambda x: -x, loss)
    else:
        loss = formula(f, lambda x, w: select(equal(w, 0), 0, -(x * w)), loss, weight)
    axes = range(rank)
    if kind == "none":
        return f.reshaped(loss, (log.shape[0], *log.shape[2:]))
    if kind == "sum" or weight is None:
        return reduced(f, loss, axes, kind, False)
    total = reduced(f, loss, axes, "sum", False)
    return formula(f, lambda x, w: x / w, total, reduced(f, weight, axes, "sum", False))


def _labels(a: Arguments, log: Tensor) -> Tensor:
    """The labels as real numbers, as they meet the logarithms."""
    labels = a[1]
    shape = (log.shape[0], *log.shape[2:])
    if labels.shape != shape:
        raise FaltungError(f"labels of shape {labels.shape}: must be {shape}")
    if log.shape[1] > MOST_CLASSES:
        raise Unsaid(f"{log.shape[1]} classes")
    wide = (shape[0], 1, *shape[1:])
    if isinstance(labels, Tensor):
        return a.f.reshaped(a.f.real(labels), wide)
    return known(a.f, labels.astype(a.f.dtype).reshape(wide), log.dtype)


def _weight(a: Arguments, log: Tensor) -> Tensor | Array | None:
    if not a.has(2):
        return None
    weight: Tensor | Array = a[2]
    if weight.shape != (log.shape[1],):
        raise FaltungError(f"weight of shape {weight.shape}: must be ({log.shape[1]},)")
    return as_classes(a.f, weight, log.rank)


TABLE = {
    "NegativeLogLikelihoodLoss": negative_log_likelihood,
    "SoftmaxCrossEntropyLoss": cross_entropy,
}
