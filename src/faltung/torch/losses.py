"""Losses, from ATen: a number for each row or element, and what is made of these."""

from collections.abc import Callable
from math import nan, pi

import numpy as np

from faltung.geometry.expr import (
    Expr,
    at_least,
    equal,
    greater,
    maximum,
    minimum,
    select,
    unary,
)
from faltung.geometry.expr import logic as both
from faltung.graph import activations
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_formulas import Operand, formula
from faltung.graph.foreign_losses import MOST_CLASSES, as_classes, numbered, picked
from faltung.graph.foreign_reduce import reduced
from faltung.graph.foreign_terms import power
from faltung.torch.arguments import Arguments
from faltung.torch.formulas import Handler, as_given, clamped, given
from faltung.torch.pointwise import times, x_log
from faltung.torch.reductions import along, numbers, pair_distance

# What ``reduction`` says, by its number.
NONE, MEAN, SUM = range(3)
# A logarithm of a probability is at least this, as in PyTorch.
LEAST_LOG = -100.0
# What PyTorch adds to squares of lengths.
EMBEDDING_EPS = 1e-12


def ended(a: Arguments, loss: Tensor) -> Tensor:
    """The losses themselves, their mean or their sum."""
    reduction = a.whole("reduction")
    if reduction == NONE:
        return a.f.reshaped(loss, a.shape())
    kind = "mean" if reduction == MEAN else "sum"
    return reduced(a.f, loss, range(loss.rank), kind, False)


def elementwise(of: Callable[[Arguments], Callable[..., Expr]], *names: str) -> Handler:
    """A formula of tensors that are broadcast, by default of "self" and "target"."""
    names = names or ("self", "target")

    def made(a: Arguments) -> Tensor:
        read = [given(a, name) for name in names if a.has(name)]
        if not any(isinstance(x, Tensor) for x in read):
            read[0] = a.tensor(names[0])
        return ended(a, formula(a.f, of(a), *read, dtype=a.dtype()))

    return made


# Of classes ---------------------------------------------------------------------------------------


def _rows(a: Arguments) -> tuple[Tensor, Operand]:
    """Scores (batch, classes, *space), and what they are compared with in the same axes: labels
    (batch, 1, *space), or probabilities.
    """
    x, target = numbers(a), as_given(a, a["target"], "target")
    shape = (1, *x.shape) if x.rank == 1 else x.shape
    if x.shape == target.shape and "int" not in a["target"].dtype:
        wide = shape
    elif shape[1] > MOST_CLASSES:
        raise Unsaid(f"{shape[1]} classes")
    else:
        wide = (shape[0], 1, *shape[2:])
    reshaped = a.f.reshaped(target, wide) if isinstance(target, Tensor) else target.reshape(wide)
    return a.f.reshaped(x, shape), reshaped


def _weight(a: Arguments, x: Tensor) -> Operand | None:
    return as_classes(a.f, given(a, "weight"), x.rank) if a.has("weight") else None


def by_label(
    a: Arguments, x: Tensor, label: Operand, loss: Tensor, smooth: Tensor | None = None
) -> Tensor:
    """Losses of rows (batch, 1, *space), weighted by their class, without those that are ignored. A
    label that is no class makes NaN. smooth: a loss of all classes beside it.
    """
    f, ignored, count = a.f, float(a.whole("ignore_index")), x.shape[1]
    weight = _weight(a, x)
    own = None if weight is None else picked(f, weight, label, x.shape, x.dtype)
    share = a.number("label_smoothing") if smooth is not None else 0.0

    def counted(made: Expr, label: Expr) -> Expr:
        here = both("and", at_least(label, 0), greater(count, label))
        return select(equal(label, ignored), 0, select(here, made, nan))

    def of(label: Expr, loss: Expr, *more: Expr) -> Expr:
        rest = list(more)
        made = loss if own is None else times(loss, rest.pop(0))
        return counted(made * (1 - share) + rest[0] * (share / count) if rest else made, label)

    read = [x for x in (own, smooth) if x is not None]
    total = formula(f, of, label, loss, *read, dtype=x.dtype)
    if a.whole("reduction") != MEAN:
        return ended(a, total)
    shape = (x.shape[0], 1, *x.shape[2:])
    one: Operand = np.ones(()) if own is None else own
    if own is None and not isinstance(label, Tensor):
        kept = np.where(label == ignored, 0.0, 1.0).sum()
        return _ratio(a, total, np.asarray(kept))
    parts = formula(f, lambda w, n: counted(times(w, 1), n), one, label, shape=shape, dtype=x.dtype)
    return _ratio(a, total, reduced(f, parts, range(parts.rank), "sum", False))


