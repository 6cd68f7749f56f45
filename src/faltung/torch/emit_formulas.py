"""Formulas as functions of PyTorch, and what applies them to maps."""

import operator
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from faltung.geometry.expr import FORMATS, Expr
from faltung.graph import ops
from faltung.graph.broadcast import joint
from faltung.graph.value import Node, Value
from faltung.nn import activation
from faltung.torch.emitter import Emitter, Operand

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": operator.neg,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "and": torch.logical_and,
    "or": torch.logical_or,
    "xor": torch.logical_xor,
    "not": torch.logical_not,
    "mod": torch.remainder,
    "ndtr": torch.special.ndtr,
    **{
        name: getattr(torch, name)
        for name in (
            "abs sqrt exp expm1 log log1p tanh sigmoid erf floor ceil round trunc sign sin cos tan "
            "asin acos atan sinh cosh asinh acosh atanh fmod pow"
        ).split()
    },
}
# Activations that are modules of PyTorch, by the layer.
ACTIVATIONS: dict[type, Callable[[Any], nn.Module]] = {
    activation.ReLU: lambda layer: nn.ReLU(),
    activation.ReLU6: lambda layer: nn.ReLU6(),
    activation.LeakyReLU: lambda layer: nn.LeakyReLU(float(layer.slope)),
    activation.ELU: lambda layer: nn.ELU(float(layer.alpha)),
    activation.Sigmoid: lambda layer: nn.Sigmoid(),
    activation.Tanh: lambda layer: nn.Tanh(),
    activation.SiLU: lambda layer: nn.SiLU(),
    activation.GELU: lambda layer: nn.GELU(layer.approximate),
    activation.Softplus: lambda layer: nn.Softplus(threshold=40),
    activation.HardSigmoid: lambda layer: nn.Hardsigmoid(),
    activation.HardSwish: lambda layer: nn.Hardswish(),
}


def formula(e: Emitter, expr: Expr, operands: Sequence[Operand]) -> fx.Node:
    """A formula of tensors that broadcast against each other."""
    known: dict[Expr, Operand] = {}

    def of(part: Expr) -> Operand:
        if part not in known:
            known[part] = made(part)
        return known[part]

    def made(part: Expr) -> Operand:
        if part.op == "operand":
            return operands[int(part.args[0])]  # type: ignore[arg-type]
        if part.value is not None:
            return float(part.value)
        given = list(map(of, part.terms))
        if part.op in ("max", "min"):
            return _extreme(e, part.op, given)
        if part.op == "select":
            branches = given[1:]
            if not any(isinstance(x, fx.Node) for x in branches):  # of which dtype else?
                branches[0] = e.constant(np.float64(branches[0]))
            return e.call(torch.where, given[0], *branches)
        if part.op == "gaussian":
            return e.call(torch.exp, e.call(operator.mul, -0.5, e.call(torch.square, *given)))
        if part.op in FORMATS:
            short = e.method("to", given[0], getattr(torch, part.op.removeprefix("as_")))
            return e.method("type_as", short, given[0])
        if part.op not in FUNCTIONS:
            raise e.refused(f"the formula {part.op!r}")
        return e.call(FUNCTIONS[part.op], *given)

    found = of(expr)
    return found if isinstance(found, fx.Node) else e.constant(np.float64(found))


def _extreme(e: Emitter, op: str, given: list[Operand]) -> fx.Node:
    """The larger or smaller of two; a number bounds a tensor. NaN stays NaN."""
    tensors = [x for x in given if isinstance(x, fx.Node)]
    if len(tensors) == 2:
        return e.call(torch.maximum if op == "max" else torch.minimum, *tensors)
    (bound,) = [x for x in given if not isinstance(x, fx.Node)]
    if op == "max" and bound == 0:
        return e.call(torch.relu, *tensors)
    return e.call(torch.clamp, *tensors, **{"min" if op == "max" else "max": bound})


# Operands -----------------------------------------------------------------------------------------


