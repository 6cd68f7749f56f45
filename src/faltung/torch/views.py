"""Views of ATen: other shapes, other orders of axes, and parts of tensors.

Each kind of view has one table, which says how to look at a tensor, and so also how to write
through the view into what it looks at (``aliases.py``).
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.geometry.resample import MOST_TAPS, selected
from faltung.graph.foreign import Shape, Tensor, Unsaid, numbers
from faltung.graph.foreign_entries import taken
from faltung.graph.foreign_formulas import expanded
from faltung.graph.foreign_maps import sliced
from faltung.graph.foreign_reduce import reduced
from faltung.graph.foreign_resample import merged, resampled
from faltung.torch import sizes
from faltung.torch.arguments import Arguments, counted

Array = npt.NDArray[Any]

# Other shapes -------------------------------------------------------------------------------------


def sizes_of(shape: Shape, wanted: Sequence[int]) -> Shape:
    """Sizes with what a -1 among them stands for."""
    made = [int(n) for n in wanted]
    if -1 in made:
        rest = -prod(made)
        if rest < 1 or prod(shape) % rest:
            raise FaltungError(f"size={tuple(wanted)}: does not fit the shape {shape}")
        made[made.index(-1)] = prod(shape) // rest
    return tuple(made)


def _sizes(a: Arguments, shape: Shape) -> Shape:
    if a.call.overload == "dtype":
        raise Unsaid("the bits of numbers as those of another dtype")
    return sizes_of(shape, a.wholes("shape" if "shape" in a.call.given else "size"))


def _flattened(a: Arguments, shape: Shape) -> Shape:
    rank = len(shape)
    start, end = (counted(a.whole(name), rank, name) for name in ("start_dim", "end_dim"))
    return (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :])


def _unflattened(a: Arguments, shape: Shape) -> Shape:
    axis = a.axis(len(shape))
    return *shape[:axis], *sizes_of((shape[axis],), a.wholes("sizes")), *shape[axis + 1 :]


def _squeezed(a: Arguments, shape: Shape) -> Shape:
    rank = len(shape)
    gone = a.axes(rank) if "dim" in a.call.given else tuple(range(rank))
    if a.call.overload == "dims" and not a["dim"]:
        gone = ()
    return tuple(n for i, n in enumerate(shape) if n != 1 or i not in gone)


def _unsqueezed(a: Arguments, shape: Shape) -> Shape:
    axis = a.axis(len(shape) + 1)
    return *shape[:axis], 1, *shape[axis:]


def _at_least(rank: int) -> Callable[[Arguments, Shape], Shape]:
    def made(a: Arguments, shape: Shape) -> Shape:
        """As NumPy: a vector becomes a row, and of three axes the last two are added behind."""
        if len(shape) >= rank:
            return shape
        front = (1,) * (min(rank, 2) - len(shape)) + shape
        return front if len(front) == rank else (*front, 1)

    return made


def _like_other(a: Arguments, shape: Shape) -> Shape:
    return tuple(int(n) for n in a["other"].shape)


# The shape of the result, from that of ``self``.
SHAPES: dict[str, Callable[[Arguments, Shape], Shape]] = {
    "view": _sizes,
    "reshape": _sizes,
    "_unsafe_view": _sizes,
    "_reshape_alias": _sizes,
    "_reshape_copy": _sizes,
    "view_copy": _sizes,
    "view_as": _like_other,
    "reshape_as": _like_other,
    "flatten": _flattened,
    "unflatten": _unflattened,
    "ravel": lambda a, shape: (prod(shape),),
    "squeeze": _squeezed,
    "squeeze_copy": _squeezed,
    "unsqueeze": _unsqueezed,
    "unsqueeze_copy": _unsqueezed,
    "atleast_1d": lambda a, shape: shape or (1,),
    "atleast_2d": _at_least(2),
    "atleast_3d": _at_least(3),
}


def reshaped(a: Arguments) -> Tensor | list[Tensor]:
    if a.call.overload == "Sequence":  # several tensors
        return [_reshaped(a, x) for x in a.tensors("tensors")]
    return _reshaped(a, a.tensor("self"))


def _reshaped(a: Arguments, x: Tensor) -> Tensor:
    return _whole(x, a.f.reshaped(x, SHAPES[a.op](a, x.shape)))


def _whole(x: Tensor, made: Tensor) -> Tensor:
    """The result, whose numbers were not moved where they are whole ones from outside."""
    if made.value != x.value:
        numbers(x)
    return made


# Other orders -------------------------------------------------------------------------------------


def _permuted(a: Arguments, rank: int) -> Shape:
    return tuple(counted(int(i), rank, "dims") for i in a["dims"])


def _swapped(first: str, second: str) -> Callable[[Arguments, int], Shape]:
    def order(a: Arguments, rank: int) -> Shape:
        one, other = a.axis(rank, first), a.axis(rank, second)
        return _exchanged(rank, one, other)

    return order


def _exchanged(rank: int, one: int, other: int) -> Shape:
    made = list(range(rank))
    if rank:
        made[one], made[other] = other, one
    return tuple(made)


def _moved(a: Arguments, rank: int) -> Shape:
    source, target = a.axes(rank, "source"), a.axes(rank, "destination")
    left = iter([i for i in range(rank) if i not in source])
    places = dict(zip(target, source, strict=True))
    return tuple(places[i] if i in places else next(left) for i in range(rank))


def _last_two(a: Arguments, rank: int) -> Shape:
    return _exchanged(rank, rank - 2, rank - 1) if rank > 1 else tuple(range(rank))


# The order of the axes of the result, of those of ``self``.
ORDERS: dict[str, Callable[[Arguments, int], Shape]] = {
    "permute": _permuted,
    "permute_copy": _permuted,
    "transpose": _swapped("dim0", "dim1"),
    "transpose_copy": _swapped("dim0", "dim1"),
    "swapaxes": _swapped("axis0", "axis1"),
    "swapdims": _swapped("dim0", "dim1"),
    "t": _last_two,
    "t_copy": _last_two,
    "mT": _last_two,
    "mH": _last_two,
    "adjoint": _last_two,
    "matrix_H": _last_two,
    "numpy_T": lambda a, rank: tuple(reversed(range(rank))),
    "movedim": _moved,
    "moveaxis": _moved,
}


def permuted(a: Arguments) -> Tensor:
    x = a.tensor("self")
    return x.transposed(ORDERS[a.op](a, x.rank)) if x.rank else x


# Parts --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """Entries of an axis: ``count`` from ``start`` on, every ``step``-th. drop: without it."""

    axis: int
    start: int
    count: int
    step: int = 1
    drop: bool = False


def _slice(a: Arguments, shape: Shape) -> list[Part]:
    axis = a.axis(len(shape))
    start, end = (a[name] for name in ("start", "end"))
    if any(not (n is None or isinstance(n, int)) for n in (start, end)):
        raise Unsaid("a part whose ends are computed")
    entries = range(*slice(start, end, a.whole("step")).indices(shape[axis]))
    return [Part(axis, entries.start, len(entries), entries.step)]


def _narrowed(a: Arguments, shape: Shape) -> list[Part]:
    axis = a.axis(len(shape))
    start = int(a.array("start").reshape(()))
    return [Part(axis, start + shape[axis] * (start < 0), a.whole("length"))]


def _selected(a: Arguments, shape: Shape) -> list[Part]:
    axis = a.axis(len(shape))
    return [Part(axis, counted(a.whole("index"), shape[axis], "index"), 1, drop=True)]


def _along(axis: int, ends: Sequence[int]) -> list[Part]:
    """Parts between these ends."""
    return [Part(axis, b, max(0, e - b)) for b, e in pairwise(ends)]


def _of_size(axis: int, total: int, size: int) -> list[Part]:
    return _along(axis, [*range(0, max(total, 1), max(size, 1)), total])


def _split(a: Arguments, shape: Shape) -> list[Part]:
    axis = a.axis(len(shape))
    name = "split_sizes" if "split_sizes" in a.call.given else "split_size"
    if isinstance(a[name], int):
        return _of_size(axis, shape[axis], a.whole(name))
    ends = np.cumsum([0, *a.wholes(name)]).tolist()
    if ends[-1] != shape[axis]:
        raise FaltungError(f"{name}={a[name]}: must add up to {shape[axis]}")
    return _along(axis, ends)


def _chunks(a: Arguments, shape: Shape) -> list[Part]:
    axis = a.axis(len(shape))
    return _of_size(axis, shape[axis], -(-shape[axis] // a.whole("chunks")))


def _sections(axis: int, total: int, count: int) -> list[Part]:
    """Parts as equal as they can be, the larger ones first."""
    small, more = divmod(total, count)
    return _along(axis, [i * small + min(i, more) for i in range(count + 1)])


def _tensor_split(a: Arguments, shape: Shape) -> list[Part]:
    axis = a.axis(len(shape))
    (name,) = (n for n in a.call.given if n not in ("self", "dim"))
    found = a[name] if isinstance(a[name], list) else a.array(name)
    return _cut_at(axis, shape[axis], found)


def _cut_at(axis: int, total: int, found: Any) -> list[Part]:
    """As ``tensor_split``: into so many sections, or before these entries."""
    places = np.asarray(found)
    if places.ndim == 0:
        return _sections(axis, total, int(places))
    ends = [slice(None, end).indices(total)[1] for end in places.tolist()]
    return [Part(axis, b, max(0, e - b)) for b, e in zip([0, *ends], [*ends, total], strict=True)]


def _split_along(axis: int) -> Callable[[Arguments, Shape], list[Part]]:
    def parts(a: Arguments, shape: Shape) -> list[Part]:
        name = "sections" if "sections" in a.call.given else "indices"
        along = 0 if len(shape) == 1 else axis
        return _cut_at(along, shape[along], a[name])

    return parts


def _unbound(a: Arguments, shape: Shape) -> list[Part]:
    axis = a.axis(len(shape))
    return [Part(axis, i, 1, drop=True) for i in range(shape[axis])]


# What the results are of ``self``.
PARTS: dict[str, Callable[[Arguments, Shape], list[Part]]] = {
    "slice": _slice,
    "slice_copy": _slice,
    "narrow": _narrowed,
    "narrow_copy": _narrowed,
    "select": _selected,
    "select_copy": _selected,
    "split": _split,
    "split_with_sizes": _split,
    "split_copy": _split,
    "split_with_sizes_copy": _split,
    "unsafe_split": _split,
    "unsafe_split_with_sizes": _split,
    "chunk": _chunks,
    "unsafe_chunk": _chunks,
    "tensor_split": _tensor_split,
    "hsplit": _split_along(1),
    "vsplit": _split_along(0),
    "dsplit": _split_along(2),
    "unbind": _unbound,
    "unbind_copy": _unbound,
}
# Those of them that have one result.
ONE = frozenset(["slice", "narrow", "select"])


def part_of(a: Arguments, x: Tensor, part: Part) -> Tensor:
    made = sliced(a.f, x, part.axis, part.start, part.count, part.step)
    if not part.drop:
        return made
    shape = made.shape
    return a.f.reshaped(made, (*shape[: part.axis], *shape[part.axis + 1 :]))


def parted(a: Arguments) -> Tensor | list[Tensor]:
    x = a.tensor("self")
    parts = PARTS[a.op](a, x.shape)
    made = [part_of(a, x, part) for part in parts]
    return made[0] if a.op.removesuffix("_copy") in ONE else made


# Others -------------------------------------------------------------------------------------------


def expand(a: Arguments) -> Tensor:
    x = a.tensor("self")
    wanted = a["other"].shape if a.has("other") else a.wholes("size")
    new = len(wanted) - x.rank
    shape = tuple(
        x.shape[i - new] if n == -1 and i >= new else int(n) for i, n in enumerate(wanted)
    )
    return expanded(a.f, x, shape)


def diagonal_of(rank: int, sizes: Shape, offset: int, one: int, other: int) -> tuple[Shape, range]:
    """The other axes with these two behind them; and the entries of the diagonal, of both axes as
    one. sizes: of the two.
    """
    order = (*(i for i in range(rank) if i not in (one, other)), one, other)
    rows, columns = sizes
    first = offset if offset >= 0 else -offset * columns
    count = min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)
    return order, range(first, first + max(0, count) * (columns + 1), columns + 1)


def diagonal(a: Arguments) -> Tensor:
    x = a.floats("self" if "self" in a.call.given else "A")
    one, other = a.axis(x.rank, "dim1"), a.axis(x.rank, "dim2")
    return _diagonal(a, x, a.whole("offset"), one, other)


def _diagonal(a: Arguments, x: Tensor, offset: int, one: int, other: int) -> Tensor:
    sizes = x.shape[one], x.shape[other]
    order, places = diagonal_of(x.rank, sizes, offset, one, other)
    if not places:
        raise Unsaid("a tensor without elements")
    turned, last = x.transposed(order), x.rank - 2
    return merged(a.f, turned, (last, last + 1), selected(prod(sizes), places), (len(places),))


def diag(a: Arguments) -> Tensor:
    """Of a matrix its diagonal, of a vector a matrix with that diagonal."""
    x = a.floats("self")
    if x.rank == 2:
        return _diagonal(a, x, a.whole("diagonal"), 0, 1)
    return _embedded(a, x, a.whole("diagonal"))


def diagflat(a: Arguments) -> Tensor:
    x = a.floats("self")
    return _embedded(a, a.f.reshaped(x, (x.size,)), a.whole("offset"))


def diag_embed(a: Arguments) -> Tensor:
    x = a.floats("self")
    rank = x.rank + 1
    one, other = a.axis(rank, "dim1"), a.axis(rank, "dim2")
    offset = a.whole("offset")
    if one > other:
        one, other, offset = other, one, -offset
    made = _embedded(a, x, offset)
    return made.moved(rank - 2, one).moved(rank - 1, other)


def _embedded(a: Arguments, x: Tensor, offset: int) -> Tensor:
    """The last axis as the diagonal of matrices of zeros."""
    size = x.shape[-1] + abs(offset)
    if size * size > MOST_TAPS:
        raise Unsaid("a diagonal of so many entries")
    _, places = diagonal_of(2, (size, size), offset, 0, 1)
    entries: list[int | None] = [None] * (size * size)
    for number, place in enumerate(places):
        entries[place] = number
    return merged(a.f, x, (x.rank - 1,), selected(x.shape[-1], entries), (size, size))


def trace(a: Arguments) -> Tensor:
    return reduced(a.f, _diagonal(a, a.floats("self"), 0, 0, 1), (0,), "sum", keep=False)


def unfold(a: Arguments) -> Tensor:
    """Windows along an axis, each along a new last axis."""
    x = a.floats("self")
    size, step = a.whole("size"), a.whole("step")
    if not x.rank:
        return a.f.reshaped(x, (1,))
    axis = a.axis(x.rank, "dimension")
    count = (x.shape[axis] - size) // step + 1
    if size < 1:
        raise Unsaid("a tensor without elements")
    if count * size > MOST_TAPS:
        raise Unsaid("windows of so many entries")
    entries = [i * step + k for i in range(count) for k in range(size)]
    made = resampled(a.f, x, {axis: selected(x.shape[axis], entries)})
    split = a.f.reshaped(made, (*x.shape[:axis], count, size, *x.shape[axis + 1 :]))
    return split.moved(axis + 1, x.rank)


def as_strided(a: Arguments) -> Tensor:
    """Any elements of the memory that a tensor covers without gaps."""
    x = a.floats("self")
    places = strided(a, x.shape)
    return taken(a.f, x, places, places.shape)


def strided(a: Arguments, shape: Shape) -> Array:
    """The elements of ``self`` that ``as_strided`` looks at, by their number in its order."""
    node: Any = a.call.node.args[0]
    found = node.meta.get("val") if hasattr(node, "meta") else None
    count = prod(shape)
    if found is None or not all(isinstance(n, int) for n in found.stride()):
        raise Unsaid("memory whose order is not known")
    here = torch.empty_strided(tuple(found.shape), found.stride(), dtype=torch.int64)
    size, stride = a.wholes("size"), a.wholes("stride")
    last = sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    start = 0 if a["storage_offset"] is None else a.whole("storage_offset")
    start -= int(found.storage_offset()) if a["storage_offset"] is not None else 0
    if here.untyped_storage().nbytes() != 8 * count or start < 0 or start + last >= count:
        raise Unsaid("memory beyond a tensor, or one with gaps")
    here.copy_(torch.arange(count).view(tuple(found.shape)))
    return torch.as_strided(here, size, stride, start).numpy()


def sum_to_size(a: Arguments) -> Tensor:
    """The sum over what was broadcast."""
    x, shape = a.floats("self"), a.wholes("size")
    front = x.rank - len(shape)
    if front:
        x = reduced(a.f, x, range(front), "sum", keep=False)
    axes = [i for i, n in enumerate(shape) if n == 1 and x.shape[i] > 1]
    return reduced(a.f, x, axes, "sum", keep=True) if axes else x


# Sizes as numbers ---------------------------------------------------------------------------------


def size(a: Arguments) -> int | list[int]:
    shape = tuple(a["self"].shape)
    return shape[a.axis(len(shape))] if "dim" in a.call.given else list(shape)


def stride(a: Arguments) -> int | list[int]:
    """As PyTorch lays the tensor out."""
    node: Any = a.call.node.args[0]
    found = sizes.value(node)
    steps = [sizes.settled(n) for n in found.stride()] if isinstance(found, torch.Tensor) else []
    if len(steps) != len(a["self"].shape) or None in steps:
        raise Unsaid("memory whose order is not known")
    return steps[a.axis(len(steps))] if "dim" in a.call.given else steps


TABLE: dict[str, Any] = {
    **dict.fromkeys(SHAPES, reshaped),
    **dict.fromkeys(ORDERS, permuted),
    **dict.fromkeys(PARTS, parted),
    "expand": expand,
    "expand_as": expand,
    "expand_copy": expand,
    "broadcast_to": expand,
    "diagonal": diagonal,
    "diagonal_copy": diagonal,
    "linalg_diagonal": diagonal,
    "diag": diag,
    "diagflat": diagflat,
    "diag_embed": diag_embed,
    "trace": trace,
    "unfold": unfold,
    "unfold_copy": unfold,
    "as_strided": as_strided,
    "as_strided_copy": as_strided,
    "real": lambda a: a.floats("self"),
    "sum_to_size": sum_to_size,
    "sym_size": size,
    "sym_numel": lambda a: prod(a["self"].shape),
    "sym_stride": stride,
}
