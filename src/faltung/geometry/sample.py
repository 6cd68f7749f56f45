"""``SampleSpec``: a map read at points between its entries, which are computed.

Each entry of the output is a weighted sum of the entries around a point: of one ("nearest"), of two
along each axis ("linear"), or of four ("cubic", R. G. Keys, "Cubic Convolution Interpolation for
Digital Image Processing", IEEE Trans. ASSP 29, 1981, with a = -0.75). A grid sample gives the
points; a deformable convolution (J. Dai et al., "Deformable Convolutional Networks", ICCV 2017)
moves those of the taps of its windows.
"""

from dataclasses import dataclass
from itertools import product
from math import prod

from faltung.geometry.axis import Axis
from faltung.geometry.check import one_of
from faltung.geometry.errors import FaltungError

# Entries along an axis that a point reads.
TAPS = {"nearest": 1, "linear": 2, "cubic": 4}
# Outside: zeros, the border, or mirrored, without or with the border twice.
OUTSIDE = ("zeros", "replicate", "reflect", "symmetric")
CUBIC = -0.75


@dataclass(frozen=True, slots=True)
class SampleSpec:
    """How a map (channels, *size) is read at points.

    Parameters
    ----------
    size
        Entries of the map along each axis of space.
    output
        Space of the output, (*windows, taps) with ``windows``.
    mode, outside
        A name of ``TAPS``; what lies beyond the map, one of ``OUTSIDE``.
    groups
        Groups of channels with points of their own.
    windows
        Of a deformable convolution: an axis for each of ``size``, with the padding zeros. A point
        is then relative to the place of its tap.
    masked
        Whether each point has a factor.
    backwards
        Whether the coordinates of a point begin with those of the last axis.
    """

    size: tuple[int, ...]
    output: tuple[int, ...]
    mode: str = "linear"
    outside: str = "zeros"
    groups: int = 1
    windows: tuple[Axis, ...] = ()
    masked: bool = False
    backwards: bool = False

    def __post_init__(self) -> None:
        one_of("mode", self.mode, TAPS)
        one_of("outside", self.outside, OUTSIDE)
        if not 1 <= len(self.size) <= 3:
            raise FaltungError(f"size={self.size}: must have one to three axes")
        if min((*self.size, *self.output, self.groups)) < 1:
            raise FaltungError(f"size={self.size}, output={self.output}: must be at least 1")
        if self.windows:
            if len(self.windows) != len(self.size):
                raise FaltungError(f"windows: must be {len(self.size)} axes")
            wanted = (*(axis.output for axis in self.windows), len(self.offsets))
            if self.output != wanted:
                raise FaltungError(f"output={self.output}: must be {wanted} for these windows")

    @property
    def rank(self) -> int:
        return len(self.size)

    @property
    def coordinates(self) -> int:
        """Channels of the map of points."""
        return self.groups * self.rank

    @property
    def positions(self) -> int:
        """Windows, or points without windows."""
        return prod(self.output[:-1]) if self.windows else prod(self.output)

    @property
    def offsets(self) -> list[tuple[int, ...]]:
        """Where the taps of a window are, from its first."""
        steps = [range(0, axis.kernel * axis.dilation, axis.dilation) for axis in self.windows]
        return list(product(*steps))
