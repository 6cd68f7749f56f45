"""Boxes at random places of samples: what is cut out, erased, or taken from another sample."""

from typing import Any

import numpy as np
import numpy.typing as npt

Random = np.random.Generator

# Of random erasing, as published: the part of a sample, and how far a side may differ.
PARTS, STRETCH = (0.02, 0.33), 0.3


def boxes(
    parts: npt.NDArray[Any],
    stretch: npt.NDArray[Any],
    space: tuple[int, ...],
    random: Random,
) -> npt.NDArray[np.bool_]:
    """(n, 1, *space), True inside a box with its centre anywhere; what leaves the sample is cut.

    parts (n,): of the sample, from 0 to 1. stretch (n, rank): factors of the sides.
    """
    rank = len(space)
    sides = parts[:, np.newaxis] ** (1 / rank) * stretch * np.array(space)
    centres = random.random((len(parts), rank)) * np.array(space)
    inside = np.ones((len(parts), 1, *(1,) * rank), bool)
    for axis, length in enumerate(space):
        low = np.rint(centres[:, axis] - sides[:, axis] / 2)[:, np.newaxis]
        high = np.rint(centres[:, axis] + sides[:, axis] / 2)[:, np.newaxis]
        within = (np.arange(length) >= low) & (np.arange(length) < high)
        shape = [len(parts), 1, *(1,) * rank]
        shape[2 + axis] = length
        inside = inside & within.reshape(shape)
    return inside


def erase(
    x: npt.NDArray[np.float32], probability: float, random: Random
) -> npt.NDArray[np.float32]:
    """A box of some samples replaced by noise of the mean and deviation of each of their channels
    (Z. Zhong et al., "Random erasing data augmentation", AAAI 2020).
    """
    rank = x.ndim - 2
    chosen = np.flatnonzero(random.random(len(x)) < probability)
    if not chosen.size:
        return x
    stretch = np.exp(random.uniform(-1, 1, (len(chosen), rank)) * -np.log(STRETCH) / 2)
    stretch /= np.prod(stretch, 1, keepdims=True) ** (1 / rank)  # keeps the volume
    inside = boxes(random.uniform(*PARTS, len(chosen)), stretch, x.shape[2:], random)
    axes = tuple(range(2, x.ndim))
    old = x[chosen]
    mean, spread = old.mean(axes, keepdims=True), old.std(axes, keepdims=True)
    noise = random.standard_normal(old.shape, np.float32) * spread + mean
    out = x.copy()
    out[chosen] = np.where(inside, noise, old)
    return out
