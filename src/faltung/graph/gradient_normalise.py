"""The gradients of normalisations, each by one rule for all of it."""

from faltung.geometry.expr import Expr, operand
from faltung.graph.backward import Backward, trimmed
from faltung.graph.broadcast import joint
from faltung.graph.expand import Statistics, over_axes, rows_of
from faltung.graph.gradient_reduce import give
from faltung.graph.ops import Elementwise, GroupMean, Normalise, Reduce, Reduction
from faltung.graph.value import Value

A, B, C, D, E, F, G = map(operand, range(7))


def normalise(b: Backward, g: Value, found: Statistics) -> None:
    """With h = (x - mean) rstd and v = g gain: dx = rstd (v - mean(v) - h mean(v h)), the means
    over what the statistics were taken of; without mean(v) where none is subtracted.
    """
    op = found.node.op
    assert isinstance(op, Normalise)
    if found.scale is not None:
        _normalise_batch(b, g, found, found.scale)
    elif op.over == "group":
        _normalise_group(b, g, found)
    else:
        _normalise_axes(b, op, g, found)


def _affine(
    b: Backward,
    shape: tuple[int, ...],
    gain: Value,
    shift: Value,
    h: Expr,
    operands: tuple[Value, ...],
) -> tuple[Value, Value]:
    """The gradients of gain and shift, vectors of channels, in one pass."""
    shift_grad, gain_grad = b.nodes.reduce(
        shape, operands, Reduction(A, "channel"), Reduction(A * h, "channel")
    )
    b.give(shift, shift_grad)
    b.give(gain, gain_grad)
    return gain_grad, shift_grad


def _normalise_axes(b: Backward, op: Normalise, g: Value, found: Statistics) -> None:
    x, *affine = found.node.inputs
    mean, rstd, axes = found.mean, found.rstd, over_axes(op)
    h = B * C if mean is None else (B - D) * C
    known = (g, x, rstd) if mean is None else (g, x, rstd, mean)
    vectors = [value.shape == (x.channels,) and not value.batched for value in affine]
    if len(affine) == 2 and all(vectors):
        _affine(b, x.shape, affine[0], affine[1], h, known)
    else:
        for value, formula in zip(affine, (A * h, A), strict=False):
            if b.needs(value):
                give(b, value, joint([x, *affine]), formula, known)
    if not b.needs(x):
        return
    place = len(known)
    v = A * operand(place) if affine else A
    operands = (*known, *affine[:1])
    exprs = (v, v * h)[mean is None :]
    parts = b.nodes.add(Reduce(axes, "mean", exprs), operands, *(rstd.shape for _ in exprs))
    last = len(operands)
    rest = v - h * operand(last + len(parts) - 1)
    if mean is not None:
        rest = v - operand(last) - h * operand(last + 1)
    formula, read = trimmed(C * rest, [*operands, *parts])
    b.give(x, *b.nodes.add(Elementwise(x.shape, (formula,)), read, x.shape))


def _normalise_group(b: Backward, g: Value, found: Statistics) -> None:
    x, gain, shift = found.node.inputs
    mean, rstd = found.mean, found.rstd
    assert mean is not None
    h = (B - C) * D
    _affine(b, x.shape, gain, shift, h, (g, x, mean, rstd))
    if not b.needs(x):
        return
    v = A * E
    op = b.makers[mean.name].op
    assert isinstance(op, GroupMean)
    parts = b.nodes.reduce(
        x.shape,
        (g, x, mean, rstd, gain),
        Reduction(v, "sample", mean=True),
        Reduction(v * h, "sample", mean=True),
    )
    means = [b.nodes.add(op, (part,), part.shape)[0] for part in parts]
    formula = D * (v - F - h * G)
    made = Elementwise(x.shape, (formula,))
    b.give(x, *b.nodes.add(made, (g, x, mean, rstd, gain, *means), x.shape))


def _normalise_batch(b: Backward, g: Value, found: Statistics, scale: Value) -> None:
    x, gain, shift = found.node.inputs[:3]
    assert found.mean is not None
    gain_grad, shift_grad = _affine(
        b, x.shape, gain, shift, (B - C) * D, (g, x, found.mean, found.rstd)
    )
    if not b.needs(x):
        return
    rows = rows_of(x)
    along, constant_part = b.nodes.vectors(
        (scale, found.rstd, gain_grad, shift_grad, rows), -(A * B * C / E), -(A * D / E)
    )
    formula = A * B + C * (D - E) + F
    operands = (g, scale, along, x, found.mean, constant_part)
    b.give(x, *b.nodes.add(Elementwise(x.shape, (formula,)), operands, x.shape))
