"""Depthwise convolution: a kernel for each channel, vectors along the channels.

What it is.  Groups of one input and one output channel share no sums, so that neighbouring groups
  are the lanes of a vector. A tile of two rows by a few columns of outputs stays in registers; each
  vector of the input serves a tap of both rows (``grouped_kernel``).
When it applies.  One channel in and one out for each group, side by side in the input.
What it costs.  In tiles of two rows three loads for four multiply-adds; else one each.
"""

from math import inf

from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.grouped import grouped
from faltung.methods.grouped.choice import together

needs_padded = grouped.needs_padded
needs_channels_first = grouped.needs_channels_first
plan = grouped.plan


def why_not(c: Correlation, machine: Machine) -> str | None:
    if c.groups < 2 or not c.channels_in == 1 == c.channels_out:
        return "not one channel in and one out for each group"
    return None if together(c, machine) else "channels are not side by side"


def cost(c: Correlation, machine: Machine) -> float:
    """Cycles of one core, copies included; infinite if it does not apply."""
    return inf if why_not(c, machine) is not None else grouped.price(c, machine)