def _ratio(a: Arguments, total: Tensor, weight: Operand) -> Tensor:
    whole = reduced(a.f, total, range(total.rank), "sum", False)
    return formula(a.f, lambda x, w: Expr("div", (x, w)), whole, weight)


def _likelihood(a: Arguments) -> Tensor:
    """Of logarithms of probabilities."""
    x, label = _rows(a)
    loss = formula(a.f, lambda x: -x, picked(a.f, x, label, x.shape, x.dtype))
    return by_label(a, x, label, loss)


def _cross_entropy(a: Arguments) -> Tensor:
    """Of scores. The logarithm of the probability of a class is its score minus that of the sum
    of all powers, so that no probability is stored.
    """
    x, target = _rows(a)
    f, smoothing = a.f, a.number("label_smoothing")
    whole = reduced(f, x, (1,), "log_sum_exp", True)
    weight = _weight(a, x)
    weights = [] if weight is None else [weight]
    if target.shape == x.shape and "int" not in a["target"].dtype:
        return _of_probabilities(a, x, whole, target, weights)
    chosen = picked(f, x, target, x.shape, x.dtype)
    loss = formula(f, lambda s, x: s - x, whole, chosen)
    smooth = None
    if smoothing:
        every = formula(f, lambda s, x, *w: _weighted(s - x, *w), whole, x, *weights)
        smooth = reduced(f, every, (1,), "sum", True)
    return by_label(a, x, target, loss, smooth)


def _weighted(x: Expr, *weight: Expr) -> Expr:
    return times(x, weight[0]) if weight else x


def _of_probabilities(
    a: Arguments, x: Tensor, whole: Tensor, target: Operand, weights: list[Operand]
) -> Tensor:
    f, smoothing, count = a.f, a.number("label_smoothing"), x.shape[1]

    def of(s: Expr, x: Expr, t: Expr, *w: Expr) -> Expr:
        t = t * (1 - smoothing) + smoothing / count if smoothing else t
        return times(_weighted(s - x, *w), t)

    losses = formula(f, of, whole, x, target, *weights)
    rows = reduced(f, losses, (1,), "sum", False)
    return ended(a, rows)


def _multi_margin(a: Arguments) -> Tensor:
    x, label = _rows(a)
    f, margin, p, count = a.f, a.number("margin"), a.number("p"), x.shape[1]
    own = picked(f, x, label, x.shape, x.dtype)
    weight = _weight(a, x)
    weights = [] if weight is None else [picked(f, weight, label, x.shape, x.dtype)]

    def of(x: Expr, own: Expr, label: Expr, number: Expr, *w: Expr) -> Expr:
        short = power(maximum(margin - own + x, 0), p) * (1 / count)
        here = both("and", at_least(label, 0), greater(count, label))
        return select(equal(label, number), 0, select(here, _weighted(short, *w), nan))

    losses = formula(f, of, x, own, label, numbered(f, x.shape), *weights)
    return ended(a, reduced(f, losses, (1,), "sum", False))


def one_hot(a: Arguments) -> Tensor:
    """1 at the number of the class, which is checked when the numbers come, else 0."""
    count = a.whole("num_classes")
    label = as_given(a, a["self"])
    if count < 1 or count > MOST_CLASSES or not isinstance(label, Tensor):
        raise Unsaid("as many classes as the numbers say")
    a.tokens("self", count)
    made = a.f.reshaped(label, (*label.shape, 1))
    numbers = np.arange(count, dtype=a.f.dtype)
    return formula(a.f, lambda x, n: select(equal(x, n), 1, 0), made, numbers, dtype=a.dtype())


# Of elements --------------------------------------------------------------------------------------


def _smooth(a: Arguments) -> Callable[..., Expr]:
    beta = a.number("beta")

    def of(x: Expr, t: Expr) -> Expr:
        away = unary("abs", x - t)
        if not beta:
            return away
        return select(greater(beta, away), away * away * (0.5 / beta), away - 0.5 * beta)

    return of


def _huber(a: Arguments) -> Callable[..., Expr]:
    delta = a.number("delta")

    def of(x: Expr, t: Expr) -> Expr:
        away = unary("abs", x - t)
        return select(at_least(delta, away), away * away * 0.5, (away - 0.5 * delta) * delta)

    return of


def _log(x: Expr, of: str) -> Expr:
    """A logarithm, not below what PyTorch allows."""
    made = unary(of, x)
    return select(greater(LEAST_LOG, made), LEAST_LOG, made)


def _binary(a: Arguments) -> Callable[..., Expr]:
    def of(x: Expr, t: Expr, *w: Expr) -> Expr:
        made = (t - 1) * _log(-x, "log1p") - t * _log(x, "log")
        return _weighted(select(_is_probability(x), made, nan), *w)

    return of


