"""Operators of ONNX that look at a tensor otherwise: reshapes, transposes, parts, joins, pads."""

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Shape, Tensor, Unsaid
from faltung.graph.foreign_formulas import broadcast as broadcast_of
from faltung.graph.foreign_formulas import expanded
from faltung.graph.foreign_maps import (
    MOST_PADDING,
    concatenated,
    known,
    padded,
    picked,
    sliced,
)
from faltung.graph.ops import Embed
from faltung.onnx.arguments import Arguments, counted, numbers
from faltung.onnx.resize import TABLE as RESIZE

Array = npt.NDArray[Any]
_MODES = {"constant": "zeros", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _sizes(x: Tensor, shape: tuple[int, ...], zero: bool) -> Shape:
    """With 0 and -1 replaced by what they stand for."""
    made = [x.shape[i] if n == 0 and not zero and i < x.rank else n for i, n in enumerate(shape)]
    if made.count(-1) > 1 or any(n < -1 for n in made):
        raise FaltungError(f"shape={shape}: must be sizes, with -1 once at most")
    if -1 in made:
        known = prod(n for n in made if n != -1)
        if not known or x.size % known:
            raise FaltungError(f"shape={shape}: does not fit the {x.size} elements of {x.shape}")
        made[made.index(-1)] = x.size // known
    return tuple(made)


def reshape(a: Arguments) -> Tensor:
    shape = a.wholes("shape", 1)
    x = a.tensor(0)
    if shape is None:
        raise FaltungError("shape is missing")
    return a.f.reshaped(x, _sizes(x, shape, bool(a.whole("allowzero", 0))))


def flatten(a: Arguments) -> Tensor:
    x = a.tensor(0)
    axis = a.whole("axis", 1)
    if not -x.rank <= axis <= x.rank:
        raise FaltungError(f"axis={axis}: must be an axis of {x.rank}")
    axis = axis + x.rank if axis < 0 else axis
    return a.f.reshaped(x, (prod(x.shape[:axis]), prod(x.shape[axis:])))


def squeeze(a: Arguments) -> Tensor:
    x = a.tensor(0)
    axes = a.axes(x.rank, 1)
    if axes is None:
        axes = tuple(i for i, n in enumerate(x.shape) if n == 1)
    if any(x.shape[axis] != 1 for axis in axes):
        raise FaltungError(f"axes={axes}: must have size 1 in {x.shape}")
    return a.f.reshaped(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


def unsqueeze(a: Arguments) -> Tensor:
    x = a.tensor(0)
    found = a.wholes("axes", 1) or ()
    rank = x.rank + len(found)
    axes = {counted(axis, rank, "axes") for axis in found}
    if len(axes) < len(found) or rank > 64:
        raise FaltungError(f"axes={found}: names an axis twice")
    sizes = iter(x.shape)
    return a.f.reshaped(x, tuple(1 if i in axes else next(sizes) for i in range(rank)))


def transpose(a: Arguments) -> Tensor:
    x = a.tensor(0)
    perm = a.wholes("perm") or tuple(reversed(range(x.rank)))
    if sorted(perm) != list(range(x.rank)):
        raise FaltungError(f"perm={perm}: must be the axes 0 to {x.rank - 1} in some order")
    return x.transposed(perm)


def expand(a: Arguments) -> Tensor:
    shape = a.wholes("shape", 1)
    x = a.tensor(0)
    return expanded(a.f, x, broadcast_of([x.shape, shape or ()]))


def tile(a: Arguments) -> Tensor:
    times = a.wholes("repeats", 1)
    x = a.tensor(0)
    if times is None or len(times) != x.rank or min(times, default=1) < 1:
        raise FaltungError(f"repeats={times}: must be {x.rank} numbers, all at least 1")
    made = x
    for axis, count in enumerate(times):
        if count > 256:
            raise Unsaid("many repetitions (needs Resample)")
        if count > 1:
            a.f.require(made.size * count)
            made = concatenated(a.f, [made] * count, axis)
    return made


# Parts and joins ----------------------------------------------------------------------------------


def slice_(a: Arguments) -> Tensor:
    starts, ends = a.wholes("starts", 1), a.wholes("ends", 2)
    axes, steps = a.wholes("axes", 3), a.wholes("steps", 4)
    x = a.tensor(0)
    if starts is None or ends is None or len(starts) != len(ends):
        raise FaltungError("starts and ends: must be as many numbers")
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(axes) == len(steps) == len(starts):
        raise FaltungError("axes and steps: must be as many numbers as starts")
    for start, end, given, step in zip(starts, ends, axes, steps, strict=True):
        axis = counted(given, x.rank, "axes")
        if not step:
            raise FaltungError("steps: must not be 0")
        entries = range(*slice(start, end, step).indices(x.shape[axis]))
        if step < 0:
            if len(entries) < 2:
                step = 1
            else:
                x = picked(a.f, x, axis, list(entries))
                continue
        x = sliced(a.f, x, axis, entries.start, len(entries), step)
    return x


def split(a: Arguments) -> list[Tensor]:
    sizes = a.wholes("split", 1)
    x = a.tensor(0)
    axis = a.axis(x.rank, 0)
    total = x.shape[axis]
    count = len(a.call.outputs)
    if sizes is None:
        each = -(-total // count)
        sizes = tuple(max(0, min(each, total - i * each)) for i in range(count))
    if sum(sizes) != total or min(sizes) < 0 or len(sizes) != count:
        raise FaltungError(f"split={sizes}: must be {count} sizes that add up to {total}")
    made, start = [], 0
    for size in sizes:
        made.append(sliced(a.f, x, axis, start, size, 1))
        start += size
    return made


def gather(a: Arguments) -> Tensor:
    data, indices = a[0], a[1]
    if not isinstance(data, Tensor):
        return _embedded(a, data)
    if isinstance(indices, Tensor):
        indices = a.array(1)
    axis = a.axis(data.rank, 0)
    size = data.shape[axis]
    if indices.dtype.kind not in "iu" or not indices.size:
        raise Unsaid("a tensor without elements")
    if indices.min() < -size or indices.max() >= size:
        raise FaltungError(f"indices: must be from {-size} to {size - 1}")
    if indices.size > 4096:
        raise Unsaid("a selection of many entries (needs Resample)")
    chosen = [int(i) % size for i in indices.ravel()]
    made = picked(a.f, data, axis, chosen)
    return a.f.reshaped(made, (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]))


def _embedded(a: Arguments, table: Array) -> Tensor:
    """Rows of a constant, by numbers that the program gets."""
    tokens = a.tensor(1)
    if table.ndim != 2 or a.axis(2, 0) or table.dtype.kind != "f" or not table.size:
        raise Unsaid("a selection by values (needs gather)")
    if tokens.dtype not in ("int64", "int32") or not a.is_input(1):
        raise Unsaid("a selection by values (needs gather)")
    f = a.f
    a.tokens(1, table.shape[0])
    weight = f.parameter("weight", table)
    if not tokens.straight:
        raise Unsaid("a selection by values (needs gather)")
    made = f.node(Embed(), (tokens.value, weight), (table.shape[1], tokens.size))
    return f.result(made, (*tokens.shape, table.shape[1]), str(table.dtype))


def concat(a: Arguments) -> Tensor:
    given = [a[i] for i in range(len(a.inputs))]
    first = next(x for x in given if isinstance(x, Tensor))
    numbers(first)
    tensors = [
        x if isinstance(x, Tensor) else known(a.f, x, first.dtype)
        for x in given
        if isinstance(x, Tensor) or x.size
    ]
    if len({x.rank for x in tensors}) > 1:
        raise FaltungError(f"inputs of shapes {', '.join(str(x.shape) for x in tensors)}: differ")
    return concatenated(a.f, tensors, a.axis(tensors[0].rank, 1))


# Pads and sizes -----------------------------------------------------------------------------------


def pad_of(a: Arguments) -> tuple[list[tuple[int, int]], str]:
    """Entries before and after each axis, and what they are."""
    found = a.wholes("pads", 1)
    if found is None:
        found = a.wholes("paddings")
    x = a.tensor(0)
    axes = a.wholes("axes", 3)
    places = (
        tuple(range(x.rank))
        if axes is None
        else tuple(counted(axis, x.rank, "axes") for axis in axes)
    )
    if found is None or len(found) != 2 * len(places):
        raise FaltungError(f"pads={found}: must be {2 * len(places)} numbers")
    pairs = [(0, 0)] * x.rank
    for i, axis in enumerate(places):
        pairs[axis] = found[i], found[len(places) + i]
    mode = a.word("mode", "constant")
    if mode not in _MODES:
        raise FaltungError(f"mode={mode!r}: must be one of {', '.join(_MODES)}")
    return pairs, _MODES[mode]


def pad(a: Arguments) -> Tensor:
    pairs, mode = pad_of(a)
    value = a.scalar("value", 2, 0.0)
    x = a.floats(0)
    if mode == "zeros" and value:
        return _padded_with(a, x, pairs, value)
    if mode != "zeros" and min(map(min, pairs), default=0) < 0:
        raise Unsaid("a crop together with a pad")
    for (lo, hi), size in zip(pairs, x.shape, strict=True):
        supply = {"reflect": size - 1, "circular": size}.get(mode, max(lo, hi))
        if max(lo, hi) > supply:
            raise Unsaid("a pad larger than what it repeats (needs Resample)")
    made = padded(a.f, x, pairs, mode)
    if x.rank > 2 and not any(map(any, pairs[:2])) and min(map(min, pairs)) >= 0:
        a.notes.pads[made.value.name] = x, tuple(pairs[2:]), mode
    return made


def _padded_with(a: Arguments, x: Tensor, pairs: list[tuple[int, int]], value: float) -> Tensor:
    """With a number around it, which is joined to the tensor."""
    for axis, (lo, hi) in enumerate(pairs):
        if max(lo, hi) > MOST_PADDING:
            raise Unsaid(f"padding of {max(lo, hi)} entries")
        cut = max(0, -lo), max(0, -hi)
        x = sliced(a.f, x, axis, cut[0], x.shape[axis] - sum(cut), 1)
        before, after = (_filled(a, x, axis, size, value) for size in (lo, hi))
        parts = [*before, x, *after]
        x = concatenated(a.f, parts, axis) if len(parts) > 1 else x
    return x


def _filled(a: Arguments, x: Tensor, axis: int, size: int, value: float) -> list[Tensor]:
    """A number, as many times as it stands on one side of an axis; nothing for no entries."""
    if size <= 0:
        return []
    shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
    a.f.require(prod(shape))
    return [known(a.f, np.full(shape, value, a.f.dtype), x.dtype)]


def depth_to_space(a: Arguments) -> Tensor:
    """Channels become blocks of positions."""
    x = a.floats(0)
    b = a.whole("blocksize", 0)
    if x.rank != 4 or b < 1 or x.shape[1] % (b * b):
        raise FaltungError(f"blocksize={b}: does not fit an input of shape {x.shape}")
    n, c, h, w = x.shape
    if a.word("mode", "DCR") == "CRD":
        split, order = (n, c // (b * b), b, b, h, w), (0, 1, 4, 2, 5, 3)
    else:
        split, order = (n, b, b, c // (b * b), h, w), (0, 3, 4, 1, 5, 2)
    moved = a.f.reshaped(x, split).transposed(order)
    return a.f.reshaped(moved, (n, c // (b * b), h * b, w * b))


def space_to_depth(a: Arguments) -> Tensor:
    """Blocks of positions become channels."""
    x = a.floats(0)
    b = a.whole("blocksize", 0)
    if x.rank != 4 or b < 1 or x.shape[2] % b or x.shape[3] % b:
        raise FaltungError(f"blocksize={b}: does not fit an input of shape {x.shape}")
    n, c, h, w = x.shape
    order = (0, 1, 3, 5, 2, 4) if a.word("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    split = a.f.reshaped(x, (n, c, h // b, b, w // b, b)).transposed(order)
    return a.f.reshaped(split, (n, c * b * b, h // b, w // b))


TABLE: dict[str, Any] = {
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Expand": expand,
    "Tile": tile,
    "Slice": slice_,
    "Split": split,
    "Gather": gather,
    "Concat": concat,
    "Pad": pad,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    **RESIZE,
}
