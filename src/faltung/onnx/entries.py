"""Entries of tensors, from ONNX: parts, selections by constants, repetitions, pads, masks.

Each is a table along an axis, or along several that are merged into one: what goes where is known
when the program is made.
"""

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.resample import MOST_TAPS, Table, selected, table, tiled
from faltung.graph.foreign import Shape, Tensor, Unsaid
from faltung.graph.foreign_entries import checked, elements, scattered, taken, triangle, tuples
from faltung.graph.foreign_maps import known, padded, picked, sliced
from faltung.graph.foreign_resample import merged, resampled
from faltung.graph.ops import Embed
from faltung.onnx.arguments import Arguments, counted

Array = npt.NDArray[Any]
_MODES = {"constant": "zeros", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


# Parts --------------------------------------------------------------------------------------------


def slice_(a: Arguments) -> Tensor:
    starts, ends = a.wholes("starts", 1), a.wholes("ends", 2)
    axes, steps = a.wholes("axes", 3), a.wholes("steps", 4)
    x = a.floats(0)
    if starts is None or ends is None or len(starts) != len(ends):
        raise FaltungError("starts and ends: must be as many numbers")
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(axes) == len(steps) == len(starts):
        raise FaltungError("axes and steps: must be as many numbers as starts")
    tables: dict[int, Table] = {}
    for start, end, given, step in zip(starts, ends, axes, steps, strict=True):
        axis = counted(given, x.rank, "axes")
        if not step or axis in tables:
            raise FaltungError("steps: must not be 0, and axes must differ")
        entries = range(*slice(start, end, step).indices(x.shape[axis]))
        if not entries:
            raise Unsaid("a tensor without elements")
        if step == 1 or len(entries) == 1:
            x = sliced(a.f, x, axis, entries.start, len(entries))
        else:
            tables[axis] = selected(x.shape[axis], entries)
    return resampled(a.f, x, tables)


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
        made.append(sliced(a.f, x, axis, start, size))
        start += size
    return made


def tile(a: Arguments) -> Tensor:
    times = a.wholes("repeats", 1)
    x = a.floats(0)
    if times is None or len(times) != x.rank or min(times, default=1) < 1:
        raise FaltungError(f"repeats={times}: must be {x.rank} numbers, all at least 1")
    a.f.require(x.size * prod(times))
    counts = dict(enumerate(times))
    return resampled(a.f, x, {i: tiled(x.shape[i], n) for i, n in counts.items() if n > 1})


# Selections ---------------------------------------------------------------------------------------


def _indices(a: Arguments, number: int, size: int) -> Array:
    """Indices that are known, counted from the front."""
    return checked(a.array(number), size, "indices")


def gather(a: Arguments) -> Tensor:
    data = a[0]
    if not isinstance(data, Tensor):
        return _embedded(a, data)
    x = a.floats(0)
    axis = a.axis(x.rank, 0)
    indices = _indices(a, 1, x.shape[axis])
    made = picked(a.f, x, axis, indices.ravel().tolist())
    return a.f.reshaped(made, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _embedded(a: Arguments, weights: Array) -> Tensor:
    """Rows of a constant, by numbers that the program gets."""
    tokens = a.tensor(1)
    if weights.ndim != 2 or a.axis(2, 0) or weights.dtype.kind != "f" or not weights.size:
        raise Unsaid("a selection by values (needs gather)")
    if tokens.dtype not in ("int64", "int32") or not a.is_input(1) or not tokens.straight:
        raise Unsaid("a selection by values (needs gather)")
    f = a.f
    a.tokens(1, weights.shape[0])
    weight = f.parameter("weight", weights)
    made = f.node(Embed(), (tokens.value, weight), (weights.shape[1], tokens.size))
    return f.result(made, (*tokens.shape, weights.shape[1]), str(weights.dtype))


def gather_elements(a: Arguments) -> Tensor:
    x = a.floats(0)
    axis = a.axis(x.rank, 0)
    indices = _indices(a, 1, x.shape[axis])
    _fits(indices, x, axis)
    return taken(a.f, x, elements(x.shape, axis, indices), indices.shape)


def _fits(indices: Array, x: Tensor, axis: int) -> None:
    small = indices.ndim == x.rank and all(
        n <= m for i, (n, m) in enumerate(zip(indices.shape, x.shape, strict=False)) if i != axis
    )
    if not small:
        raise FaltungError(f"indices of shape {indices.shape}: do not fit {x.shape}")


def gather_nd(a: Arguments) -> Tensor:
    x = a.floats(0)
    indices, batch = a.array(1), a.whole("batch_dims", 0)
    if not 0 <= batch < min(x.rank, max(1, indices.ndim)) or not indices.size:
        raise FaltungError(f"batch_dims={batch}: does not fit indices of shape {indices.shape}")
    deep = indices.shape[-1]
    if batch + deep > x.rank or indices.shape[:batch] != x.shape[:batch]:
        raise FaltungError(f"indices of shape {indices.shape}: do not fit {x.shape}")
    sizes = x.shape[batch : batch + deep]
    found = tuples(indices, sizes)
    for i in reversed(range(batch)):
        wide = np.arange(x.shape[i]).reshape(-1, *(1,) * (found.ndim - 1 - i))
        found = found + wide * (prod(x.shape[i + 1 : batch]) * prod(sizes))
    places = selected(prod(x.shape[: batch + deep]), found.ravel().tolist())
    a.f.require(found.size * prod(x.shape[batch + deep :]))
    return merged(a.f, x, range(batch + deep), places, found.shape)


def scatter_elements(a: Arguments) -> Tensor:
    x, updates = a.floats(0), _updates(a)
    axis = a.axis(x.rank, 0)
    indices = _indices(a, 1, x.shape[axis])
    _fits(indices, x, axis)
    if updates.shape != indices.shape:
        raise FaltungError(f"updates of shape {updates.shape}: must be {indices.shape}")
    places = elements(x.shape, axis, indices).ravel()
    return scattered(a.f, x, updates, places, 1, _adds(a))


def scatter_nd(a: Arguments) -> Tensor:
    x, updates = a.floats(0), _updates(a)
    indices = a.array(1)
    deep = indices.shape[-1] if indices.ndim else 0
    if not 0 < deep <= x.rank:
        raise FaltungError(f"indices of shape {indices.shape}: do not fit {x.shape}")
    each = prod(x.shape[deep:])
    if updates.shape != (*indices.shape[:-1], *x.shape[deep:]):
        raise FaltungError(f"updates of shape {updates.shape}: do not fit {indices.shape}")
    places = tuples(indices, x.shape[:deep]).ravel()
    return scattered(a.f, x, updates, places, each, _adds(a))


def _updates(a: Arguments) -> Tensor:
    found = a[2]
    return found if isinstance(found, Tensor) else known(a.f, found, a.tensor(0).dtype)


def _adds(a: Arguments) -> bool:
    how = a.word("reduction", "none")
    if how not in ("none", "add"):
        raise Unsaid(f"reduction={how}")
    return how == "add"


def compress(a: Arguments) -> Tensor:
    x, condition = a.floats(0), a.array(1)
    if condition.dtype != bool or condition.ndim != 1:
        raise FaltungError("condition: must be truths, one after the other")
    axis = a.whole("axis", -(1 << 40))
    if axis == -(1 << 40):
        x, axis = a.f.reshaped(x, (x.size,)), 0
    axis = counted(axis, x.rank)
    places = np.flatnonzero(condition[: x.shape[axis]])
    if not len(places):
        raise Unsaid("a tensor without elements")
    return picked(a.f, x, axis, places.tolist())


def reverse_sequence(a: Arguments) -> Tensor:
    """The first entries of each sequence in reverse order."""
    x, lengths = a.floats(0), a.array(1)
    batch, time = a.whole("batch_axis", 1), a.whole("time_axis", 0)
    if {batch, time} != {0, 1} or x.rank < 2:
        raise FaltungError(f"batch_axis={batch}, time_axis={time}: must be 0 and 1, or 1 and 0")
    many, long = x.shape[batch], x.shape[time]
    if lengths.shape != (many,) or lengths.min() < 0 or lengths.max() > long:
        raise FaltungError(f"sequence_lens: must be {many} numbers from 0 to {long}")
    t = np.arange(long)
    turned = np.where(t < lengths[:, None], lengths[:, None] - 1 - t, t)  # (batch, time)
    numbers = np.arange(many)[:, None] * long + turned if batch == 0 else None
    if numbers is None:
        numbers = (turned * many + np.arange(many)[:, None]).T
    places = selected(many * long, numbers.ravel().tolist())
    return merged(a.f, x, (0, 1), places, x.shape[:2])


# Pads and masks -----------------------------------------------------------------------------------


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
    value = a.scalar("value", 2, 0.0) or 0.0
    x = a.floats(0)
    for (lo, hi), size in zip(pairs, x.shape, strict=True):
        if size + min(lo, 0) + min(hi, 0) < 1:
            raise Unsaid("a tensor without elements")
        if max(lo, hi) > MOST_TAPS:
            raise FaltungError(f"pads={max(lo, hi)}: must be at most {MOST_TAPS}")
    made = padded(a.f, x, pairs, mode, value if mode == "zeros" else 0.0)
    inside = all(
        max(pair) <= {"reflect": size - 1, "circular": size}.get(mode, max(pair))
        for pair, size in zip(pairs, x.shape, strict=True)
    )
    plain = x.rank > 2 and not any(map(any, pairs[:2])) and min(map(min, pairs)) >= 0
    if plain and inside and (mode != "zeros" or not value):
        a.notes.pads[made.value.name] = x, tuple(pairs[2:]), mode
    return made


def center_crop_pad(a: Arguments) -> Tensor:
    shape = a.wholes("shape", 1)
    x = a.floats(0)
    axes = a.axes(x.rank, None)
    axes = tuple(range(x.rank)) if axes is None else axes
    if shape is None or len(shape) != len(axes) or min(shape, default=1) < 1:
        raise FaltungError(f"shape={shape}: must be {len(axes)} sizes, all at least 1")
    pairs = [(0, 0)] * x.rank
    for axis, size in zip(axes, shape, strict=True):
        more = size - x.shape[axis]
        lo = more // 2 if more > 0 else -(-more // 2)
        pairs[axis] = lo, more - lo
    return padded(a.f, x, pairs)


def trilu(a: Arguments) -> Tensor:
    """A triangle of each matrix."""
    x = a.floats(0)
    k = a.array(1) if a.has(1) else np.zeros(1, np.int64)
    if x.rank < 2 or k.size != 1 or k.dtype.kind not in "iu":
        raise FaltungError("k: must be one whole number, and the input matrices")
    return triangle(a.f, x, int(k.ravel()[0]), bool(a.whole("upper", 1)))


def col2im(a: Arguments) -> Tensor:
    """Blocks put back where they came from, added up where they overlap."""
    x = a.floats(0)
    shape, block = a.wholes("image_shape", 1), a.wholes("block_shape", 2)
    if shape is None or block is None or len(shape) != len(block) or x.rank != 3 or not shape:
        raise FaltungError(
            "image_shape and block_shape: must be as many numbers; the input (N, C, L)"
        )
    rank = len(shape)
    stride, dilation = a.per_axis("strides", rank, 1), a.per_axis("dilations", rank, 1)
    pads = a.wholes("pads") or (0,) * (2 * rank)
    if len(pads) != 2 * rank or min((*pads, *(n - 1 for n in (*shape, *block)))) < 0:
        raise FaltungError(f"pads={pads}: must be {2 * rank} numbers, none below 0")
    if max(map(prod, (shape, block))) > MOST_TAPS:
        raise Unsaid("a picture of so many entries")
    lines, counts = [], []
    for i in range(rank):
        wide = shape[i] + pads[i] + pads[rank + i] - dilation[i] * (block[i] - 1) - 1
        counts.append(wide // stride[i] + 1)
        starts = np.arange(counts[-1]) * stride[i] - pads[i]
        lines.append(np.arange(block[i])[:, None] * dilation[i] + starts)
    taps, windows = prod(block), prod(counts)
    if min(counts) < 1 or x.shape[1] % taps or x.shape[2] != windows:
        raise FaltungError(f"input of shape {x.shape}: does not fit the blocks")
    rows = _overlaps(lines, shape)
    channels = x.shape[1] // taps
    parts = a.f.reshaped(x, (x.shape[0], channels, taps * windows))
    made = resampled(a.f, parts, {2: table(taps * windows, rows)})
    return a.f.reshaped(made, (x.shape[0], channels, *shape))


def _overlaps(lines: list[Array], shape: Shape) -> list[list[tuple[int, float]]]:
    """For each entry of a picture the (tap, window) pairs that lie on it; lines: along each axis
    where each tap of each window lies.
    """
    rank = len(shape)
    where = np.zeros((1,) * (2 * rank), np.int64)
    inside = np.ones((1,) * (2 * rank), bool)
    for i, line in enumerate(lines):
        form = [1] * (2 * rank)
        form[i], form[rank + i] = line.shape
        here = line.reshape(form)
        where = where * shape[i] + here
        inside = inside & (here >= 0) & (here < shape[i])
    rows: list[list[tuple[int, float]]] = [[] for _ in range(prod(shape))]
    numbers = np.arange(where.size).reshape(where.shape)
    for number, place in zip(numbers[inside].tolist(), where[inside].tolist(), strict=True):
        rows[place].append((number, 1.0))
    return rows


TABLE: dict[str, Any] = {
    "Slice": slice_,
    "Split": split,
    "Tile": tile,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "Scatter": scatter_elements,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "Compress": compress,
    "ReverseSequence": reverse_sequence,
    "Pad": pad,
    "CenterCropPad": center_crop_pad,
    "Trilu": trilu,
    "Col2Im": col2im,
}
