"""What is put into tensors, from ATen: into parts, at places that are known, or everywhere."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.expr import at_least, select
from faltung.geometry.resample import table
from faltung.graph.foreign import Foreign, Shape, Tensor, Unsaid
from faltung.graph.foreign_entries import checked, elements, over, scattered
from faltung.graph.foreign_formulas import expanded, formula
from faltung.graph.foreign_maps import concatenated, known, sliced
from faltung.graph.foreign_resample import resampled
from faltung.torch.arguments import Arguments, counted, real
from faltung.torch.entries import REAL, at, grown, in_place, indexed
from faltung.torch.part import Leaf
from faltung.torch.views import PARTS, Part, diagonal_of, strided

Array = npt.NDArray[Any]


# Put somewhere ------------------------------------------------------------------------------------


def written(f: Foreign, x: Tensor, src: Tensor, part: Part) -> Tensor:
    """A tensor with a part of it replaced."""
    axis, size = part.axis, x.shape[part.axis]
    if part.drop:
        src = grown(f, src, axis)
    shape = (*x.shape[:axis], part.count, *x.shape[axis + 1 :])
    src = expanded(f, src, shape)
    entries = range(part.start, part.start + part.count * part.step, part.step)
    if part.step != 1 and part.count > 1:
        rows: list[list[tuple[int, float]]] = [[] for _ in range(size)]
        for number, place in enumerate(entries):
            rows[place] = [(number, 1.0)]
        spread = resampled(f, src, {axis: table(part.count, rows)})
        return over(f, x, spread, axis, [bool(row) for row in rows])
    end = part.start + part.count
    pieces = [(0, part.start), (end, size)]
    before, after = (sliced(f, x, axis, i, j - i) if j > i else None for i, j in pieces)
    return concatenated(f, [p for p in (before, src, after) if p is not None], axis)


def slice_scatter(a: Arguments) -> Tensor:
    x = a.tensor("self")
    (part,) = PARTS["slice"](a, x.shape)
    return written(a.f, x, a.tensor("src"), part) if part.count else x


def select_scatter(a: Arguments) -> Tensor:
    x = a.tensor("self")
    axis = a.axis(x.rank)
    start = counted(a.whole("index"), x.shape[axis], "index")
    return written(a.f, x, a.tensor("src"), Part(axis, start, 1, drop=True))


def diagonal_scatter(a: Arguments) -> Tensor:
    x, src = a.tensor("self"), a.tensor("src")
    one, other = a.axis(x.rank, "dim1"), a.axis(x.rank, "dim2")
    sizes = x.shape[one], x.shape[other]
    order, places = diagonal_of(x.rank, sizes, a.whole("offset"), one, other)
    _alike(x, src)
    return _put(a, x, order[-2:], np.array(places), src.moved(src.rank - 1, 0), add=False)


def as_strided_scatter(a: Arguments) -> Tensor:
    if a.f.training:
        raise Unsaid("gradients of as_strided_scatter, which PyTorch has in a way of its own")
    x, src = a.tensor("self"), a.tensor("src")
    _alike(x, src)
    places = strided(a, x.shape)
    if len(np.unique(places)) < places.size:
        raise Unsaid("a write to some elements several times")
    return scattered(a.f, x, src, places.reshape(-1), 1, add=False)


def _put(
    a: Arguments, x: Tensor, axes: Sequence[int], places: Array, values: Tensor, add: bool
) -> Tensor:
    """Values put into entries of axes, in front of the others."""
    order = [*axes, *(i for i in range(x.rank) if i not in axes)]
    turned = x.transposed(order)
    size = prod(x.shape[i] for i in axes)
    each = x.size // size
    made = scattered(a.f, turned, values, places.reshape(-1), each, add)
    return made.transposed(np.argsort(order).tolist())


def _is_mask(a: Arguments) -> bool:
    """Whether one mask, which is computed, says where one number is put."""
    found = a["indices"]
    return (
        len(found) == 1
        and isinstance(found[0], Tensor)
        and found[0].dtype == "bool"
        and prod(a["values"].shape) == 1
        and not a.flag("accumulate")
    )


def index_put(a: Arguments) -> Tensor:
    x, values = a.tensor("self"), a.tensor("values")
    _alike(x, values)
    if _is_mask(a):
        mask = a["indices"][0]
        wide = a.f.reshaped(mask, (*mask.shape, *(1,) * (x.rank - mask.rank)))
        single = a.f.reshaped(values, ())
        return formula(
            a.f, lambda m, p, q: select(at_least(m, 0.5), q, p), wide, x, single, dtype=x.dtype
        )
    found = indexed(a, x.shape)
    if found is None:
        raise Unsaid("an assignment without indices")
    axes, places = found
    rest = [x.shape[i] for i in range(x.rank) if i not in axes]
    before = axes[0] if in_place(axes) else 0
    shape = (*rest[:before], *places.shape, *rest[before:])
    if not prod(shape):
        return x
    wide = expanded(a.f, values, shape)
    count = places.ndim
    moved = [*range(before, before + count), *range(before), *range(before + count, wide.rank)]
    return _put(a, x, axes, places, wide.transposed(moved), a.flag("accumulate"))


def _alike(x: Tensor, src: Tensor) -> None:
    """Unsaid: numbers of another kind, which would be converted."""
    if src.dtype != x.dtype and not (src.dtype in REAL and x.dtype in REAL):
        raise Unsaid(f"{src.dtype} numbers put into {x.dtype} ones")


def _source(a: Arguments, x: Tensor, shape: Shape) -> Tensor:
    """What is put somewhere: a tensor, or one number."""
    name = next(name for name in ("src", "source", "value") if name in a.call.given)
    src = a.tensor(name)
    if isinstance(a[name], int | float):
        src = known(a.f, np.full(shape, a[name], a.f.dtype), x.dtype)
    _alike(x, src)
    return src


def _adds(a: Arguments) -> bool:
    how = a.call.given.get("reduce")
    if how not in (None, "add", "sum"):
        raise Unsaid(f"reduce={how}")
    if how == "sum" and not a.call.given.get("include_self", True):
        raise Unsaid("include_self=False")
    return how is not None or a.op == "scatter_add"


def scatter(a: Arguments) -> Tensor:
    x = a.tensor("self")
    if not prod(a["index"].shape):
        return x
    made = _scattered(a, _with_axes(a, x))
    return made if x.rank else a.f.reshaped(made, ())


def _with_axes(a: Arguments, x: Tensor) -> Tensor:
    """A number as a vector of one, as PyTorch looks at it here."""
    return x if x.rank else a.f.reshaped(x, (1,))


def _scattered(a: Arguments, x: Tensor) -> Tensor:
    axis = a.axis(x.rank)
    places = at(a, "index", x.shape[axis])
    places = places if places.ndim else places.reshape(1)
    src = _with_axes(a, _source(a, x, places.shape))
    for i, n in enumerate(places.shape):
        if n < src.shape[i]:
            src = sliced(a.f, src, i, 0, n)
    where = elements(x.shape, axis, places).reshape(-1)
    return scattered(a.f, x, src, where, 1, _adds(a))


def index_add(a: Arguments) -> Tensor:
    whole = a.floats("self")
    x = _with_axes(a, whole)
    axis, alpha = a.axis(x.rank), a.number("alpha")
    places = at(a, "index", x.shape[axis]).reshape(-1)
    src = _with_axes(a, _source(a, x, ()))
    src = src if alpha == 1 else formula(a.f, lambda s: s * alpha, src)
    made = _put(a, x, [axis], places, src.moved(axis, 0), add=True)
    return a.f.reshaped(made, whole.shape)


def index_copy(a: Arguments) -> Tensor:
    whole = a.tensor("self")
    x = _with_axes(a, whole)
    axis = a.axis(x.rank)
    places = at(a, "index", x.shape[axis]).reshape(-1)
    src = _with_axes(a, _source(a, x, ()))
    made = _put(a, x, [axis], places, src.moved(axis, 0), add=False)
    return a.f.reshaped(made, whole.shape)


def index_fill(a: Arguments) -> Tensor:
    whole = a.tensor("self")
    return a.f.reshaped(_filled(a, _with_axes(a, whole)), whole.shape)


def _filled(a: Arguments, x: Tensor) -> Tensor:
    axis = a.axis(x.rank)
    places = a.array("index").reshape(-1)
    if not places.size:
        return x
    value = a.as_tensor(a["value"]) if isinstance(a["value"], Tensor | Leaf) else a.number("value")
    there = np.zeros(x.shape[axis], bool)
    there[checked(places, x.shape[axis], "index")] = True
    mask = there.astype(np.float64).reshape(-1, *(1,) * (x.rank - 1 - axis))
    if isinstance(value, Tensor):
        _alike(x, value)
        new = a.f.reshaped(value, ())
        return formula(
            a.f, lambda m, p, q: select(at_least(m, 0.5), q, p), mask, x, new, dtype=x.dtype
        )
    return formula(a.f, lambda m, p: select(at_least(m, 0.5), value, p), mask, x)


# Filled and copied --------------------------------------------------------------------------------


def copy(a: Arguments) -> Tensor:
    """Another tensor's numbers, in the shape of this one."""
    x, src = a["self"], a.tensor("src")
    if src.dtype not in REAL and x.dtype not in REAL and src.dtype != x.dtype:
        raise Unsaid(f"{src.dtype} numbers as {x.dtype} ones")
    if src.dtype in REAL and x.dtype not in REAL:
        raise Unsaid(f"real numbers as {x.dtype} ones")
    return expanded(a.f, src, tuple(x.shape))


def fill(a: Arguments) -> Tensor:
    shape = tuple(a["self"].shape)
    value = a.call.given.get("value", 0)
    if isinstance(value, int | float):
        return known(a.f, np.full(shape, value, a.f.dtype), a.dtype())
    src = a.as_tensor(value, "value")
    real(src)
    return expanded(a.f, src, shape)


TABLE: dict[str, Any] = {
    "slice_scatter": slice_scatter,
    "select_scatter": select_scatter,
    "diagonal_scatter": diagonal_scatter,
    "as_strided_scatter": as_strided_scatter,
    "index_put": index_put,
    "_index_put_impl": index_put,
    "scatter": scatter,
    "scatter_add": scatter,
    "scatter_reduce": scatter,
    "index_add": index_add,
    "index_copy": index_copy,
    "index_fill": index_fill,
    "copy": copy,
    "fill": fill,
    "zero": fill,
}