def spread(e: Emitter, values: Sequence[Value], shape: Sequence[int]) -> tuple[list[fx.Node], bool]:
    """Operands so that they broadcast to maps of ``shape``, vectors along the channels; and whether
    they are (batch, samples, *shape), because not all have as many samples.
    """
    counts = {value.samples for value in values if value.batched}
    plain = len(counts) <= 1 and all(v.samples == 1 for v in values if not v.batched)
    made = []
    lead: tuple[int, ...]
    for value in values:
        x, ones = e.of(value), (1,) * (len(shape) - len(value.shape))
        if not plain:
            lead = (-1, value.samples) if value.batched else (1, value.samples)
            x = e.method("reshape", x, (*lead, *value.shape, *ones))
        elif ones and value.shape:
            lead = (-1,) if value.batched else ()
            x = e.method("reshape", x, (*lead, *value.shape, *ones))
        elif ones and value.batched:  # a number for each sample
            x = e.method("reshape", x, (-1, *ones))
        made.append(x)
    return made, not plain


def epilogue(e: Emitter, node: Node, made: fx.Node, others: Sequence[Value]) -> fx.Node:
    """The formula that a fused operation ends in: of its result and of other values."""
    op: Any = node.op
    if op.epilogue is None:
        return made
    before = Value(f"{node.output.name}.sum", node.output.shape, samples=node.output.samples)
    e.made[before.name] = made
    operands, split = spread(e, (before, *others), node.output.shape)
    made = formula(e, op.epilogue, operands)
    return e.call(torch.flatten, made, 0, 1) if split else made


def elementwise(e: Emitter, node: Node) -> fx.Node:
    op: Any = node.op
    layer = None if node.kind is None else node.kind.layer
    # By the exact class: a subclass may compute something else.
    if type(layer) in ACTIVATIONS and len(node.inputs) == 1:
        return e.module(node.layer, ACTIVATIONS[type(layer)](layer), e.of(node.inputs[0]))
    if any(value.kind == "key" for value in node.inputs):
        return _kept(e, node)
    if len(op.outputs) + len(op.reductions) != 1:
        raise e.refused("the formulas")
    operands, split = spread(e, node.inputs, op.shape)
    if op.reductions:
        return _total(e, node, operands, split)
    made = formula(e, op.outputs[0], operands)
    out = node.output
    if not op.batched:
        return made
    if split:
        made = e.method("expand", made, (e.count(), out.samples, *out.shape))
        return e.method("reshape", made, (-1, *out.shape))
    return made if _reaches(node) else e.method("expand", made, (e.count(out.samples), *out.shape))


def _reaches(node: Node) -> bool:
    """Whether operands that are broadcast together have the shape of the result."""
    op: Any = node.op
    if not any(value.batched for value in node.inputs):
        return False
    rank = len(op.shape)
    shapes = [value.shape + (1,) * (rank - len(value.shape)) for value in node.inputs]
    return bool(tuple(map(max, *shapes, (1,) * rank)) == op.shape)


def _kept(e: Emitter, node: Node) -> fx.Node:
    """What stochastic depth multiplies samples with: one number for each, by dropout of ones."""
    op: Any = node.op
    (expr,) = op.outputs if len(op.outputs) == 1 else (None,)
    match expr:
        case Expr("select", (Expr("ge", (Expr("random", _), rate)), _, zero)) if (
            len(node.inputs) == 1 and isinstance(rate, Expr) and rate.value is not None
            and isinstance(zero, Expr) and zero.value == 0
        ):  # fmt: skip
            first = e.made[e.graph.input.name]
            shape = (e.count(node.output.samples), *(1,) * len(op.shape))
            ones = e.call(torch.ones, shape, dtype=e.dtype, device=e.call(getattr, first, "device"))
            return e.module(node.layer, nn.Dropout(float(rate.value)), ones)
    raise e.refused("random numbers")


def _total(e: Emitter, node: Node, operands: list[fx.Node], split: bool) -> fx.Node:
    """A sum over the positions of each sample."""
    op: Any = node.op
    (total,) = op.reductions
    if total.kind != "sample" or split:
        raise e.refused(f"the sum over each {total.kind}")
    made = formula(e, total.expr, operands)
    if not _reaches(node):
        made = e.method("expand", made, (e.count(node.output.samples), *op.shape))
    dims = tuple(range(2, 1 + len(op.shape)))
    if not dims:
        return made
    return e.call(torch.mean if total.mean else torch.sum, made, dims)


# Reductions ---------------------------------------------------------------------------------------

KINDS: dict[str, Callable[..., Any]] = {
    "sum": torch.sum,
    "mean": torch.mean,
    "max": torch.amax,
    "min": torch.amin,
    "log_sum_exp": torch.logsumexp,
}


