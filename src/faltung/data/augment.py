"""Random changes of samples that keep their class, one batch at a time.

Pure functions from float32 (n, channels, *space) and a generator to a new array, so that a batch
can be made again. Offsets are drawn for every sample and every axis; all channels of a sample move
together.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import one_of, show, whole
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass

Batch = npt.NDArray[np.float32]
Random = np.random.Generator
Fill = Literal["zero", "edge"]
FILLS: dict[Fill, str] = {"zero": "constant", "edge": "edge"}  # our names, and NumPy's
PICTORIAL = ("picture", "volume")


def move(x: Batch, most: int, fill: Fill, random: Random) -> Batch:
    """Shift by -most..most along every axis of space; what comes in is ``fill``."""
    rank = x.ndim - 2
    around = [(0, 0), (0, 0), *[(most, most)] * rank]
    padded = np.pad(x, around, mode=FILLS[fill])  # type: ignore[call-overload]
    windows = np.lib.stride_tricks.sliding_window_view(padded, x.shape[2:], tuple(range(2, x.ndim)))
    # (n, channels, *offsets, *space): one offset for each sample.
    starts = random.integers(0, 2 * most + 1, (rank, len(x)))
    chosen: Batch = windows[(np.arange(len(x)), slice(None), *starts)]
    return chosen


def flip(x: Batch, random: Random) -> Batch:
    """Mirror samples with probability 1/2 along the last axis, left to right."""
    chosen = random.random(len(x)) < 0.5
    out = x.copy()
    out[chosen] = x[chosen][..., ::-1]
    return out


def cutout(x: Batch, side: int, random: Random) -> Batch:
    """Set a square (cube, segment) of that side to 0, with its centre anywhere."""
    inside = np.ones((len(x), *(1,) * (x.ndim - 1)), bool)
    for axis in range(2, x.ndim):
        length = x.shape[axis]
        start = random.integers(0, length, (len(x), 1)) - side // 2
        within = (np.arange(length) >= start) & (np.arange(length) < start + side)
        inside = inside & np.expand_dims(within, [i for i in range(1, x.ndim) if i != axis])
    return np.where(inside, np.float32(0), x)


def jitter(x: Batch, strength: float, unit: npt.ArrayLike, random: Random) -> Batch:
    """Add normal noise of standard deviation ``strength * unit``; ``unit`` is one number or one for
    each channel.
    """
    spread = np.asarray(unit, np.float32).reshape(-1, *(1,) * (x.ndim - 2)) * np.float32(strength)
    return x + random.standard_normal(x.shape, np.float32) * spread


@dataclass(frozen=True)
class Augment:
    """Random changes of samples in training, applied in the order below; 0 and False leave one out.

    Parameters
    ----------
    shift : int
        The most pixels by which pictures and volumes are shifted along each axis.
    crop : int
        Pixels of zeros that are added around a picture before a random window of its old size is
        cut out.
    flip : bool
        Whether half of the samples are mirrored, left to right.
    cutout : int
        The side, in pixels, of a square that is set to 0 [1]_.
    series_shift : int
        The most steps by which series are shifted, filled with the value at the end.
    jitter : float
        The standard deviation of added noise [2]_, in standard deviations of the channel if they
        are known.
    fill : {"zero", "edge"}
        What ``shift`` brings in.

    Raises
    ------
    ValueError, TypeError
        An invalid number or word.

    References
    ----------
    .. [1] T. DeVries and G. Taylor, "Improved regularization of convolutional neural networks with
       cutout", 2017.
    .. [2] T. Um et al., "Data augmentation of wearable sensor data for Parkinson's disease
       monitoring using convolutional neural networks", 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung.data import Augment
    >>> changed = Augment(shift=1, flip=True)
    >>> changed(np.ones((2, 1, 8, 8), np.float32), np.random.default_rng(0)).shape
    (2, 1, 8, 8)
    """

    shift: int = 0
    flip: bool = False
    crop: int = 0
    cutout: int = 0
    jitter: float = 0.0
    series_shift: int = 0
    fill: Fill = "zero"

    def __post_init__(self) -> None:
        for name in ("shift", "crop", "cutout", "series_shift"):
            object.__setattr__(self, name, whole(name, getattr(self, name), 0))
        if not isinstance(self.flip, bool):
            raise FaltungTypeError(f"flip={show(self.flip)}: must be True or False")
        if isinstance(self.jitter, bool) or not isinstance(self.jitter, int | float):
            raise FaltungTypeError(f"jitter={show(self.jitter)}: must be a number")
        if not 0 <= self.jitter < np.inf:
            raise FaltungError(f"jitter={self.jitter}: must be at least 0 and finite")
        one_of("fill", self.fill, FILLS)

    def __bool__(self) -> bool:
        """Whether anything is changed."""
        return bool(
            self.shift or self.flip or self.crop or self.cutout or self.jitter or self.series_shift
        )

    def check(self, kind: str, shape: Sequence[int]) -> None:
        """ValueError for changes that do not suit samples of this kind and shape."""
        asked = {name: getattr(self, name) for name in ("shift", "flip", "crop", "cutout")}
        for name, value in asked.items():
            if value and kind not in PICTORIAL:
                raise FaltungError(f"{name}={value}: is for pictures and volumes, not {kind}")
        if self.series_shift and kind != "series":
            raise FaltungError(f"series_shift={self.series_shift}: is for series, not {kind}")
        if self.jitter and kind == "text":
            raise FaltungError(f"jitter={self.jitter}: text takes no noise")
        for name in ("shift", "crop", "cutout", "series_shift"):
            value = getattr(self, name)
            if value and value >= min(shape[1:]):
                least = min(shape[1:])
                raise FaltungError(f"{name}={value}: must be less than the shortest axis, {least}")

    def __call__(self, x: Batch, random: Random, unit: npt.ArrayLike = 1.0) -> Batch:
        """A new batch; x itself if nothing is changed. ``unit``: of ``jitter``."""
        if self.shift:
            x = move(x, self.shift, self.fill, random)
        if self.crop:
            x = move(x, self.crop, "zero", random)
        if self.flip:
            x = flip(x, random)
        if self.cutout:
            x = cutout(x, self.cutout, random)
        if self.series_shift:
            x = move(x, self.series_shift, "edge", random)
        if self.jitter:
            x = jitter(x, self.jitter, unit, random)
        return x

    def as_dict(self) -> dict[str, Any]:
        """For a settings file; ``Augment(**d)`` reads it back."""
        return dict(vars(self))
