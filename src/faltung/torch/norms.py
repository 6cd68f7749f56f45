"""Normalisation, from ATen: of batches, instances and groups, over the last axes, and by root mean
squares. Running statistics follow as PyTorch has them: with the unbiased variance.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.expr import unary
from faltung.graph.foreign import Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_norms import (
    affine,
    along_channels,
    in_channels,
    inverse_root,
    moments,
    over_groups,
    over_last,
    scaled,
)
from faltung.graph.foreign_reduce import reduced
from faltung.graph.ops import ITSELF, Elementwise, Normalise
from faltung.graph.value import Value
from faltung.torch.arguments import Arguments, Graphed
from faltung.torch.pools import is_read

Array = npt.NDArray[Any]
Handler = Callable[[Arguments], Tensor | list[Any]]


@contextmanager
def _apart(f: Graphed) -> Iterator[None]:
    """Parameters that are made in the block are constants of their own, of no leaf."""
    near, f.near = f.near, []
    try:
        yield
    finally:
        f.near = near


def _constant(f: Graphed, name: str, number: float, count: int) -> Value:
    with _apart(f):
        array = np.full(count, number, f.dtype)
        return f.parameter(name, array, trained=False, decay=False)


def _known(a: Arguments) -> bool:
    """Whether gain and shift, if there are any, are leaves."""
    return all(a.leaf(name) is not None for name in ("weight", "bias") if a.has(name))


def _vectors(a: Arguments, channels: int) -> list[Value]:
    """Gain and shift as vectors of channels; 1 and 0 where there are none, or where they are
    computed, which is left for a formula.
    """
    made, known = [], _known(a)
    for name, number in (("weight", 1.0), ("bias", 0.0)):
        leaf = a.leaf(name) if known and a.has(name) else None
        if leaf is None:
            made.append(_constant(a.f, name, number, channels))
        else:
            made.append(a.f.parameter(name, leaf.array.reshape(channels), decay=False))
    return made


def _operands(a: Arguments) -> tuple[Any, Any]:
    """Gain and shift as operands of a formula."""
    gain, shift = (a.operand(name) if a.has(name) else None for name in ("weight", "bias"))
    return gain, shift


# Batches ------------------------------------------------------------------------------------------


def _by_channels(a: Arguments, x: Tensor, op: Normalise, running: Sequence[Value]) -> list[Tensor]:
    """A normalisation of maps as one operation, with what it returns beside the result."""
    f, channels = a.f, x.shape[1]
    value, vectors = f.map(x), _vectors(a, channels)
    shapes = [value.shape]
    if op.over == "batch" and op.training:
        shapes += [(channels,)] * (2 + len(running))
    made = f.b.nodes(op, (value, *vectors, *running), *shapes, batched=1)
    y = f.of_map(made[0], x.dtype)
    if not _known(a):
        y = scaled(f, y, *_operands(a))
    return [y, *(f.result(v, (channels,), x.dtype) for v in made[1:])]


def _running(a: Arguments, written: bool) -> list[Value]:
    """The running statistics as they are before this operation."""
    f, made = a.f, []
    for name in ("running_mean", "running_var"):
        leaf = a.leaf(name)
        if leaf is None:
            raise Unsaid(f"{name} that is computed")
        if written and leaf.array.dtype != f.dtype:
            raise Unsaid(f"{name} as {leaf.dtype}")
        before = f.parameter(name, leaf.array, trained=False, decay=False)
        now = f.b.updated(before)  # the same layer may be there twice
        if now != before and not written:
            raise Unsaid("running statistics that have just changed")
        made.append(now)
    return made


def _batch(a: Arguments, training: bool, follow: bool = True) -> list[Any]:
    """The result, mean and 1 / deviation of the batch, and the new running statistics."""
    x, eps = a.floats("input"), a.number("eps")
    if x.rank < 2:
        raise Unsaid(f"a batch of {x.rank} axes")
    there = "running_mean" in a.call.given and a.has("running_mean")
    if not training:
        return [_with_fixed(a, x), None, None, None, None]
    running = _running(a, True) if there else []
    momentum = a.number("momentum")
    if there and x.size == x.shape[1]:
        raise Unsaid("the variance of a single number for each channel")
    op = Normalise("batch", eps, momentum=momentum, training=True)
    made = _by_channels(a, x, op, running)
    if follow:
        for name, new in zip(("running_mean", "running_var"), made[3:], strict=False):
            a.update(name, new.value)
    return [*made, *[None] * (5 - len(made))]


def _with_fixed(a: Arguments, x: Tensor) -> Tensor:
    """By the running statistics."""
    f, eps = a.f, a.number("eps")
    names = ("running_mean", "running_var")
    if not all(a.has(name) for name in names):
        raise Unsaid("no statistics to normalise with")
    if all(a.leaf(name) is not None for name in names):
        return _by_channels(a, x, Normalise("batch", eps), _running(a, False))[0]
    mean, var = (along_channels(f, a.operand(name), x.rank) for name in names)
    y = formula(f, lambda x, m, v: (x - m) / unary("sqrt", v + eps), x, mean, var)
    return scaled(f, y, *_operands(a))


def batch_norm(count: int, training: bool | None = None) -> Handler:
    """With so many results. training: where the operator says it itself."""

    def made(a: Arguments) -> Tensor | list[Any]:
        now = a.flag("training") if training is None else training
        found = _batch(a, now)
        if count == 1:
            y: Tensor = found[0]
            return y
        if _statistics(a) and found[1] is None:
            raise Unsaid("statistics that are not computed")
        return found[:3] if count == 3 else [*found[:3], None, None][:count]

    return made


def _statistics(a: Arguments) -> bool:
    """Whether somebody reads mean and 1 / deviation. Unsaid: in training, where these would have
    gradients that they do not have in PyTorch.
    """
    found = is_read(a, 1) or is_read(a, 2)
    if found and a.f.training:
        raise Unsaid("statistics beside the result, which have no gradient")
    return found


def functional(a: Arguments) -> list[Any]:
    """The form that returns the running statistics instead of writing them."""
    _statistics(a)
    found = _batch(a, a.flag("training"), follow=False)
    for number, name in ((3, "running_mean"), (4, "running_var")):
        found[number] = a[name] if found[number] is None else found[number]
    return found


# Instances and groups -----------------------------------------------------------------------------


def instance_norm(a: Arguments) -> Tensor:
    x = a.floats("input")
    if not a.flag("use_input_stats"):
        return _with_fixed(a, x)
    if a.has("running_mean"):
        _follow(a, x)
    return _grouped(a, x, x.shape[1])


def _follow(a: Arguments, x: Tensor) -> None:
    """The running statistics: means over the samples of what each of them alone would lead to."""
    f, keep, count = a.f, 1 - a.number("momentum"), prod(x.shape[2:])
    if count == 1:
        raise Unsaid("the variance of a single number for each channel")
    before = _running(a, True)
    mean, var = moments(f, x, range(2, x.rank))
    for name, now, old, factor in (
        ("running_mean", mean, before[0], 1.0),
        ("running_var", var, before[1], count / (count - 1)),
    ):
        flat = f.reshaped(now, x.shape[:2])
        each = reduced(f, flat, [0], "mean", False)
        last = f.result(old, each.shape, x.dtype)
        new = formula(f, lambda n, o, k=factor: o * keep + n * (k * (1 - keep)), each, last)
        vector = f.seen(f.straightened(new).value, 1, (x.shape[1],))
        # A value of its own, which has a place of its own.
        a.update(name, f.node(Elementwise(vector.shape, (ITSELF,)), (vector,), vector.shape))


def _grouped(a: Arguments, x: Tensor, groups: int) -> Tensor:
    f, eps = a.f, a.number("eps")
    if x.rank < 2 or groups < 1 or x.shape[1] % groups:
        raise Unsaid(f"{groups} groups of a tensor of shape {x.shape}")
    if _known(a) and in_channels(x):
        return _by_channels(a, x, Normalise("group", eps, groups), [])[0]
    return scaled(f, over_groups(f, x, groups, eps), *_operands(a))


def group_norm(a: Arguments) -> Tensor:
    return _grouped(a, a.floats("input"), a.whole("num_groups"))


def native_group_norm(a: Arguments) -> list[Any]:
    x, groups = a.floats("input"), a.whole("group")
    y = _grouped(a, x, groups)
    if not _statistics(a):
        return [y, None, None]
    parts = a.f.reshaped(x, (x.shape[0], groups, x.size // (x.shape[0] * groups)))
    mean, var = moments(a.f, parts, [2])
    rstd = inverse_root(a.f, var, a.number("eps"))
    return [y, *(a.f.reshaped(v, (x.shape[0], groups)) for v in (mean, rstd))]


# The last axes ------------------------------------------------------------------------------------


def _over_last(a: Arguments, x: Tensor, names: Sequence[str], eps: float, centred: bool) -> Tensor:
    axes = _axes(a, x)
    given = [name for name in names if a.has(name)]
    leaves = [a.leaf(name) for name in given]
    rows = [leaf.array for leaf in leaves if leaf is not None]
    known = rows if len(rows) == len(given) and given == list(names[: len(given)]) else None
    vectors = [a.operand(name) if a.has(name) else None for name in names] + [None]
    return over_last(a.f, x, axes, eps, known, vectors[:2], centred)


def _axes(a: Arguments, x: Tensor) -> range:
    sizes = a.wholes("normalized_shape")
    return range(x.rank - len(sizes), x.rank)


def layer_norm(a: Arguments) -> Tensor:
    return _over_last(a, a.floats("input"), ("weight", "bias"), a.number("eps"), True)


def native_layer_norm(a: Arguments) -> list[Any]:
    x, f, eps = a.floats("input"), a.f, a.number("eps")
    if not _statistics(a):
        return [layer_norm(a), None, None]
    mean, var = moments(f, x, _axes(a, x))
    rstd = inverse_root(f, var, eps)
    y = formula(f, lambda x, m, r: (x - m) * r, x, mean, rstd)
    return [affine(f, y, *_operands(a)), mean, rstd]


def rms_norm(a: Arguments) -> Tensor:
    x = a.floats("input")
    return _over_last(a, x, ("weight",), _eps(a, x), False)


def _eps(a: Arguments, x: Tensor) -> float:
    """Where none is told, that of the dtype."""
    name = "float64" if x.dtype == "float64" else "float32"
    return a.number("eps") if a.has("eps") else float(np.finfo(name).eps)


def fused_rms_norm(a: Arguments) -> list[Any]:
    x, f = a.floats("input"), a.f
    eps = _eps(a, x)
    made = _over_last(a, x, ("weight",), eps, False)
    if not _statistics(a):
        return [made, None]
    square = formula(f, lambda x: x * x, x)
    return [made, inverse_root(f, reduced(f, square, _axes(a, x), "mean", True), eps)]


TABLE: dict[str, Handler] = {
    "batch_norm": batch_norm(1),
    "native_batch_norm": batch_norm(3),
    "_native_batch_norm_legit": batch_norm(3),
    "_native_batch_norm_legit_no_training": batch_norm(3, False),
    "_native_batch_norm_legit_functional": functional,
    "_batch_norm_with_update": batch_norm(4, True),
    "_batch_norm_no_update": batch_norm(4, False),
    "_batch_norm_impl_index": batch_norm(5),
    "instance_norm": instance_norm,
    "group_norm": group_norm,
    "native_group_norm": native_group_norm,
    "layer_norm": layer_norm,
    "native_layer_norm": native_layer_norm,
    "rms_norm": rms_norm,
    "_fused_rms_norm": fused_rms_norm,
}
# Those that read (samples, C, *space).
SPATIAL = frozenset(name for name in TABLE if "layer" not in name and "rms" not in name)
