"""``Method``: what the policy chooses from, a class with defaults."""

from typing import ClassVar

from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.step import Arrays, Work


class Method:
    """A way to compute a correlation, or its weight gradient.

    The price of a transform, and everything that affects its bits, must depend on axes, channels,
    dtype and machine alone: not on strides, nor, except for weight gradients, on the batch.
    """

    # Whether it changes the order of the sums, and therefore rounds differently.
    transform: ClassVar[bool] = False
    # The layout of its padded copy of the input; None: that of the input.
    copies: ClassVar[str | None] = "channels_last"

    def why_not(self, c: Correlation, machine: Machine) -> str | None:
        """Why it does not apply, in a few words; None where it does."""
        return None

    def cost(self, c: Correlation, machine: Machine) -> float:
        """Cycles of one core, without packing weights; infinite where it does not apply."""
        raise NotImplementedError

    def needs_channels_first(self, c: Correlation) -> bool:
        """Whether the input must be copied so that positions are contiguous."""
        return False

    def needs_padded(self, c: Correlation, machine: Machine) -> bool:
        """Whether the input must be copied, with its last axis padded."""
        return False

    def describe(self, c: Correlation, machine: Machine) -> str:
        """How it would proceed, for people."""
        return ""

    def traffic(self, c: Correlation, machine: Machine) -> int:
        """Bytes that it moves; by default, each array once."""
        return c.array_bytes

    def packing(self, c: Correlation, machine: Machine) -> float | None:
        """Cycles to transform the weights; None if they are only copied into another order."""
        return None

    def plan(
        self, c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool
    ) -> None:
        """Add the steps that compute ``c``; ``barrier``: before the first of them."""
        raise NotImplementedError


class ForwardMethod(Method):
    """A method for the convolution itself and for its input gradient."""


class WeightGradMethod(Method):
    """A method for the weight gradient; ``arrays.out`` is the output gradient."""

    def needs_channels_last(self, c: Correlation, machine: Machine) -> bool:
        """Whether the output gradient must be copied so that channels are contiguous."""
        return False

    def fuses_update(self, c: Correlation, machine: Machine) -> bool:
        """Whether the step of an optimizer can take the place of storing the gradient."""
        return False
