"""Reproducible random numbers: a draw depends on a seed and a place, not on earlier draws.

A resumed run needs batch 17 of epoch 4 without drawing the batches before it.
"""

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import whole

# The purpose of a draw, the first number of its place.
SPLIT, ORDER, AUGMENT, DRAW = range(4)


def _bits(seed: int, place: tuple[int, ...]) -> np.random.Philox:
    return np.random.Philox(np.random.SeedSequence(whole("seed", seed, 0), spawn_key=place))


def generator(seed: int, *place: int) -> np.random.Generator:
    """The generator of one place, e.g. (AUGMENT, epoch, batch), independent of all others."""
    return np.random.Generator(_bits(seed, place))


def permutation(count: int, seed: int, *place: int) -> npt.NDArray[np.int64]:
    """0 .. count - 1 in random order, by sorting ``count`` random words.

    The words of a bit generator are the same in every release of NumPy, which is not promised for
    ``Generator.permutation`` (NEP 19), and old runs should be repeatable.
    """
    return np.argsort(_bits(seed, place).random_raw(count), kind="stable").astype(np.int64)


def uniform(count: int, seed: int, *place: int) -> npt.NDArray[np.float64]:
    """Numbers from 0 up to but not 1, multiples of 2**-53, from random words as above."""
    words = _bits(seed, place).random_raw(count)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