def _is_probability(x: Expr) -> Expr:
    """PyTorch stops where it is none."""
    return both("and", at_least(x, 0), at_least(1, x))


def _binary_of_scores(a: Arguments) -> Callable[..., Expr]:
    positive, weighted = a.has("pos_weight"), a.has("weight")

    def of(x: Expr, t: Expr, *more: Expr) -> Expr:
        rest = list(more)
        weight = [rest.pop(0)] if weighted else []
        low = activations.softplus().replaced([-x])
        low = low * ((rest[0] - 1) * t + 1) if positive else low
        return _weighted((1 - t) * x + low, *weight)

    return of


def _divergence(a: Arguments) -> Callable[..., Expr]:
    if a.flag("log_target"):
        return lambda x, t: unary("exp", t) * (t - x)
    return lambda x, t: x_log("log")(t, t) - times(t, x)


def _poisson(a: Arguments) -> Callable[..., Expr]:
    logs, full, eps = a.flag("log_input"), a.flag("full"), a.number("eps")

    def of(x: Expr, t: Expr) -> Expr:
        made = unary("exp", x) - t * x if logs else x - t * unary("log", x + eps)
        if not full:
            return made
        rest = t * unary("log", t) - t + 0.5 * unary("log", 2 * pi * t)
        return made + select(greater(t, 1), rest, 0)

    return of


def _hinge(a: Arguments) -> Callable[..., Expr]:
    margin = a.number("margin")

    def of(x: Expr, t: Expr) -> Expr:
        near = select(equal(t, -1), 0, x)
        return near + select(equal(t, 1), 0, clamped(margin - x, 0, None))

    return of


def _ranking(a: Arguments) -> Callable[..., Expr]:
    margin = a.number("margin")
    return lambda x, y, t: clamped(margin - t * (x - y), 0, None)


def _cosine_embedding(a: Arguments) -> Tensor:
    x, y, f = numbers(a, "input1"), numbers(a, "input2"), a.f
    axis = x.rank - 1
    dots = [along(a, p, q, (axis,), False) for p, q in ((x, y), (x, x), (y, y))]
    margin = a.number("margin")

    def of(dot: Expr, xx: Expr, yy: Expr, t: Expr) -> Expr:
        root = unary("sqrt", (xx + EMBEDDING_EPS) * (yy + EMBEDDING_EPS))
        cosine = dot / root
        apart = select(equal(t, -1), clamped(cosine - margin, 0, None), 0)
        return select(equal(t, 1), 1 - cosine, apart)

    return ended(a, formula(f, of, *dots, given(a, "target")))


def _triplet(a: Arguments) -> Tensor:
    x, y, z = (numbers(a, name) for name in ("anchor", "positive", "negative"))
    p, eps, margin = a.number("p"), a.number("eps"), a.number("margin")
    near, far = (pair_distance(a, x, other, p, eps) for other in (y, z))
    more = [pair_distance(a, y, z, p, eps)] if a.flag("swap") else []

    def of(near: Expr, far: Expr, *other: Expr) -> Expr:
        return clamped(margin + near - (minimum(far, other[0]) if other else far), 0, None)

    return ended(a, formula(a.f, of, near, far, *more))


def _settled(of: Callable[..., Expr]) -> Callable[[Arguments], Callable[..., Expr]]:
    return lambda a: of


def _squared(x: Expr, t: Expr) -> Expr:
    return (x - t) * (x - t)


def _soft_margin(x: Expr, t: Expr) -> Expr:
    return activations.softplus().replaced([-(t * x)])


TABLE: dict[str, Handler] = {
    "cross_entropy_loss": _cross_entropy,
    "nll_loss": _likelihood,
    "nll_loss2d": _likelihood,
    "nll_loss_nd": _likelihood,
    "multi_margin_loss": _multi_margin,
    "one_hot": one_hot,
    "mse_loss": elementwise(_settled(_squared)),
    "l1_loss": elementwise(_settled(lambda x, t: unary("abs", x - t))),
    "smooth_l1_loss": elementwise(_smooth),
    "huber_loss": elementwise(_huber),
    "binary_cross_entropy": elementwise(_binary, "self", "target", "weight"),
    "binary_cross_entropy_with_logits": elementwise(
        _binary_of_scores, "self", "target", "weight", "pos_weight"
    ),
    "kl_div": elementwise(_divergence),
    "poisson_nll_loss": elementwise(_poisson, "input", "target"),
    "hinge_embedding_loss": elementwise(_hinge),
    "soft_margin_loss": elementwise(_settled(_soft_margin)),
    "margin_ranking_loss": elementwise(_ranking, "input1", "input2", "target"),
    "cosine_embedding_loss": _cosine_embedding,
    "triplet_margin_loss": _triplet,
}
