"""``Method``: what the policy chooses from, a class with defaults."""

from math import prod
from typing import ClassVar

from faltung.codegen.vectors import ELEMENTS
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.step import Arrays, Work


class Method:
    """A way to compute a correlation, or its gradient for the weight.

    Of a transform, the price and everything that decides its bits must follow from axes, channels,
    dtype and machine alone: not from strides, and but for the gradient for the weight not from the
    batch.
    """

    # It does not keep the order of the sums, so it rounds differently.
    transform: ClassVar[bool] = False
    # How its padded copy of the input lies; None: as the input does.
    copies: ClassVar[str | None] = "channels_last"

    def why_not(self, c: Correlation, machine: Machine) -> str | None:
        """In a few words why it does not apply; None where it does."""
        return None

    def cost(self, c: Correlation, machine: Machine) -> float:
        """Cycles of one core, weights packed; infinite where it does not apply."""
        raise NotImplementedError

    def needs_padded(self, c: Correlation, machine: Machine) -> bool:
        """Whether the input must be copied, its last axis padded."""
        return False

    def describe(self, c: Correlation, machine: Machine) -> str:
        """How it would go about it, for people."""
        return ""

    def traffic(self, c: Correlation, machine: Machine) -> int:
        """Bytes that it moves: each array once."""
        inputs = c.channels_in * prod(window.axis.size for window in c.windows)
        maps = c.batch * c.groups * (inputs + c.channels_out * c.outputs)
        weights = c.groups * c.channels_in * c.channels_out * c.taps
        return (maps + weights) * ELEMENTS[c.dtype][1]

    def packing(self, c: Correlation, machine: Machine) -> float | None:
        """Cycles to make of the weights what it reads; None: a copy in another order."""
        return None

    def plan(
        self, c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool
    ) -> None:
        """Add the steps that compute ``c``, after a barrier where one is asked for."""
        raise NotImplementedError


class ForwardMethod(Method):
    """A method for the convolution itself and for the gradient for its input."""

    def needs_channels_first(self, c: Correlation) -> bool:
        """Whether the input must be copied so that positions are contiguous."""
        return False


class WeightGradMethod(Method):
    """A method for the gradient for the weight; ``arrays.out`` is the output gradient."""

    def needs_channels_last(self, c: Correlation, machine: Machine) -> bool:
        """Whether the output gradient must be copied so that channels are contiguous."""
        return False
