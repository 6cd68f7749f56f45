"""Maxima of whole numbers, and where maxima are, on the host; and putting them back."""

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Unsaid
from faltung.runtime.memory import require

Array = npt.NDArray[Any]
Inputs = Sequence[Array | None]
Attributes = Mapping[str, Any]
Sizes = tuple[int, ...]

MOST_WORK = 1 << 32
MOST_PADDING = 1 << 16


def _sizes(attributes: Attributes, name: str, rank: int, default: int | None, least: int) -> Sizes:
    found = attributes.get(name)
    if found is None and default is not None:
        return (default,) * rank
    if not isinstance(found, tuple) or len(found) != rank or min(found) < least:
        raise FaltungError(f"{name}={found}: must be {rank} numbers, all at least {least}")
    if max(found) > 1 << 30:
        raise FaltungError(f"{name}={found}: must be sizes")
    return found


def _geometry(attributes: Attributes, space: Sizes) -> tuple[Sizes, Sizes, Sizes, Sizes, Sizes]:
    """Kernel, stride, dilation, entries before each axis, and the sizes of the result."""
    rank = len(space)
    kernel = _sizes(attributes, "kernel_shape", rank, None, 1)
    stride = _sizes(attributes, "strides", rank, 1, 1)
    dilation = _sizes(attributes, "dilations", rank, 1, 1)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    rule = attributes.get("auto_pad", "NOTSET")
    pads = _sizes(attributes, "pads", 2 * rank, 0, 0)
    if max(pads) > MOST_PADDING:
        raise Unsaid(f"padding of {max(pads)} entries")
    before, out = [], []
    for i, (n, r, s) in enumerate(zip(space, reach, stride, strict=True)):
        if rule in ("SAME_UPPER", "SAME_LOWER"):
            size = -(-n // s)
            total = max(0, (size - 1) * s + r - n)
            before.append(total // 2 if rule == "SAME_UPPER" else total - total // 2)
        else:
            lo, hi = (0, 0) if rule == "VALID" else (pads[i], pads[rank + i])
            up = s - 1 if attributes.get("ceil_mode") else 0
            size = (n + lo + hi - r + up) // s + 1
            size -= (size - 1) * s >= n + lo  # a window must not begin in the padding after
            before.append(lo)
        if size < 1:
            raise FaltungError(f"kernel_shape={kernel}: is larger than the map {space}")
        out.append(size)
    return kernel, stride, dilation, tuple(before), tuple(out)


def max_pool(attributes: Attributes, inputs: Inputs) -> list[Array]:
    x = inputs[0]
    if x is None or x.ndim < 3 or not x.size:
        raise FaltungError("input: must be (batch, channels, *space), with elements")
    space = x.shape[2:]
    kernel, stride, dilation, before, out = _geometry(attributes, space)
    if prod(out) * prod(kernel) * prod(x.shape[:2]) > MOST_WORK:
        raise Unsaid("a pool of so many comparisons")
    require(prod(x.shape[:2]) * prod(out) * (x.itemsize + 16), "MaxPool: its result")
    best = np.zeros((*x.shape[:2], *out), x.dtype)
    at = np.full(best.shape, -1, np.int64)
    steps = _steps(space, bool(attributes.get("storage_order")))
    for tap in product(*map(range, kernel)):
        places = [
            np.arange(o) * s + k * d - b
            for o, s, k, d, b in zip(out, stride, tap, dilation, before, strict=True)
        ]
        inside = _open([(p >= 0) & (p < n) for p, n in zip(places, space, strict=True)])
        chosen = _open([np.clip(p, 0, n - 1) for p, n in zip(places, space, strict=True)])
        places_of: tuple[Any, ...] = (slice(None), slice(None), *chosen)
        value = x[places_of]
        index = sum(c * s for c, s in zip(chosen, steps, strict=True))
        better = _all(inside) & ((at < 0) | (value > best))
        np.copyto(best, value, where=better)
        np.copyto(at, index, where=better)
    maps = np.arange(prod(x.shape[:2])).reshape(*x.shape[:2], *(1,) * len(space))
    return [best, np.where(at >= 0, at + maps * prod(space), 0)]


def _open(arrays: Sequence[Array]) -> tuple[Array, ...]:
    """Each along an axis of its own."""
    rank = len(arrays)
    return tuple(a.reshape((1,) * i + (-1,) + (1,) * (rank - 1 - i)) for i, a in enumerate(arrays))


def _all(masks: Sequence[Array]) -> Array:
    made = np.array(True)
    for mask in masks:
        made = made & mask
    return made


def _steps(space: Sizes, columns: bool) -> Sizes:
    """How far neighbours along each axis are, row by row or column by column."""
    sizes = space[::-1] if not columns else space
    steps = [prod(sizes[:i]) for i in range(len(sizes))]
    return tuple(steps if columns else steps[::-1])


def max_unpool(attributes: Attributes, inputs: Inputs) -> list[Array]:
    x, at = inputs[0], inputs[1]
    if x is None or at is None or x.shape != at.shape or x.ndim < 3:
        raise FaltungError("inputs: must be maps of one shape")
    rank = x.ndim - 2
    kernel = _sizes(attributes, "kernel_shape", rank, None, 1)
    stride = _sizes(attributes, "strides", rank, 1, 1)
    pads = _sizes(attributes, "pads", 2 * rank, 0, 0)
    inner = tuple(
        (n - 1) * stride[i] - pads[i] - pads[rank + i] + kernel[i]
        for i, n in enumerate(x.shape[2:])
    )
    shape = (*x.shape[:2], *inner)
    if min(shape) < 1:
        raise FaltungError(f"kernel_shape={kernel}: makes a map of {inner}")
    require(prod(shape) * x.itemsize, "MaxUnpool: its result")
    whole = np.zeros(prod(shape), x.dtype)
    if at.size and (at.min() < 0 or at.max() >= whole.size):
        raise FaltungError(f"indices: must be from 0 to {whole.size - 1}")
    whole[at.ravel()] = x.ravel()
    made = whole.reshape(shape)
    told = inputs[2] if len(inputs) > 2 else None
    if told is None:
        return [made]
    wanted = tuple(int(n) for n in told.ravel())
    if len(wanted) != len(shape) or any(n < m for n, m in zip(wanted, shape, strict=True)):
        raise FaltungError(f"output_shape={wanted}: must be at least {shape}")
    require(prod(wanted) * x.itemsize, "MaxUnpool: its result")
    larger = np.zeros(wanted, x.dtype)
    larger[tuple(map(slice, shape))] = made
    return [larger]


OWN = {"MaxPool": max_pool, "MaxUnpool": max_unpool}
