"""Random changes of samples that keep their class, one batch at a time.

Pure functions from float32 (n, channels, *space) and a generator to a new array, so that a batch
can be made again. Offsets are drawn for every sample and every axis; all channels of a sample move
together.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from faltung.data.colours import colour
from faltung.data.erase import erase
from faltung.data.mixing import mix, soft
from faltung.data.randaugment import MOST, randaugment
from faltung.data.warp import warp
from faltung.geometry.calls import explained
from faltung.geometry.check import one_of, show, whole
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass

Batch = npt.NDArray[np.float32]
Random = np.random.Generator
Fill = Literal["zero", "edge"]
FILLS: dict[Fill, str] = {"zero": "constant", "edge": "edge"}  # our names, and NumPy's
PICTORIAL = ("picture", "volume")
SPATIAL = (*PICTORIAL, "series")
EVERYTHING = (*SPATIAL, "table")


class Row(NamedTuple):
    """What one field of ``Augment`` takes: a number of this type from 0 up to ``most``, for samples
    of these kinds. moves: whether what is seen lies somewhere else afterwards. within: whether it
    counts entries, of which every axis must have more.
    """

    type: type
    kinds: tuple[str, ...]
    most: float = float("inf")
    moves: bool = False
    within: bool = False


ROWS = {
    "shift": Row(int, PICTORIAL, moves=True, within=True),
    "flip": Row(bool, PICTORIAL, moves=True),
    "flip_all": Row(bool, PICTORIAL, moves=True),
    "crop": Row(int, PICTORIAL, moves=True, within=True),
    "rotate": Row(float, PICTORIAL, 180, moves=True),
    "scale": Row(float, SPATIAL, moves=True),
    "bend": Row(float, SPATIAL, moves=True, within=True),
    "randaugment": Row(int, ("picture",), moves=True),
    "magnitude": Row(float, ("picture",), MOST),
    "colour": Row(float, PICTORIAL, 1),
    "erase": Row(float, SPATIAL, 1),
    "cutout": Row(int, PICTORIAL, within=True),
    "series_shift": Row(int, ("series",), moves=True, within=True),
    "amplitude": Row(float, ("series",)),
    "jitter": Row(float, EVERYTHING),
    "mixup": Row(float, EVERYTHING, moves=True),
    "cutmix": Row(float, SPATIAL, moves=True),
}
# What moves, so that a label of each position would be wrong.
MOVES = tuple(name for name, row in ROWS.items() if row.moves)
MAGNITUDE = 9.0  # of ``randaugment``


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


def flip_all(x: Batch, random: Random) -> Batch:
    """Mirror samples with probability 1/2 along each axis."""
    out = x.copy()
    for axis in range(2, x.ndim):
        chosen = random.random(len(x)) < 0.5
        out[chosen] = np.flip(out[chosen], axis)
    return out


def amplify(x: Batch, spread: float, random: Random) -> Batch:
    """Multiply each channel of each sample by a factor around 1 of this standard deviation."""
    factors = 1 + spread * random.standard_normal((*x.shape[:2], *(1,) * (x.ndim - 2)), np.float32)
    return np.asarray(x * factors, np.float32)


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


@explained
@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of samples in training, applied in the order below; 0 and False leave one out.

    Parameters
    ----------
    shift : int
        The most pixels by which pictures and volumes are shifted along each axis.
    crop : int
        Pixels of zeros that are added around a picture before a random window of its old size is
        cut out.
    rotate : float
        The most degrees, up to 180, by which pictures and volumes are turned in each plane.
    scale : float
        Pictures, volumes and series become larger or smaller by a factor of up to ``1 + scale``
        about their centre; series in time.
    bend : float
        The most pixels, or steps of a series, by which places are displaced, smoothly: elastic
        deformation [1]_, time warping [3]_. With ``rotate`` and ``scale`` in one interpolation.
    flip : bool
        Whether half of the samples are mirrored, left to right.
    flip_all : bool
        Whether half of the samples are mirrored along each axis, for what has no up and down.
    randaugment : int
        How many changes are drawn for each picture, out of 14 that turn, shear and shift it, and
        change its colours [4]_.
    magnitude : float
        The strength of these, from 0 to 10.
    colour : float
        The most by which brightness, contrast and saturation differ from 1, up to 1; the hue turns
        by up to a quarter of it.
    erase : float
        The probability, from 0 to 1, with which a box of a sample is replaced by noise [5]_.
    cutout : int
        The side, in pixels, of a square that is set to 0 [2]_.
    series_shift : int
        The most steps by which series are shifted, filled with the value at the end.
    amplitude : float
        The standard deviation of factors around 1 that channels of series are multiplied by [3]_.
    jitter : float
        The standard deviation of added noise [3]_, in standard deviations of the channel if they
        are known.
    mixup : float
        If above 0, a sample and its target become the weighted mean of two, with a weight from the
        distribution Beta(mixup, mixup) [6]_. Usual are 0.1 to 0.4.
    cutmix : float
        If above 0, a sample gets a box of another one, and its target that part of the other's; the
        part is from Beta(cutmix, cutmix) [7]_. With both, batches take turns at random.
    fill : {"zero", "edge"}
        What is outside a sample that is shifted, turned, scaled or bent.

    Raises
    ------
    ValueError, TypeError
        An invalid number or word.

    References
    ----------
    .. [1] P. Simard, D. Steinkraus and J. Platt, "Best practices for convolutional neural networks
       applied to visual document analysis", 2003.
    .. [2] T. DeVries and G. Taylor, "Improved regularization of convolutional neural networks with
       cutout", 2017.
    .. [3] T. Um et al., "Data augmentation of wearable sensor data for Parkinson's disease
       monitoring using convolutional neural networks", 2017.
    .. [4] E. Cubuk et al., "RandAugment: practical automated data augmentation with a reduced
       search space", 2020.
    .. [5] Z. Zhong et al., "Random erasing data augmentation", 2020.
    .. [6] H. Zhang et al., "mixup: beyond empirical risk minimization", 2018.
    .. [7] S. Yun et al., "CutMix: regularization strategy to train strong classifiers with
       localizable features", 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from faltung.data import Augment
    >>> changed = Augment(shift=1, flip=True, rotate=10, colour=0.3)
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
    flip_all: bool = False
    rotate: float = 0.0
    scale: float = 0.0
    bend: float = 0.0
    randaugment: int = 0
    magnitude: float = MAGNITUDE
    colour: float = 0.0
    erase: float = 0.0
    amplitude: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name, row in ROWS.items():
            value = getattr(self, name)
            if row.type is int:
                object.__setattr__(self, name, whole(name, value, 0))
            elif row.type is bool and not isinstance(value, bool):
                raise FaltungTypeError(f"{name}={show(value)}: must be True or False")
            elif row.type is float:
                object.__setattr__(self, name, _number(name, value, row.most))
        one_of("fill", self.fill, FILLS)

    def _given(self) -> list[str]:
        """The names of what is changed."""
        return [name for name in ROWS if name != "magnitude" and getattr(self, name)]

    def __bool__(self) -> bool:
        """Whether anything is changed."""
        return bool(self._given())

    @property
    def mixes(self) -> bool:
        """Whether targets are mixed with those of other samples."""
        return bool(self.mixup or self.cutmix)

    @property
    def costly(self) -> bool:
        """Whether a batch takes long enough that a thread of its own pays."""
        return any((self.rotate, self.scale, self.bend, self.randaugment, self.colour, self.erase))

    def check(self, kind: str, shape: Sequence[int]) -> None:
        """ValueError for changes that do not suit samples of this kind and shape."""
        for name in self._given():
            row, value = ROWS[name], getattr(self, name)
            given = f"{name}={value:g}" if row.type is float else f"{name}={value}"
            if kind == "text":
                raise FaltungError(f"{given}: text cannot be changed like numbers")
            if kind not in row.kinds:
                kinds = " and ".join(_PLURALS[each] for each in row.kinds)
                raise FaltungError(f"{given}: is for {kinds}, not {kind}")
            if row.within and value >= min(shape[1:]):
                least = min(shape[1:])
                raise FaltungError(f"{given}: must be less than the shortest axis, {least}")

    def __call__(self, x: Batch, random: Random, unit: npt.ArrayLike = 1.0) -> Batch:
        """A new batch; x itself if nothing is changed. ``unit``: of ``jitter``."""
        if self.shift:
            x = move(x, self.shift, self.fill, random)
        if self.crop:
            x = move(x, self.crop, "zero", random)
        if self.rotate or self.scale or self.bend:
            x = warp(x, self.rotate, self.scale, self.bend, self.fill, random)
        if self.flip:
            x = flip(x, random)
        if self.flip_all:
            x = flip_all(x, random)
        if self.randaugment:
            x = randaugment(x, self.randaugment, self.magnitude, self.fill, random)
        if self.colour:
            x = colour(x, self.colour, random)
        if self.erase:
            x = erase(x, self.erase, random)
        if self.cutout:
            x = cutout(x, self.cutout, random)
        if self.series_shift:
            x = move(x, self.series_shift, "edge", random)
        if self.amplitude:
            x = amplify(x, self.amplitude, random)
        if self.jitter:
            x = jitter(x, self.jitter, unit, random)
        return x

    def mix(
        self, x: Batch, y: npt.NDArray[Any], classes: int, random: Random
    ) -> tuple[Batch, npt.NDArray[Any]]:
        """Samples and targets mixed; of labels (n,) they become probabilities (n, classes)."""
        if not self.mixes:
            return x, y
        return mix(x, soft(y, classes), self.mixup, self.cutmix, random)

    def as_dict(self) -> dict[str, Any]:
        """For a settings file; ``Augment(**d)`` reads it back."""
        return dict(vars(self))


_PLURALS = {"picture": "pictures", "volume": "volumes", "series": "series", "table": "tables"}


def _number(name: str, value: object, most: float) -> float:
    """A number from 0 to ``most``. ValueError, TypeError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FaltungTypeError(f"{name}={show(value)}: must be a number")
    if not 0 <= value < np.inf:
        raise FaltungError(f"{name}={value}: must be at least 0 and finite")
    if value > most:
        raise FaltungError(f"{name}={value}: must be at most {most:g}")
    return float(value)
