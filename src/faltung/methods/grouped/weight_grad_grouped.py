"""The gradient for the weight of grouped layers: vectors across groups of few channels.

What it is.  The sums of ``depthwise_grad`` for several channels: the lanes are the output channels
  of neighbouring groups, and each lane takes an input channel of its own group by a shuffle in
  registers, or a broadcast where a vector is one group.
When it applies.  Output channels of a group fit a vector, input channels the registers; channels
  lie side by side in both arrays.
What it costs.  A shuffle or a load for each column and input channel.
"""

from math import inf

from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.grouped import weight_grad as depthwise_grad

needs_channels_last = depthwise_grad.needs_channels_last
needs_padded = depthwise_grad.needs_padded
plan = depthwise_grad.plan


def why_not(c: Correlation, machine: Machine) -> str | None:
    if c.groups < 2:
        return "one group"
    if c.channels_in == 1 == c.channels_out:
        return "depthwise"
    return None if depthwise_grad.fits(c, machine) else "channels of a group fill vectors"


def cost(c: Correlation, machine: Machine) -> float:
    """Cycles of one core; infinite if it does not apply."""
    return inf if why_not(c, machine) is not None else depthwise_grad.cycles(c, machine)
