"""Targets that are numbers, as a network learns them: each output with mean 0 and deviation 1.

A network begins with outputs near 0, and optimizers, their usual rates and Huber's loss expect
errors of about 1; numbers such as years or pressures are neither. What is subtracted and divided by
is part of the model, so that its answers are in the units of the targets.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.source import Source
from faltung.data.standard import Standard
from faltung.geometry.errors import FaltungError

Array = npt.NDArray[Any]


def scale_of(source: Source, outputs: int) -> Standard:
    """The mean and the deviation of the targets of each output, which a source has as (n, outputs
    * positions). An output whose targets are all the same is divided by 1.
    """
    targets = np.asarray(source.targets, np.float64).reshape(len(source), outputs, -1)
    mean, std = targets.mean((0, 2)), targets.std((0, 2))
    # Below float32's resolution there is nothing but rounding.
    std[std <= np.abs(mean) * 1e-6] = 1
    return Standard(tuple(mean.tolist()), tuple(std.tolist()))


def check_scale(standard: Standard | None, outputs: int) -> None:
    """ValueError: of another number of outputs."""
    if standard is not None and len(standard.mean) != outputs:
        raise FaltungError(f"target_scale: has {len(standard.mean)} outputs, the network {outputs}")


def scaled(standard: Standard | None, targets: Array, shape: tuple[int, ...], dtype: str) -> Array:
    """Targets as a network of this output shape learns them, (n, *shape)."""
    wide = targets.reshape(len(targets), *shape)
    if standard is None:
        return wide.astype(dtype, copy=False)
    mean, std = _columns(standard, wide.ndim)
    return np.asarray(((wide - mean) / std).astype(dtype))


def unscaled(standard: Standard | None, made: Array) -> Array:
    """Outputs (n, outputs, ...) in the units of the targets."""
    if standard is None:
        return made
    mean, std = _columns(standard, made.ndim)
    return np.asarray((made * std + mean).astype(made.dtype))


def _columns(standard: Standard, axes: int) -> Array:
    pair = np.array([standard.mean, standard.std], np.float64)
    return pair.reshape(2, -1, *(1,) * (axes - 2))
