"""Mean and standard deviation of each channel of the training samples, kept with the run.

Prediction must subtract and divide by exactly the same numbers as training, so they are stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.data.source import Source, is_source, is_stored
from faltung.data.units import Units
from faltung.geometry.check import sequence, show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass

# Samples that suffice for the mean and deviation of a channel if reading them means decoding.
ENOUGH_SAMPLES = 4096
BATCH_SAMPLES = 256


@dataclass(frozen=True)
class Standard:
    """Subtract a mean and divide by a standard deviation, of each channel.

    Parameters
    ----------
    mean, std : tuple of float
        One number for each channel; the deviations are above 0.

    Raises
    ------
    ValueError
        Lengths that differ, or numbers that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung.data import Standard
    >>> Standard((1.0,), (2.0,))(np.full((1, 1, 2), 5, np.float32)).tolist()
    [[[2.0, 2.0]]]
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            for value in sequence(name, values):
                if isinstance(value, bool) or not isinstance(value, Real):
                    raise FaltungTypeError(f"{name}={show(value)}: must be numbers")
        if not len(self.mean) or len(self.mean) != len(self.std):
            raise FaltungError(f"mean, std: have {len(self.mean)} and {len(self.std)} channels")
        if not np.isfinite([*self.mean, *self.std]).all() or min(self.std) <= 0:
            raise FaltungError(f"std={show(self.std)}: must be finite and above 0, as mean finite")

    def __call__(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """A new array; each value depends on its own sample alone."""
        if not isinstance(x, np.ndarray):
            raise FaltungTypeError(f"x={show(x)}: must be an array")
        if x.ndim < 2 or x.shape[1] != len(self.mean):
            raise FaltungError(f"x.shape={x.shape}: must be (n, {len(self.mean)}, ...)")
        mean, std = self._columns(x.ndim)
        out = np.subtract(x, mean, dtype=np.float32)
        return np.asarray(np.divide(out, std, out=out))

    def undo(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The original values, for pictures in a report."""
        mean, std = self._columns(x.ndim)
        return np.asarray(x * std + mean, np.float32)

    def _columns(self, axes: int) -> npt.NDArray[np.float32]:
        """Mean and deviation, shaped to broadcast to (n, channels, ...) of this many axes."""
        return _columns(self.mean, self.std, axes)

    def as_dict(self) -> dict[str, list[float]]:
        """For a settings file; ``from_dict`` gives the same object back, bit for bit."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @staticmethod
    def from_dict(found: Mapping[str, Any]) -> "Standard":
        """TypeError, ValueError for anything but two lists of numbers."""
        lists = []
        for key in ("mean", "std"):
            value = found.get(key)
            if not isinstance(value, Sequence) or isinstance(value, str):
                raise FaltungTypeError(f"{key}={show(value)}: must be a list of numbers")
            if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value):
                raise FaltungTypeError(f"{key}={show(value)}: must be a list of numbers")
            lists.append(tuple(float(v) for v in value))
        return Standard(*lists)


@lru_cache(16)  # a small batch takes less time than these arrays
def _columns(mean: tuple[float, ...], std: tuple[float, ...], axes: int) -> npt.NDArray[np.float32]:
    pair = np.array([mean, std], np.float32).reshape(2, -1, *(1,) * (axes - 2))
    pair.flags.writeable = False
    return pair


def standardise(source: Source) -> Standard:
    """The mean and the standard deviation of each channel over a source.

    They are computed in float64 [1]_. Of a source of files with more than 4,096 samples that many
    are read, evenly spaced. A channel that never changes is divided by 1.

    Parameters
    ----------
    source : Source
        The samples to train on.

    Returns
    -------
    Standard
        For ``Model`` and ``Loader``.

    Raises
    ------
    ValueError
        Text has no mean.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for
       computing sample variances", 1979.

    Examples
    --------
    >>> from faltung.data import open_source, standardise
    >>> standardise(open_source("digits")).mean
    (0.30526...,)
    """
    if not is_source(source):
        raise FaltungTypeError(f"source={show(source)}: must be a source of samples")
    if source.kind == "text":
        raise FaltungError("kind='text': text has no mean")
    return _measured(source)[0]


def learned(source: Source) -> tuple[Standard | None, Units | None]:
    """What a network that is trained on a source must know of any sample: mean and deviation, and
    what stored numbers mean. None: text has no mean, and not every source knows its units.
    """
    if source.kind == "text":
        return None, None
    standard, low, high = _measured(source)
    if not is_stored(source):
        return standard, None
    units = source.units
    if units.low is None:
        units = replace(units, low=low * units.scale, high=high * units.scale)
    return standard, units


def _measured(source: Source) -> tuple[Standard, float, float]:
    """Mean and deviation of each channel, and the least and the largest number."""
    count = len(source)
    taken = np.arange(count)
    if source.lazy and count > ENOUGH_SAMPLES:
        taken = np.linspace(0, count - 1, ENOUGH_SAMPLES).astype(np.int64)
    axes = (0, *range(2, len(source.shape) + 1))
    low, high = np.inf, -np.inf
    total, mean, moment = 0, np.zeros(source.shape[0]), np.zeros(source.shape[0])
    for start in range(0, len(taken), BATCH_SAMPLES):
        x = source.read(taken[start : start + BATCH_SAMPLES])
        low, high = min(low, float(x.min())), max(high, float(x.max()))
        size = x.size // x.shape[1]
        # Combine the moments of two parts (Chan, Golub and LeVeque, 1979).
        part = x.mean(axes, np.float64)
        spread = x.var(axes, np.float64) * size
        apart = part - mean
        mean = mean + apart * (size / (total + size))
        moment = moment + spread + apart**2 * (total * size / (total + size))
        total += size
    std = np.sqrt(moment / total)
    # Below float32's resolution there is nothing but rounding.
    std[std <= np.abs(mean) * 1e-6] = 1
    # Rounded to float32, so that a settings file reproduces them exactly.
    standard = Standard(tuple(mean.astype("f").tolist()), tuple(std.astype("f").tolist()))
    return standard, low, high
