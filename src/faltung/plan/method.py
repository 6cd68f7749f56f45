"""What a file in ``methods`` offers to be chosen from: contracts, and the row of a table."""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.step import Arrays, Work


class Method(Protocol):
    """What a file in ``methods`` offers to be chosen from.

    It may also have ``why_not(c, machine)``: in a few words why it does not apply, None where it
    does; ``describe(c, machine)``: how it would go about it; ``traffic(c, machine)``: bytes that it
    moves, by default each array once; ``packing(c, machine)``: cycles that its weights take beside
    a copy of them, which all methods need.

    Of a transform, the price and everything that decides its bits must follow from axes, channels,
    dtype and machine alone: not from strides, and but for the gradient for the weight not from the
    batch.
    """

    def cost(self, c: Correlation, machine: Machine) -> float:
        """Cycles of one core, weights packed; infinite where it does not apply."""

    def needs_padded(self, c: Correlation, machine: Machine) -> bool:
        """Whether the input must be copied, its last axis padded."""

    def plan(
        self, c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool
    ) -> None:
        """Add the steps that compute ``c``."""


class ForwardMethod(Method, Protocol):
    """A method for the convolution itself and for the gradient for its input."""

    def needs_channels_first(self, c: Correlation) -> bool:
        """Whether the input must be copied so that positions are neighbours."""


class WeightGradMethod(Method, Protocol):
    """A method for the gradient for the weight; ``arrays.out`` is the output gradient."""

    def needs_channels_last(self, c: Correlation, machine: Machine) -> bool:
        """Whether the output gradient must be copied so that channels are neighbours."""


M = TypeVar("M", bound=Method)


@dataclass(frozen=True, slots=True)
class Row(Generic[M]):
    """A method in a table. ``transform``: it does not keep the order of the sums. ``copies``: how
    its padded copy of the input lies; None: as the input does.
    """

    method: M
    transform: bool = False
    copies: str | None = "channels_last"
