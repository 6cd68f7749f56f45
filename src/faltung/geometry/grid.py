"""Sampling of maps at places that a grid of coordinates names: its modes.

M. Jaderberg, K. Simonyan, A. Zisserman, K. Kavukcuoglu, *Spatial transformer networks*, NeurIPS
2015. Coordinates are from -1 to 1 along each axis of the map; the conventions are PyTorch's.
"""

from faltung.geometry.check import one_of, truth
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass

MODES = ("nearest", "linear", "cubic")
PADDINGS = ("zeros", "border", "reflection")
# Neighbours along an axis.
TAPS = {"nearest": 1, "linear": 2, "cubic": 4}
# Of cubic interpolation.
KEYS_A = -0.75


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a map is sampled. padding: what lies outside: zeros, the nearest entry, or the map
    mirrored. align_corners: -1 and 1 are the centres of the outermost entries, not their edges.
    positions: coordinates are those of entries, from 0 on, instead.
    """

    mode: str = "linear"
    padding: str = "zeros"
    align_corners: bool = False
    positions: bool = False

    def __post_init__(self) -> None:
        one_of("mode", self.mode, MODES)
        one_of("padding_mode", self.padding, PADDINGS)
        truth("align_corners", self.align_corners)
        truth("positions", self.positions)

    def check(self, rank: int) -> None:
        """ValueError: a rank for which the mode is not made."""
        if rank not in (1, 2, 3) or (self.mode == "cubic" and rank == 3):
            raise FaltungError(
                f"mode={self.mode!r}: is for maps of 1 to {2 if self.mode == 'cubic' else 3} axes "
                f"of space, this one has {rank}"
            )
