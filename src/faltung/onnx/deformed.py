"""Deformable convolution, from ONNX: the taps of each position sampled, then a product.

J. Dai et al., "Deformable convolutional networks", ICCV 2017; X. Zhu et al., "Deformable ConvNets
v2", CVPR 2019. What every tap of every position reads is a map of its own, sampled from the input
where the offsets say, in which the taps stand beside each other; a 1x1 convolution adds them up.
"""

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.grid import Sampling
from faltung.graph.foreign import Foreign, Shape, Tensor, Unsaid
from faltung.graph.foreign_formulas import formula
from faltung.graph.foreign_linear import linear
from faltung.graph.foreign_maps import concatenated, sliced
from faltung.graph.foreign_products import product
from faltung.graph.ops import GridSample
from faltung.onnx.arguments import Arguments
from faltung.onnx.convolve import map_of, pads

Array = npt.NDArray[Any]

HOW = Sampling("linear", "zeros")


def deformed(a: Arguments) -> Tensor:
    x, w, offset = a.floats(0), a[1], a.floats(2)
    channels, space = map_of(a, x)
    rank = len(space)
    if rank > 3:
        raise Unsaid("a deformable convolution of more than three axes of space")
    groups, parts = a.whole("group", 1), a.whole("offset_group", 1)
    if len(w.shape) != rank + 2 or offset.rank != rank + 2:
        raise FaltungError(f"weight of shape {w.shape}, offset of shape {offset.shape}: other axes")
    if min(groups, parts) < 1 or w.shape[1] * groups != channels or channels % parts:
        raise FaltungError(
            f"weight of shape {w.shape}, group={groups}, offset_group={parts}: do not fit "
            f"{channels} channels"
        )
    if w.shape[0] % groups:
        raise FaltungError(f"group={groups}: must divide {w.shape[0]} channels")
    kernel = tuple(w.shape[2:])
    bases = _bases(a, space, kernel)
    output = tuple(base.shape[1] for base in bases)
    taps = prod(kernel)
    if offset.shape != (x.shape[0], parts * taps * rank, *output):
        raise FaltungError(f"offset of shape {offset.shape}: must be for {output} positions")
    f = a.f
    offsets = f.reshaped(offset, (x.shape[0], parts, taps, rank, *output))
    masks = None
    if a.has(4):
        masks = f.reshaped(a.floats(4), (x.shape[0], parts, taps, *output))
    sampled = []
    for part in range(parts):
        grid = _grid(f, sliced(f, offsets, 1, part, 1), space, bases)
        mine = sliced(f, x, 1, part * (channels // parts), channels // parts)
        read = _sampled(f, mine, grid)
        if masks is not None:
            mask = f.reshaped(sliced(f, masks, 1, part, 1), (x.shape[0], taps, *output, 1))
            read = formula(f, lambda y, m: y * m, read, mask.moved(1, rank + 1))
        sampled.append(read)
    columns = concatenated(f, sampled, rank + 2)  # (batch, *output, taps, channels)
    return _summed(a, columns, groups).moved(rank + 1, 1)


def _bases(a: Arguments, space: Shape, kernel: Shape) -> list[Array]:
    """Along each axis where the taps of each position are without offsets: (taps, positions)."""
    rank = len(space)
    stride, dilation = a.per_axis("strides", rank, 1), a.per_axis("dilations", rank, 1)
    found = []
    pairs = pads(a, space, kernel, stride, dilation)
    for n, k, s, d, (lo, hi) in zip(space, kernel, stride, dilation, pairs, strict=True):
        count = (n + lo + hi - d * (k - 1) - 1) // s + 1
        if count < 1:
            raise FaltungError(f"kernel {kernel}: does not fit {space}")
        found.append(np.arange(k)[:, None] * d + np.arange(count) * s - lo)
    return found


def _grid(f: Foreign, offsets: Tensor, space: Shape, bases: list[Array]) -> Tensor:
    """The places as a grid (batch, *output, taps, rank), with the last axis of space first."""
    rank = len(space)
    made = []
    for axis in reversed(range(rank)):
        size = space[axis]
        base = bases[axis].astype(np.float64)
        taps, count = map(int, base.shape)
        # (1, 1, taps of all axes, 1, positions of all axes)
        kernel = [b.shape[0] for b in bases]
        wide = base.reshape([taps if i == axis else 1 for i in range(rank)] + [1, count])
        wide = np.broadcast_to(wide, (*kernel, 1, count)).reshape(prod(kernel), 1, count)
        along = [1, 1, prod(kernel), 1, *(count if i == axis else 1 for i in range(rank))]
        place = ((2 * wide + 1) / size - 1).reshape(along).astype(f.dtype)
        own = sliced(f, offsets, 3, axis, 1)
        made.append(formula(f, lambda x, b, size=size: x * (2 / size) + b, own, place))
    grid = concatenated(f, made, 3)
    shape = grid.shape
    return f.reshaped(grid, (shape[0], *shape[2:])).moved(1, rank + 2).moved(1, rank + 2)


def _sampled(f: Foreign, x: Tensor, grid: Tensor) -> Tensor:
    """The map at the places of a grid: (batch, *output, taps, channels)."""
    batch, *output, taps, rank = grid.shape
    places = f.map(grid, (0,), range(1, rank + 2), (rank + 2,))
    space = *output[:-1], output[-1] * taps
    places = f.seen(places, batch, (rank, *space))
    value = f.node(GridSample(HOW), (f.map(x), places), (x.shape[1], *space), batch)
    return f.result(value, (batch, *output, taps, x.shape[1]), x.dtype)


def _summed(a: Arguments, columns: Tensor, groups: int) -> Tensor:
    """The product with the weight, and the bias: (batch, *output, channels)."""
    f, w = a.f, a[1]
    batch, *output, taps, channels = columns.shape
    bias = a[3] if a.has(3) else None
    count = w.shape[0]
    if groups == 1 and not isinstance(w, Tensor):
        matrix = np.ascontiguousarray(np.moveaxis(w.reshape(count, channels, taps), 1, 2))
        fixed = None if bias is None or isinstance(bias, Tensor) else bias
        rows = f.reshaped(columns, (batch, *output, taps * channels))
        made = linear(f, rows, matrix.reshape(count, -1), fixed)
        bias = bias if fixed is None else None
    else:
        own = channels // groups
        rows = f.reshaped(columns, (batch, *output, taps, groups, own))
        shape = groups, count // groups, own, taps
        weight = f.reshaped(w, shape) if isinstance(w, Tensor) else w.reshape(shape)
        lead = [f"o{i}" for i in range(1 + len(output))]
        words = [*lead, "k", "g", "c"], ["g", "n", "c", "k"], [*lead, "g", "n"]
        made = product(f, rows, weight, words, (batch, *output, groups, count // groups))
        made = f.reshaped(made, (batch, *output, count))
    if bias is None:
        return made
    if bias.shape != (count,):
        raise FaltungError(f"bias of shape {bias.shape}: must have {count} numbers")
    return formula(f, lambda y, b: y + b, made, bias)


TABLE = {"DeformConv": deformed}
