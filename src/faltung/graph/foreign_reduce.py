"""Reductions, extremes, running sums, sorting and normalisation of foreign tensors, over any axes.

An axis of a tensor is one or several axes of memory. Where these are whole axes of its value, the
operation works on that as it is; otherwise the same memory is seen in other axes. Only an axis in
several pieces of memory, of which the order matters, needs a copy.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod

from faltung.geometry.expr import Expr
from faltung.geometry.record import dataclass
from faltung.graph.foreign import Foreign, Tensor, numbers
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_maps import gathered, resized
from faltung.graph.ops import ITSELF, Arg, Cumulative, Normalise, Reduce, Softmax, TopK
from faltung.graph.value import Value


@dataclass(frozen=True, slots=True)
class _Seen:
    """A value of which some axes are what an operation works along; ``axes``: as in ``Reduce``."""

    value: Value
    axes: tuple[int, ...]

    def with_axes(self, size: int) -> tuple[int, ...]:
        """The shape with ``size`` entries along the axes."""
        return tuple(size if i in self.axes else n for i, n in enumerate(self.value.shape))


def _as_it_is(x: Tensor, inside: set[int]) -> _Seen | None:
    """The value itself, if some of its own axes are these dims, and no samples among them."""
    value = x.value
    at, axes = 0, []
    runs = (value.samples, *value.space, value.channels)
    names = (-1, *range(1, len(value.shape)), 0)
    for name, size in zip(names, runs, strict=True):
        start, total = at, 1
        while total < size and at < len(x.dims):
            total *= x.dims[at]
            at += 1
        own = set(range(start, at))
        if total != size or (own & inside and not own <= inside) or (name < 0 and own & inside):
            return None
        if own and own <= inside:
            axes.append(name)
    return _Seen(value, tuple(sorted(axes)))


def _seen(f: Foreign, x: Tensor, inside: set[int]) -> _Seen:
    """The same memory in axes of which some are these dims. The batch stays samples."""
    front = f.front(x) if min(inside, default=0) >= f.front(x) else 0
    runs: list[tuple[int, bool]] = []
    for i in range(front, len(x.dims)):
        size, out = x.dims[i], i in inside
        if runs and runs[-1][1] == out:
            runs[-1] = runs[-1][0] * size, out
        else:
            runs.append((size, out))
    samples = prod(x.dims[:front])
    runs = runs or [(1, False)]
    shape = (runs[-1][0], *(size for size, _ in runs[:-1]))
    flags = (runs[-1][1], *(out for _, out in runs[:-1]))
    value = f.seen(x.value, samples, shape)
    return _Seen(value, tuple(i for i, out in enumerate(flags) if out))


def _dims(x: Tensor, axes: Iterable[int]) -> set[int]:
    return {i for axis in axes for i in x.axes[axis]}


def reduced(
    f: Foreign,
    x: Tensor,
    axes: Sequence[int],
    kind: str,
    keep: bool,
    expr: Expr = ITSELF,
    finish: Expr = ITSELF,
) -> Tensor:
    """The "sum", "mean", "max", "min", "product" or "log_sum_exp" of a formula over axes, and a
    formula of that.
    """
    numbers(x)
    inside = _dims(x, axes)
    parted = _within_samples(x, inside)
    if parted is not None:  # each sample first: so much is fused with what made the tensor
        op = Reduce(parted.axes, kind, (expr,))
        value = f.node(op, (parted.value,), parted.with_axes(1))
        samples = inside & _samples(x)
        x, expr = _without(x, value, inside - samples, ()), ITSELF
        inside = _dims(x, axes)
    if inside:
        seen = _as_it_is(x, inside) or _seen(f, x, inside)
        op = Reduce(seen.axes, kind, (expr,), finish=finish)
        value = f.node(op, (seen.value,), seen.with_axes(1))
    else:  # of one entry
        both = finish.replaced([expr])
        x = x if both == ITSELF else formula(f, lambda x: both.replaced([x]), x)
        value = x.value
    return _without(x, value, inside, () if keep else axes)


def _samples(x: Tensor) -> set[int]:
    """The dims that make up the samples of the value, if they are whole dims."""
    at, total = 0, 1
    while total < x.value.samples and at < len(x.dims):
        total *= x.dims[at]
        at += 1
    return set(range(at)) if total == x.value.samples else set()


def _within_samples(x: Tensor, inside: set[int]) -> _Seen | None:
    """The value with the axes of a reduction that are within its samples, where the samples are
    reduced, too; None otherwise.
    """
    samples = _samples(x)
    within = inside - samples
    return _as_it_is(x, within) if within and within != inside and samples <= inside else None


def _without(x: Tensor, value: Value, inside: set[int], dropped: Iterable[int]) -> Tensor:
    """A tensor like ``x`` in which these dims are 1, and the owner has axes less."""
    left = [i for i in range(len(x.dims)) if i not in inside]
    axes = [tuple(left.index(i) for i in axis if i in left) for axis in x.axes]
    gone = set(dropped)
    kept = tuple(axis for number, axis in enumerate(axes) if number not in gone)
    return Tensor(value, tuple(x.dims[i] for i in left), kept, x.dtype)


# Along one axis -----------------------------------------------------------------------------------


def _line(f: Foreign, x: Tensor, axis: int) -> tuple[Tensor, _Seen]:
    """The tensor with an axis in one piece of memory, and a value that has it as an axis."""
    numbers(x)
    x = gathered(f, x)
    inside = _dims(x, (axis,))
    seen = _as_it_is(x, inside)
    if seen is None or len(seen.axes) != 1:
        seen = _seen(f, x, inside)
    if not seen.axes:  # of one entry: an axis of space beside the others
        value = f.seen(x.value, x.value.samples, (x.size // x.value.samples, 1))
        seen = _Seen(value, (1,))
    return x, seen


def arg(f: Foreign, x: Tensor, axis: int, kind: str, last: bool, keep: bool) -> Tensor:
    """Where the "max" or "min" along an axis is, as int64."""
    x, seen = _line(f, x, axis)
    value = f.node(Arg(seen.axes[0], kind, last), (seen.value,), seen.with_axes(1))
    made = _without(x, value, _dims(x, (axis,)), () if keep else (axis,))
    return replace(made, dtype="int64")


def cumulative(
    f: Foreign, x: Tensor, axis: int, kind: str, exclusive: bool, reverse: bool
) -> Tensor:
    """The running sum or product along an axis."""
    x, seen = _line(f, x, axis)
    op = Cumulative(seen.axes[0], kind, exclusive, reverse)
    return replace(x, value=f.node(op, (seen.value,), seen.value.shape))


def top_k(f: Foreign, x: Tensor, axis: int, k: int, largest: bool) -> list[Tensor]:
    """The first ``k`` entries along an axis, and where they are, as int64."""
    x, seen = _line(f, x, axis)
    shape = seen.with_axes(k)
    op = TopK(seen.axes[0], k, largest)
    values, places = f.b.nodes(op, (seen.value,), shape, shape)
    made = resized(x, values, axis, k)
    return [made, replace(made, value=places, dtype="int64")]


# Of all entries of axes ---------------------------------------------------------------------------


def softmax(f: Foreign, x: Tensor, axes: Sequence[int], log: bool = False) -> Tensor:
    """Probabilities over axes, or their logarithms."""
    numbers(x)
    inside = _dims(x, axes)
    if not inside:  # of one entry: 1, unless that is NaN or infinite
        value = _alone(f, x)
        return replace(x, value=f.node(Softmax((0,), log), (value,), value.shape))
    seen = _rows(f, x, inside)
    return replace(x, value=f.node(Softmax(seen.axes, log), (seen.value,), seen.value.shape))


def _alone(f: Foreign, x: Tensor) -> Value:
    """Each number as channels of its own."""
    samples = x.value.samples
    return f.seen(x.value, samples, (1, x.size // samples))


def _rows(f: Foreign, x: Tensor, inside: set[int]) -> _Seen:
    """A value of which some axes are these dims; the channels, where they are the last in memory,
    because rows have methods of their own.
    """
    seen = _as_it_is(x, inside)
    last = inside == set(range(len(x.dims) - len(inside), len(x.dims)))
    return seen if seen is not None and (not last or seen.axes == (0,)) else _seen(f, x, inside)


def normalised(
    f: Foreign,
    x: Tensor,
    axes: Sequence[int],
    eps: float,
    vectors: Sequence[Value] = (),
    centred: bool = True,
) -> Tensor:
    """Mean 0 and variance 1 over axes; ``vectors``: gain and shift, a number for each entry of the
    axes in the order of memory, as ``is_row`` says.
    """
    numbers(x)
    inside = _dims(x, axes)
    seen = _rows(f, x, inside) if inside else _Seen(_alone(f, x), (0,))
    op = Normalise("axes", eps, axes=seen.axes, centred=centred)
    return replace(x, value=f.node(op, (seen.value, *vectors), seen.value.shape))


def in_place(x: Tensor, memory: Sequence[int]) -> bool:
    """Whether the owner's axes are in this order in memory, so that nothing has to be moved."""
    return [i for axis in memory for i in x.axes[axis]] == list(range(len(x.dims)))


def is_row(x: Tensor, axes: Sequence[int]) -> bool:
    """Whether these axes of the owner are the last in memory, in this order."""
    order = [i for axis in axes for i in x.axes[axis]]
    return order == list(range(len(x.dims) - len(order), len(x.dims)))
