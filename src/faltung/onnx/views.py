"""Operators of ONNX that look at a tensor otherwise: reshapes, transposes, joins."""

from math import prod
from typing import Any

import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Shape, Tensor
from faltung.graph.foreign_formulas import broadcast as broadcast_of
from faltung.graph.foreign_formulas import expanded
from faltung.graph.foreign_maps import concatenated, known
from faltung.onnx.arguments import Arguments, counted, numbers
from faltung.onnx.entries import TABLE as ENTRIES
from faltung.onnx.resize import TABLE as RESIZE

Array = npt.NDArray[Any]


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
    "Concat": concat,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    **ENTRIES,
    **RESIZE,
}