def over(e: Emitter, kind: str, x: fx.Node, dims: Sequence[int]) -> fx.Node:
    """A reduction that keeps its axes."""
    if kind in KINDS:
        return e.call(KINDS[kind], x, tuple(dims), keepdim=True)
    for dim in dims:
        x = e.call(torch.prod, x, dim, keepdim=True)
    return x


def reduce(e: Emitter, node: Node) -> fx.Node:
    op: Any = node.op
    whole = joint(node.inputs)
    dims = [axis + 2 for axis in op.axes if axis != ops.SAMPLES]
    dims += [0, 1] if op.batch else [1] * (ops.SAMPLES in op.axes)
    operands = []
    lead: tuple[int, ...]
    for value in node.inputs:
        ones = (1,) * (len(whole.shape) - len(value.shape))
        lead = (-1 if value.batched else 1, value.samples)
        operands.append(e.method("reshape", e.of(value), (*lead, *value.shape, *ones)))
    for expr, value in zip(op.exprs, node.outputs, strict=True):
        read = formula(e, expr, operands)
        if prod(whole.shape) > 1:  # operands that broadcast only together
            batch = e.count() if whole.batched else 1
            read = e.method("expand", read, (batch, whole.samples, *whole.shape))
        made = formula(e, op.finish, [over(e, op.kind, read, dims)])
        lead = (-1,) if value.batched else (value.samples,) * (value.samples > 1)
        e.made[value.name] = e.method("reshape", made, (*lead, *value.shape))
    return e.made[node.output.name]


def arg(e: Emitter, node: Node) -> fx.Node:
    """Of equal entries the first, as PyTorch says; the last is the first of the mirrored axis."""
    op: Any = node.op
    x, dim = e.of(node.inputs[0]), op.axis + 1
    x = e.call(torch.flip, x, (dim,)) if op.last else x
    made = e.call({"max": torch.argmax, "min": torch.argmin}[op.kind], x, dim, keepdim=True)
    if op.last:
        made = e.call(operator.sub, node.inputs[0].shape[op.axis] - 1, made)
    return e.method("type_as", made, x)


def cumulative(e: Emitter, node: Node) -> fx.Node:
    op: Any = node.op
    x, dim = e.of(node.inputs[0]), op.axis + 1
    size, rank = node.inputs[0].shape[op.axis], len(node.inputs[0].shape) + 1
    x = e.call(torch.flip, x, (dim,)) if op.reverse else x
    made = e.call({"sum": torch.cumsum, "product": torch.cumprod}[op.kind], x, dim)
    if op.exclusive:
        ends = [0, 0] * (rank - 1 - dim) + [1, 0]
        made = e.call(torch.narrow, made, dim, 0, size - 1)
        made = e.call(nn.functional.pad, made, ends, value=float(op.kind == "product"))
    return e.call(torch.flip, made, (dim,)) if op.reverse else made


def top_k(e: Emitter, node: Node) -> fx.Node:
    """By a stable sort: of equal entries the first comes first."""
    op: Any = node.op
    x, dim = e.of(node.inputs[0]), op.axis + 1
    both = e.call(torch.sort, x, dim=dim, descending=op.largest, stable=True)
    for i, value in enumerate(node.outputs):
        made = e.call(torch.narrow, e.call(operator.getitem, both, i), dim, 0, op.k)
        e.made[value.name] = e.method("type_as", made, x) if i else made
    return e.made[node.output.name]


def softmax(e: Emitter, node: Node) -> fx.Node:
    op: Any = node.op
    x, dims = e.of(node.inputs[0]), [axis + 1 for axis in op.axes]
    if len(dims) == 1:
        return e.call(torch.log_softmax if op.log else torch.softmax, x, dims[0])
    made = e.call(operator.sub, x, over(e, "log_sum_exp", x, dims))
    return made if op.log else e.call(torch.exp, made)


def to_float(e: Emitter, node: Node) -> fx.Node:
    return e.method("to", e.of(node.inputs[0]), e.dtype)


EMIT: dict[type, Callable[[Emitter, Node], fx.Node]] = {
    ops.Elementwise: elementwise,
    ops.Reduce: reduce,
    ops.Arg: arg,
    ops.Cumulative: cumulative,
    ops.TopK: top_k,
    ops.Softmax: softmax,
    ops.ToFloat: to_float,
}
