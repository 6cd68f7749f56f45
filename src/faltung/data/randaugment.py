"""RandAugment: a few changes for each sample, chosen at random out of fourteen, of one strength.

E. D. Cubuk, B. Zoph, J. Shlens, Q. V. Le, "RandAugment: practical automated data augmentation with
a reduced search space", NeurIPS 2020. The changes and their ranges are those of the paper, on
numbers of any range: black and white are the least and the largest number of a sample.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.colours import blended, brighter, contrasted, saturated
from faltung.data.warp import mapped, sampled

Floats = npt.NDArray[np.float32]
Random = np.random.Generator
# (samples, strength from 0 to 1, fill, random) -> samples
Change = Callable[[Floats, float, str, Random], Floats]

MOST = 10.0  # the largest magnitude
_ROTATE, _SHEAR, _TRANSLATE, _FACTOR = 30.0, 0.3, 150 / 331, 0.9  # at the largest magnitude
_LEVELS = 256  # of histograms


def _signs(count: int, random: Random) -> npt.NDArray[np.float64]:
    return np.where(random.random(count) < 0.5, -1.0, 1.0)


def _linear(
    x: Floats, matrix: Callable[[float], npt.ArrayLike], size: float, fill: str, random: Random
) -> Floats:
    matrices = np.array([matrix(size * sign) for sign in _signs(len(x), random)], np.float32)
    return sampled(x, mapped(matrices, np.zeros((len(x), 2), np.float32), x.shape[2:]), fill)


def _rotate(x: Floats, strength: float, fill: str, random: Random) -> Floats:
    def matrix(angle: float) -> npt.ArrayLike:
        return [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]

    return _linear(x, matrix, np.deg2rad(_ROTATE * strength), fill, random)


def _shear(axis: int) -> Change:
    def change(x: Floats, strength: float, fill: str, random: Random) -> Floats:
        def matrix(size: float) -> npt.ArrayLike:
            made = np.eye(2)
            made[axis, 1 - axis] = size
            return made

        return _linear(x, matrix, _SHEAR * strength, fill, random)

    return change


def _translate(axis: int) -> Change:
    def change(x: Floats, strength: float, fill: str, random: Random) -> Floats:
        offsets = np.zeros((len(x), 2), np.float32)
        offsets[:, axis] = _signs(len(x), random) * _TRANSLATE * strength * x.shape[2 + axis]
        still = np.broadcast_to(np.eye(2, dtype=np.float32), (len(x), 2, 2))
        return sampled(x, mapped(still, offsets, x.shape[2:]), fill)

    return change


def _factor(of: Callable[[Floats, npt.NDArray[Any]], Floats]) -> Change:
    def change(x: Floats, strength: float, fill: str, random: Random) -> Floats:
        return of(x, 1 + _signs(len(x), random) * _FACTOR * strength)

    return change


def _sharpened(x: Floats, factors: npt.NDArray[Any]) -> Floats:
    """Away from a smoothed sample, or towards it; the outermost entries stay."""
    smooth = x.copy()
    inner = smooth[..., 1:-1, 1:-1]
    inner *= 5
    for row in range(3):
        for column in range(3):
            if (row, column) != (1, 1):
                inner += x[..., row : row + x.shape[2] - 2, column : column + x.shape[3] - 2]
    inner /= 13
    return blended(x, smooth, factors)


def _range(x: Floats, axes: tuple[int, ...]) -> tuple[Floats, Floats]:
    """The least number, and how far the largest is from it (1 where it is the same)."""
    low = x.min(axes, keepdims=True)
    wide = x.max(axes, keepdims=True) - low
    return low, np.where(wide > 0, wide, np.float32(1))


def _posterize(x: Floats, strength: float, fill: str, random: Random) -> Floats:
    """In fewer levels: 8 bits down to 4."""
    levels = np.float32(2 ** (8 - round(4 * strength)))
    low, wide = _range(x, (1, 2, 3))
    kept = np.floor((x - low) / wide * levels).clip(0, levels - 1)
    return np.asarray(low + kept / levels * wide, np.float32)


def _solarize(x: Floats, strength: float, fill: str, random: Random) -> Floats:
    """What is brighter than a threshold becomes its negative."""
    low, wide = _range(x, (1, 2, 3))
    part = (x - low) / wide
    return np.where(part >= 1 - strength, low + (1 - part) * wide, x).astype(np.float32)


def _autocontrast(x: Floats, strength: float, fill: str, random: Random) -> Floats:
    """Each channel stretched to the range of the sample."""
    low, wide = _range(x, (1, 2, 3))
    own, spread = _range(x, (2, 3))
    flat = x.max((2, 3), keepdims=True) <= own
    return np.where(flat, x, low + (x - own) / spread * wide).astype(np.float32)


def _equalize(x: Floats, strength: float, fill: str, random: Random) -> Floats:
    """Each channel such that every level is about as frequent as any other."""
    low, wide = _range(x, (1, 2, 3))
    levels = ((x - low) / wide * (_LEVELS - 1)).astype(np.intp).reshape(-1, x[0, 0].size)
    rows = np.arange(len(levels))[:, np.newaxis]
    counts = np.bincount((rows * _LEVELS + levels).ravel(), minlength=len(levels) * _LEVELS)
    below = counts.reshape(-1, _LEVELS).cumsum(1).astype(np.float32)
    first = np.take_along_axis(below, levels.min(1, keepdims=True), 1)
    rest = np.where(below[:, -1:] > first, below[:, -1:] - first, np.float32(1))
    made = ((below - first) / rest)[rows, levels].reshape(x.shape)
    flat = (below[:, -1:] <= first).reshape(*x.shape[:2], 1, 1)
    return np.where(flat, x, low + made * wide).astype(np.float32)


def _identity(x: Floats, strength: float, fill: str, random: Random) -> Floats:
    return x


CHANGES: dict[str, Change] = {
    "identity": _identity,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "rotate": _rotate,
    "solarize": _solarize,
    "posterize": _posterize,
    "contrast": _factor(contrasted),
    "saturation": _factor(saturated),
    "brightness": _factor(brighter),
    "sharpness": _factor(_sharpened),
    "shear_rows": _shear(0),
    "shear_columns": _shear(1),
    "translate_rows": _translate(0),
    "translate_columns": _translate(1),
}


def randaugment(x: Floats, count: int, magnitude: float, fill: str, random: Random) -> Floats:
    """``count`` changes of each picture (n, channels, height, width), one after the other."""
    strength = magnitude / MOST
    x = x.copy()
    for _ in range(count):
        chosen = random.integers(0, len(CHANGES), len(x))
        for number, change in enumerate(CHANGES.values()):
            those = np.flatnonzero(chosen == number)
            if those.size:
                x[those] = change(x[those], strength, fill, random)
    return x
