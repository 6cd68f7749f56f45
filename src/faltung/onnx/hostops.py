"""Operators on the host by NumPy: selections and scatters by numbers, the largest entries, boxes.

Exactly as ONNX defines them. Each checks its numbers before it takes memory by them.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.onnx.arguments import counted
from faltung.runtime.memory import require

Array = npt.NDArray[Any]
Inputs = Sequence[Array | None]
Attributes = Mapping[str, Any]
Own = Callable[[Attributes, Inputs], list[Array]]


def _given(inputs: Inputs, number: int) -> Array:
    found = inputs[number] if len(inputs) > number else None
    if found is None:
        raise FaltungError(f"input {number} is missing")
    return found


def _axis(attributes: Attributes, rank: int, default: int) -> int:
    return counted(int(attributes.get("axis", default)), rank)


def _within(indices: Array, size: int) -> Array:
    """Indices counted from the front. FaltungError: one that is outside."""
    if indices.dtype.kind not in "iu":
        raise FaltungError(f"indices: must be whole numbers, are {indices.dtype}")
    if indices.size and (int(indices.min()) < -size or int(indices.max()) >= size):
        raise FaltungError(f"indices: must be from {-size} to {size - 1}")
    made = indices.astype(np.int64)
    return np.where(made < 0, made + size, made)


# Selections ---------------------------------------------------------------------------------------


def gather(attributes: Attributes, inputs: Inputs) -> list[Array]:
    data, indices = _given(inputs, 0), _given(inputs, 1)
    axis = _axis(attributes, data.ndim, 0)
    chosen = _within(indices, data.shape[axis])
    size = prod(data.shape[:axis]) * prod(data.shape[axis + 1 :]) * chosen.size
    require(size * data.itemsize, "Gather: its result")
    return [np.take(data, chosen, axis)]


def gather_elements(attributes: Attributes, inputs: Inputs) -> list[Array]:
    data, indices = _given(inputs, 0), _given(inputs, 1)
    axis = _axis(attributes, data.ndim, 0)
    chosen = _within(indices, data.shape[axis])
    _fits(indices, data, axis)
    return [data[_grid(chosen, axis)]]


def _fits(indices: Array, data: Array, axis: int) -> None:
    fits = indices.ndim == data.ndim and all(
        a <= b or i == axis for i, (a, b) in enumerate(zip(indices.shape, data.shape, strict=False))
    )
    if not fits:
        raise FaltungError(f"indices of shape {indices.shape}: do not fit data of {data.shape}")


def _grid(chosen: Array, axis: int) -> tuple[Array, ...]:
    """An index of each axis: the numbers themselves, but on one axis those that are chosen."""
    made: list[Array] = list(np.indices(chosen.shape, sparse=True))
    made[axis] = chosen
    return tuple(made)


def gather_nd(attributes: Attributes, inputs: Inputs) -> list[Array]:
    data, indices = _given(inputs, 0), _given(inputs, 1)
    batch = int(attributes.get("batch_dims", 0))
    if not indices.ndim or not 0 <= batch < min(data.ndim, indices.ndim):
        raise FaltungError(f"batch_dims={batch}: does not fit {data.shape} and {indices.shape}")
    depth = indices.shape[-1]
    if data.shape[:batch] != indices.shape[:batch] or not 1 <= depth <= data.ndim - batch:
        raise FaltungError(f"indices of shape {indices.shape}: do not fit data of {data.shape}")
    places = tuple(_within(indices[..., i], data.shape[batch + i]) for i in range(depth))
    require(
        prod(indices.shape[:-1]) * prod(data.shape[batch + depth :]) * data.itemsize, "GatherND"
    )
    fronts = [
        np.arange(n).reshape((-1,) + (1,) * (indices.ndim - 2 - i))
        for i, n in enumerate(indices.shape[:batch])
    ]
    return [data[(*fronts, *places)]]


def compress(attributes: Attributes, inputs: Inputs) -> list[Array]:
    data, condition = _given(inputs, 0), _given(inputs, 1)
    axis = attributes.get("axis")
    if axis is None:
        return [np.compress(condition.ravel(), data)]
    return [np.compress(condition.ravel(), data, counted(axis, data.ndim))]


# Scatters -----------------------------------------------------------------------------------------

_REDUCED: dict[str, Any] = {
    "add": np.add,
    "mul": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
}


def _write(made: Array, places: tuple[Array, ...], updates: Array, reduction: str) -> list[Array]:
    if reduction in ("none", ""):
        made[places] = updates
    elif reduction in _REDUCED:
        _REDUCED[reduction].at(made, places, updates)
    else:
        raise FaltungError(f"reduction={reduction!r}: must be none, add, mul, min or max")
    return [made]


def scatter_elements(attributes: Attributes, inputs: Inputs) -> list[Array]:
    data, indices, updates = (_given(inputs, i) for i in range(3))
    axis = _axis(attributes, data.ndim, 0)
    if updates.shape != indices.shape:
        raise FaltungError(f"updates of shape {updates.shape}: must be {indices.shape}")
    chosen = _within(indices, data.shape[axis])
    _fits(indices, data, axis)
    places = tuple(np.broadcast_arrays(*_grid(chosen, axis)))
    return _write(data.copy(), places, updates, attributes.get("reduction", "none"))


def scatter_nd(attributes: Attributes, inputs: Inputs) -> list[Array]:
    data, indices, updates = (_given(inputs, i) for i in range(3))
    depth = indices.shape[-1] if indices.ndim else 0
    if not 1 <= depth <= data.ndim or updates.shape != indices.shape[:-1] + data.shape[depth:]:
        raise FaltungError(
            f"indices of shape {indices.shape} and updates of {updates.shape}: do not fit data of "
            f"{data.shape}"
        )
    places = tuple(_within(indices[..., i], data.shape[i]) for i in range(depth))
    return _write(data.copy(), places, updates, attributes.get("reduction", "none"))


# Order --------------------------------------------------------------------------------------------


def top_k(attributes: Attributes, inputs: Inputs) -> list[Array]:
    data = _given(inputs, 0)
    axis = _axis(attributes, data.ndim, -1)
    size = data.shape[axis]
    k = int(attributes["k"]) if "k" in attributes else int(_given(inputs, 1).ravel()[0])
    if not 0 <= k <= size:
        raise FaltungError(f"k={k}: must be 0 to {size}")
    if attributes.get("largest", 1):
        # Of equal ones the first comes first, so both the order and the axis are turned.
        order = np.argsort(np.flip(data, axis), axis, kind="stable")
        order = size - 1 - np.flip(order, axis)
    else:
        order = np.argsort(data, axis, kind="stable")
    chosen = np.take(order, np.arange(k), axis)
    return [np.take_along_axis(data, chosen, axis), chosen.astype(np.int64)]


def suppressed(attributes: Attributes, inputs: Inputs) -> list[Array]:
    """NonMaxSuppression: of boxes that overlap the one with the highest score is kept."""
    boxes, scores = _given(inputs, 0), _given(inputs, 1)
    if boxes.ndim != 3 or scores.ndim != 3 or boxes.shape[2] != 4:
        raise FaltungError(f"boxes of {boxes.shape}, scores of {scores.shape}: must have 3 axes")
    if boxes.shape[0] != scores.shape[0] or boxes.shape[1] != scores.shape[2]:
        raise FaltungError(f"scores of shape {scores.shape}: do not fit boxes of {boxes.shape}")
    most = int(_setting(inputs, 2, 0))
    overlap, least = _setting(inputs, 3, 0.0), _setting(inputs, 4, None)
    if attributes.get("center_point_box", 0):
        half = boxes[..., 2:] / 2
        low, high = boxes[..., :2] - half, boxes[..., :2] + half
    else:
        low = np.minimum(boxes[..., :2], boxes[..., 2:])
        high = np.maximum(boxes[..., :2], boxes[..., 2:])
    found = []
    for sample in range(scores.shape[0]):
        for kind in range(scores.shape[1]):
            kept = _kept(low[sample], high[sample], scores[sample, kind], most, overlap, least)
            found += [(sample, kind, box) for box in kept]
    return [np.array(found, np.int64).reshape(-1, 3)]


def _setting(inputs: Inputs, number: int, default: Any) -> Any:
    found = inputs[number] if len(inputs) > number else None
    return default if found is None or not found.size else found.ravel()[0]


def _kept(
    low: Array, high: Array, scores: Array, most: int, overlap: float, least: float | None
) -> list[int]:
    left = np.argsort(-scores, kind="stable")
    if least is not None:
        left = left[scores[left] > least]
    area = np.prod(high - low, -1)
    kept: list[int] = []
    while left.size and len(kept) < most:
        best = int(left[0])
        kept.append(best)
        left = left[1:]
        inner = np.minimum(high[left], high[best]) - np.maximum(low[left], low[best])
        common = np.prod(np.maximum(inner, 0), -1)
        union = area[left] + area[best] - common
        real = (common > 0) & (area[left] > 0) & (area[best] > 0) & (union > 0)
        ratio = np.divide(common, union, out=np.zeros_like(common), where=real)
        left = left[~(real & (ratio > overlap))]
    return kept


OWN: dict[str, Own] = {
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "Compress": compress,
    "Scatter": scatter_elements,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "TopK": top_k,
    "NonMaxSuppression": suppressed,
}
