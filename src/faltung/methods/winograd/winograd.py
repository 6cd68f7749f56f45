"""Winograd's minimal filtering: fewer products than the sum has, by transforms along each axis.

What it is.  A tile of m outputs of r taps along an axis costs m + r - 1 products instead of m r;
  axes nest: F(4x4, 3x3) takes 36 products for what the sum does with 144. Tiles of the input are
  transformed into lines of channels for each point (``winograd_input``); for each point these meet
  the transformed weights (``winograd_weight``) in the outer product of all methods, and what comes
  out is transformed back and stored (``winograd_products``). It is done in portions of tiles whose
  lines stay in the second-level caches; two portions take turns, so that the threads meet once a
  portion. (A. Lavin and S. Gray, *Fast Algorithms for Convolutional Neural Networks*, 2016.)
When it applies.  Axes of 3 or 5 taps with stride 1 and any dilation, beside axes of one tap; a few
  groups, one after the other. It is a transform: it rounds more than the sum (about five times for
  F(4x4, 3x3)), and what is not finite spreads over its tile.
What it costs.  ``macs * points / (outputs * taps)`` multiply-adds, the transforms, and the way of
  the transformed weights, which are larger, through the caches.
"""

from dataclasses import replace
from math import inf, prod

from faltung.codegen.vectors import ELEMENTS
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation, contiguous
from faltung.methods.base.step import Arrays, Operand, Work, shifted
from faltung.methods.copies.stage import rearrange
from faltung.methods.winograd.choice import choose, price, why_not
from faltung.methods.winograd.points import transform
from faltung.methods.winograd.steps import steps
from faltung.methods.winograd.tiles import count as tiles_along

__all__ = ["cost", "describe", "needs_channels_first", "needs_padded", "packing", "plan", "why_not"]

# Cycles of a transformed weight in vectors of eight.
PACK = 0.55


def needs_padded(c: Correlation, machine: Machine) -> bool:
    """Whether the input must be copied: its channels are not neighbours."""
    return c.x[2] != 1 and c.channels_in > 1


def needs_channels_first(c: Correlation) -> bool:
    """Never: it lives on channels that lie side by side."""
    return False


def cost(c: Correlation, machine: Machine) -> float:
    """Cycles of one core; infinite where it does not apply."""
    chosen = choose(c, machine)
    if chosen is None:
        return inf
    sizes = zip(c.windows, chosen.sizes, strict=True)
    tiles = c.batch * prod(tiles_along(window, transform(*size)) for window, size in sizes)
    return c.groups * price(c.dtype, c.channels_in, c.channels_out, tiles, chosen, machine)


def packing(c: Correlation, machine: Machine) -> float:
    """Cycles of one core for the transform of the weights."""
    chosen = choose(c, machine)
    made = chosen.points * c.channels_in * c.channels_out * c.groups if chosen else 0
    return PACK * made * 8 / machine.lanes(c.dtype)


def describe(c: Correlation, machine: Machine) -> str:
    """Its sizes."""
    return str(choose(c, machine) or "")


# The plan -----------------------------------------------------------------------------------------


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool) -> None:
    """Add the steps that compute ``c``; ``after`` where the input is itself the work of a step."""
    chosen = choose(c, machine)
    if chosen is None:
        raise ValueError(f"c={c}: must be a problem that applies ({why_not(c, machine)})")
    # Outputs go along channels: where these are no neighbours, into memory where they are, and from
    # there in one copy.
    shape = (c.batch, c.groups * c.channels_out, *(w.axis.output for w in c.windows))
    target = (c.out[0], c.out[2], *(w.out for w in c.windows))
    there, staged = arrays, c.out[2] != 1 and c.channels_out > 1
    if staged:
        strides = contiguous(shape, True)
        made = Operand(work.borrow("output", prod(shape) * ELEMENTS[c.dtype][1]))
        there = replace(arrays, out=made)
        windows = (replace(w, out=s) for w, s in zip(c.windows, strides[2:], strict=True))
        out = (strides[0], c.channels_out, 1)
        c, base = replace(c, windows=tuple(windows), out=out, out_base=0), c.out_base
    for group in range(c.groups):
        one, given = _group(c, there, group)
        steps(one, machine, work, given, barrier, chosen)
    if staged:
        last = shifted(arrays.out, base, c.dtype)
        title = "channels first"
        work.steps.append(
            rearrange(c.dtype, shape, made, strides, last, target, title, barrier=True)
        )


def _group(c: Correlation, arrays: Arrays, group: int) -> tuple[Correlation, Arrays]:
    """One group as a problem of its own."""
    bases = zip(c.aux_base, c.aux, strict=True)
    one = replace(
        c,
        groups=1,
        x_base=c.x_base + group * c.x[1],
        out_base=c.out_base + group * c.out[1],
        aux_base=tuple(base + group * strides[1] for base, strides in bases),
    )
    weight = shifted(arrays.w, group * c.w[0], c.dtype)
    bias = arrays.bias and shifted(arrays.bias, group * c.channels_out, c.dtype)
    return one, replace(arrays, w=weight, bias=bias)
