"""Samples read at other places: rotated, scaled, sheared, bent. One compiled sampling for each.

Places are those of entries, from 0 on, in the order of the axes: (n, rank, *space).
"""

import threading
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from faltung.data.resize import resize
from faltung.geometry.grid import Sampling
from faltung.graph.builder import Builder
from faltung.graph.ops import GridSample

if TYPE_CHECKING:
    from faltung.program.inference import Inference

Floats = npt.NDArray[np.float32]
Random = np.random.Generator

# What is outside a sample, by our names of fills.
OUTSIDE = {"zero": "zeros", "edge": "border"}
# Samples that are read at once: a program has a fixed batch, whatever that of the training is.
CHUNK = 8
KNOTS = 4  # of a bend, along each axis


@lru_cache(16)
def _program(shape: tuple[int, ...], outside: str) -> "tuple[Inference, threading.Lock]":
    """The compiled sampling of ``CHUNK`` samples, and who runs it."""
    # Late: settings need the names of augmentations, and most runs no program for them.
    from faltung.program.constants import Constants
    from faltung.program.inference import Inference

    builder = Builder(shape)
    grid = builder.add_input("places", (len(shape) - 1, *shape[1:]))
    how = Sampling("linear", outside, positions=True)
    made = builder.node(GridSample(how), (builder.input, grid), shape)
    return Inference(builder.graph(made), Constants((), "float32", {}), CHUNK), threading.Lock()


def sampled(x: Floats, places: Floats, fill: str) -> Floats:
    """x (n, channels, *space) at the places (n, rank, *space), by linear interpolation."""
    program, lock = _program(x.shape[1:], OUTSIDE[fill])
    out = np.empty_like(x)
    grid = np.ascontiguousarray(places[:, ::-1], np.float32)  # the last axis comes first there
    for start in range(0, len(x), CHUNK):
        part = slice(start, min(start + CHUNK, len(x)))
        there = part.stop - start
        given = [_filled(array[part]) for array in (x, grid)]
        with lock:
            out[part] = program(*given)[:there]
    return out


def _filled(array: Floats) -> Floats:
    """``CHUNK`` samples: the last one again where there are fewer."""
    missing = CHUNK - len(array)
    if not missing:
        return np.ascontiguousarray(array)
    return np.concatenate([array, np.repeat(array[-1:], missing, 0)])


# Places -------------------------------------------------------------------------------------------


def here(count: int, space: tuple[int, ...]) -> Floats:
    """The places of the entries themselves."""
    axes = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in space), indexing="ij")
    made: Floats = np.broadcast_to(np.stack(axes), (count, len(space), *space))
    return made


def mapped(matrices: Floats, offsets: Floats, space: tuple[int, ...]) -> Floats:
    """Places under linear maps (n, rank, rank) about the centre, then moved by (n, rank)."""
    centre = (np.array(space, np.float32) - 1) / 2
    flat = here(1, space)[0].reshape(len(space), -1) - centre[:, np.newaxis]
    made = matrices @ flat + (offsets + centre)[..., np.newaxis]
    return np.asarray(made.reshape(len(matrices), len(space), *space), np.float32)


def rotations(most: float, count: int, rank: int, random: Random) -> Floats:
    """(count, rank, rank): a turn by -most..most degrees in each plane of two axes."""
    made = np.broadcast_to(np.eye(rank), (count, rank, rank))
    for first in range(rank):
        for second in range(first + 1, rank):
            angles = np.deg2rad(random.uniform(-most, most, count))
            turn = np.tile(np.eye(rank), (count, 1, 1))
            turn[:, first, first] = turn[:, second, second] = np.cos(angles)
            turn[:, first, second], turn[:, second, first] = np.sin(angles), -np.sin(angles)
            made = made @ turn
    return made.astype(np.float32)


def scales(most: float, count: int, rank: int, random: Random) -> Floats:
    """(count, rank, rank): larger or smaller by a factor of up to 1 + most, in all axes alike."""
    factors = np.exp(random.uniform(-1, 1, count) * np.log1p(most))
    made: Floats = (factors[:, np.newaxis, np.newaxis] * np.eye(rank)).astype(np.float32)
    return made


def bends(most: float, count: int, space: tuple[int, ...], random: Random) -> Floats:
    """(count, rank, *space): smooth displacements of up to ``most`` entries, drawn at a few knots
    along each axis and linear between them.
    """
    rank = len(space)
    knots = random.uniform(-most, most, (count, rank, *(min(KNOTS, n) for n in space)))
    return resize(knots.astype(np.float32), space)


def warp(x: Floats, rotate: float, scale: float, bend: float, fill: str, random: Random) -> Floats:
    """Turned by up to ``rotate`` degrees, scaled by up to 1 + ``scale``, bent by up to ``bend``
    entries, in one sampling.
    """
    count, space = len(x), x.shape[2:]
    rank = len(space)
    matrices = np.broadcast_to(np.eye(rank, dtype=np.float32), (count, rank, rank))
    if rotate:
        matrices = rotations(rotate, count, rank, random)
    if scale:
        matrices = matrices @ scales(scale, count, rank, random)
    places = mapped(matrices, np.zeros((count, rank), np.float32), space)
    if bend:
        places = places + bends(bend, count, space, random)
    return sampled(x, places, fill)
