"""The definition of sampling at a grid of places, and its gradients.

Float64 throughout. x: (batch, channels, *space); grid: (batch, rank, *output), its first row the
coordinate along the last axis of space; g: (batch, channels, *output).
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faltung.geometry.grid import KEYS_A, Sampling

Array = NDArray[Any]


def grid_sample(x: Array, grid: Array, how: Sampling) -> Array:
    """(batch, channels, *output)."""
    made = np.zeros((len(x), x.shape[1], *grid.shape[2:]))
    for places, weight, _ in _terms(x.shape[2:], grid, how):
        made += weight[:, None] * _read(x, places)
    return made


def grid_sample_input_grad(g: Array, grid: Array, how: Sampling, space: tuple[int, ...]) -> Array:
    """The gradient for the map."""
    made = np.zeros((len(g), g.shape[1], *space))
    for n in range(len(g)):
        for places, weight, _ in _terms(space, grid[n : n + 1], how):
            into = (slice(None), *(each[0] for each in places))
            np.add.at(made[n], into, weight[0] * g[n])
    return made


def grid_sample_grid_grad(x: Array, grid: Array, g: Array, how: Sampling) -> Array:
    """The gradient for the coordinates; that of the nearest entry is 0."""
    made = np.zeros(grid.shape)
    rank = grid.shape[1]
    for places, _, slopes in _terms(x.shape[2:], grid, how):
        dot = (_read(x, places) * g).sum(axis=1)
        for axis in range(rank):
            made[:, rank - 1 - axis] += slopes[axis] * dot
    return made


def _read(x: Array, places: list[Array]) -> Array:
    batch = np.arange(len(x)).reshape(-1, *(1,) * (places[0].ndim - 1))
    return np.moveaxis(np.moveaxis(x, 1, -1)[(batch, *places)], -1, 1)


def _terms(
    space: tuple[int, ...], grid: Array, how: Sampling
) -> Iterator[tuple[list[Array], Array, list[Array]]]:
    """For each neighbour its places, its weight, and how that changes with each coordinate."""
    rank = len(space)
    along = [_axis(grid[:, rank - 1 - a], size, how) for a, size in enumerate(space)]
    for taps in product(*along):
        weight = np.prod([tap[1] for tap in taps], axis=0)
        slopes = [
            taps[a][2] * np.prod([tap[1] for b, tap in enumerate(taps) if b != a], axis=0)
            for a in range(rank)
        ]
        yield [tap[0] for tap in taps], weight, slopes


def _axis(g: Array, size: int, how: Sampling) -> list[tuple[Array, Array, Array]]:
    """Index, weight and slope of the neighbours along one axis."""
    scale = (size - 1) / 2 if how.align_corners else size / 2
    x = (g + 1) * scale - (0 if how.align_corners else 0.5)
    if how.positions:
        scale, x = 1.0, g
    sign = np.full_like(x, scale)
    if how.mode != "cubic":
        x, turned = padded(x, size, how)
        sign = sign * turned
    base = np.floor(x)
    d = x - base
    found = []
    if how.mode == "nearest":
        found.append((np.rint(x), np.ones_like(x), np.zeros_like(x)))
    elif how.mode == "linear":
        found += [(base, 1 - d, -sign), (base + 1, d, sign)]
    else:
        for k, t in enumerate((1 + d, d, 1 - d, 2 - d)):
            toward = sign if k < 2 else -sign
            weight, slope = _cubic(t)
            found.append((padded(base - 1 + k, size, how)[0], weight, slope * toward))
    made = []
    for place, weight, slope in found:
        inside = (place >= 0) & (place <= size - 1)
        index = np.where(inside, place, 0).astype(np.int64)
        made.append((index, np.where(inside, weight, 0.0), np.where(inside, slope, 0.0)))
    return made


def _cubic(t: Array) -> tuple[Array, Array]:
    """The weight at a distance, and its slope."""
    a = KEYS_A
    near, far = ((a + 2) * t - (a + 3)) * t * t + 1, ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    nearly, farther = (3 * (a + 2) * t - 2 * (a + 3)) * t, (3 * a * t - 10 * a) * t + 8 * a
    return np.where(t <= 1, near, far), np.where(t <= 1, nearly, farther)


def padded(x: Array, size: int, how: Sampling) -> tuple[Array, Array]:
    """Positions brought back to the map, and how they change with those given: 1, -1 or 0."""
    turned = np.ones_like(x)
    if how.padding == "zeros":
        return x, turned
    if how.padding == "reflection":
        low = 0.0 if how.align_corners else -0.5
        span = size - 1.0 if how.align_corners else float(size)
        if span == 0:
            return np.zeros_like(x), np.zeros_like(x)
        turned = np.where(x < low, -1.0, 1.0)
        away = np.abs(x - low)
        flips = np.floor(away / span)
        rest = away - flips * span
        even = flips % 2 == 0
        x = np.where(even, rest, span - rest) + low
        turned = np.where(even, turned, -turned)
    inside = (x > 0) & (x < size - 1)
    return np.clip(x, 0, size - 1), np.where(inside, turned, 0.0)
