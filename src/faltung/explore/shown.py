"""Arrays as the page keeps them: levels of 8 bits in base64, few enough to fit into one file."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.train.array_images import is_series
from faltung.train.map_sheets import shrunk

Array = npt.NDArray[Any]

# Entries of the longer side of a sample that is shown, of a slice of a volume, slices, and words.
SIDE, SLICE_SIDE, SLICES, LONGEST, WORDS = 160, 64, 16, 1024, 400


def levels(values: Array) -> dict[str, Any]:
    """Whole numbers from 0 to 255."""
    whole = np.ascontiguousarray(values, np.uint8)
    return {"shape": list(whole.shape), "data": base64.b64encode(whole.tobytes()).decode()}


def finite(values: Array) -> Array:
    """Values as float32, with zero for what is not finite."""
    return np.nan_to_num(np.asarray(values, np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def sample(values: Array, words: Sequence[str] = (), *, tokens: bool = False) -> dict[str, Any]:
    """One sample (C, *space), or tokens."""
    if tokens:
        flat = values.ravel()[:WORDS]
        return {"kind": "tokens", "words": list(words[:WORDS]) or [str(each) for each in flat]}
    values = finite(values)
    if is_series(values):
        kept = shrunk(values, LONGEST)
        low, high = float(kept.min()), float(kept.max())
        scaled = _scaled(kept, low, high)
        return {"kind": "series", "levels": levels(scaled), "low": low, "high": high}
    if values.ndim == 2:  # a row for each channel of a series of many
        values = values[np.newaxis]
    if len(values) not in (1, 3):
        values = values.mean(0, keepdims=True)
    volume = values.ndim > 3
    while values.ndim > 4:
        values = values[:, values.shape[1] // 2]
    values = shrunk(values, SLICE_SIDE if volume else SIDE)
    if volume:
        values = values[:, evenly(values.shape[1], SLICES)]
    made = _scaled(values, float(values.min()), float(values.max()))
    return {"kind": "volume" if volume else "picture", "levels": levels(np.moveaxis(made, 0, -1))}


def evenly(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` numbers, evenly apart, each the middle of its part."""
    many = min(count, most)
    return [(2 * i + 1) * count // (2 * many) for i in range(many)]


def _scaled(values: Array, low: float, high: float) -> Array:
    """From ``low`` to ``high`` as 0 to 255."""
    if high <= low:
        return np.full(values.shape, 128, np.uint8)
    return np.rint(255 * ((values - low) / (high - low))).astype(np.uint8)
