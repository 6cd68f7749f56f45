"""Maps of foreign tensors at computed places, and grids of places."""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.grid import Sampling
from faltung.geometry.resample import MOST_TAPS, table
from faltung.graph.foreign import Foreign, Shape, Tensor, Unsaid
from faltung.graph.foreign_resample import resampled
from faltung.graph.ops import GridSample

Array = npt.NDArray[Any]


def affine_grid(f: Foreign, theta: Tensor, space: Shape, corners: bool) -> Tensor:
    """The places (N, *space, rank) of an output under affine maps (N, rank, rank + 1): a sum over
    the columns of each, whose weights are the coordinates of the output.
    """
    rank = len(space)
    lines = [_centres(n, corners) for n in space]
    count = int(np.prod(space))
    f.require(theta.shape[0] * count * rank)
    if count * (rank + 1) > MOST_TAPS:
        raise Unsaid("a grid of so many places")
    places = np.stack([m.ravel() for m in np.meshgrid(*lines, indexing="ij")][::-1], axis=1)
    rows = [[*enumerate(row), (rank, 1.0)] for row in places.tolist()]
    made = resampled(f, theta, {2: table(rank + 1, rows)})
    return f.reshaped(made.moved(1, 2), (theta.shape[0], *space, rank))


def _centres(size: int, corners: bool) -> Array:
    """The coordinates of the entries of an axis."""
    if corners:
        return np.linspace(-1.0, 1.0, size) if size > 1 else np.zeros(1)
    return (2 * np.arange(size) + 1) / size - 1


def sampled(f: Foreign, x: Tensor, places: Tensor, how: Sampling) -> Tensor:
    """Maps (N, C, *space) at places (N, *output, rank), the coordinate along the last axis first;
    one map may stand for all.
    """
    rank = places.rank
    f.require(x.shape[1] * places.size // places.shape[-1])
    grid = f.map(places, (0,), range(1, rank - 1), (rank - 1,))
    shape = (x.shape[1], *places.shape[1:-1])
    made = f.node(GridSample(how), (f.map(x), grid), shape, samples=places.shape[0])
    return f.of_map(made, x.dtype)
