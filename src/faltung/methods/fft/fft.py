"""Overlap-save: long kernels by Fourier transforms of blocks.

What it is.  The signal is cut into blocks that overlap by the kernel's extent; a block is
  transformed, multiplied by the kernel's spectrum and transformed back; only samples free of
  circular wrap-around are kept. Several axes become one: an array padded at its ends is one long
  signal row after row, and a kernel over it one with gaps. Input channels are added up as spectra.
  T. G. Stockham, *High-speed convolution and correlation*, 1966; H. D. Helms, 1967.
When it applies.  Where the last axis has more than one tap, and the spectra fit into a bounded
  amount of memory. It wins for kernels of many taps and few channels.
What it costs.  About ``log2 n`` cycles and a few for each input, whatever the number of taps.
  It is a transform: errors are relative to the largest values of a block, not to each output, and
  a NaN or an infinity spreads over two blocks.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from math import inf, log2

import numpy as np

from faltung.codegen.vectors import ELEMENTS
from faltung.geometry.errors import FaltungError
from faltung.machine.costs import BLOCK_COPY_CYCLES
from faltung.machine.table import Machine
from faltung.methods.base.correlation import NOT_PLACED, Correlation
from faltung.methods.base.epilogue_arrays import input_of
from faltung.methods.base.method import ForwardMethod, Method
from faltung.methods.base.step import Argument, Arrays, Operand, Table, Work
from faltung.methods.fft.blocks import block_segments, tap_segments
from faltung.methods.fft.cut import LINE_ELEMENTS, Cut, Sizes, cuts, sizes
from faltung.methods.fft.kernel import FftFilters
from faltung.methods.fft.passes import LEAF
from faltung.methods.fft.sums import FftSums
from faltung.methods.fft.tables import Transform, as_words

# The most bytes of spectra of kernels and of scratch.
MOST_BYTES = 256 << 20
# Items, each with scratch of its own, at the most: what several threads can divide.
MOST_ITEMS = 16
# Cycles for one complex number of one transform with 8 lanes, as measured on Zen 3: for each pass
# of radix 2, and beside them; how many times as many where its data fill the first-level cache, and
# where they outgrow the second.
PASS_CYCLES, NUMBER_CYCLES, L2_SLOWDOWN, L3_SLOWDOWN = 0.3, 0.3, 1.15, 1.5
# The same for a product of spectra, where there is one, where there are several, where these have
# outgrown the second-level cache.
SPECTRUM_CYCLES, SPECTRA_CYCLES, L3_SPECTRA_CYCLES = 0.4, 0.8, 1.6
# Cycles for a segment of elements that are read or written.
BLOCK_SEGMENT_CYCLES = 20
DTYPES = ("float32", "float64")


# Both directions ----------------------------------------------------------------------------------


class FftMethod(Method):
    """What the forward pass and the gradient for the weight share."""

    transform = True

    def cut(self, c: Correlation, machine: Machine) -> Cut | None:
        """The one that costs least; None where none is possible."""
        raise NotImplementedError

    def cycles(self, c: Correlation, machine: Machine, made: Cut) -> float:
        """Cycles of one core for a group."""
        raise NotImplementedError

    def why_not(self, c: Correlation, machine: Machine) -> str | None:
        why = unsuited(c)
        if why is None and self.cut(c, machine) is None:
            return "its spectra take too much memory"
        return why

    def needs_padded(self, c: Correlation, machine: Machine) -> bool:
        """Borders that are not zeros along the last axis; other axes, and zeros, are segments of a
        table.
        """
        return c.windows[-1].borders

    def cost(self, c: Correlation, machine: Machine) -> float:
        made = None if unsuited(c) else self.cut(c, machine)
        return inf if made is None else c.groups * self.cycles(c, machine, made)

    def describe(self, c: Correlation, machine: Machine) -> str:
        made = self.cut(c, machine)
        return "" if made is None else f"blocks of {made.title}"

    def needed_cut(self, c: Correlation, machine: Machine) -> Cut:
        """The cut of a plan. ValueError: there is none."""
        made = self.cut(c, machine)
        if made is None:
            raise FaltungError(f"c={c}: {self.why_not(c, machine)}")
        return made


def unsuited(c: Correlation) -> str | None:
    """Why it does not apply, however it is cut."""
    if c.dtype not in DTYPES:
        return f"{c.dtype} has no transform"
    if c.placed:
        return NOT_PLACED
    return "the last axis has one tap" if c.windows[-1].axis.kernel == 1 else None


def cheapest(
    made: Iterable[Cut], cycles: Callable[[Cut], float], held: Callable[[Cut], int]
) -> Cut | None:
    """The first that takes the fewest cycles, of those that hold no more than ``MOST_BYTES``."""
    return min((cut for cut in made if held(cut) <= MOST_BYTES), key=cycles, default=None)


def transform_cycles(length: int, machine: Machine, dtype: str) -> float:
    """Cycles of one, in either direction."""
    held = 2 * length * ELEMENTS[dtype][1]
    times = 1.0 if held < machine.l1 else L2_SLOWDOWN if held < machine.l2 else L3_SLOWDOWN
    return length * 8 / machine.lanes(dtype) * (PASS_CYCLES * log2(length) + NUMBER_CYCLES) * times


def pair_cycles(length: int, machine: Machine, dtype: str, ci: int, co: int) -> float:
    """Of a pair of blocks of a sample and group."""
    spectra = 2 * length * ELEMENTS[dtype][1] * ci * co
    several = L3_SPECTRA_CYCLES if spectra > machine.l2 else SPECTRA_CYCLES
    cycles = SPECTRUM_CYCLES if ci == 1 else several
    products = length * 8 / machine.lanes(dtype) * ci * co * cycles
    block = transform_cycles(length, machine, dtype) + 2 * length * BLOCK_COPY_CYCLES
    return (ci + co) * block + products


def sample_cycles(made: Cut, machine: Machine, dtype: str, ci: int, co: int) -> float:
    """Of a sample and group, with where its rows begin and end."""
    rows = made.blocks * made.rows if len(made.widths) > 1 else 0
    pairs = made.pairs * pair_cycles(made.length, machine, dtype, ci, co)
    return pairs + rows * BLOCK_SEGMENT_CYCLES * (ci + co)


# Forward ------------------------------------------------------------------------------------------


class Fft(FftMethod, ForwardMethod):
    copies = "channels_first"

    def cut(self, c: Correlation, machine: Machine) -> Cut | None:
        known = c.dtype, sizes(c.windows), c.channels_in, c.channels_out, c.groups
        return _cut(replace(machine, cores=1), *known)

    def cycles(self, c: Correlation, machine: Machine, made: Cut) -> float:
        """With those for the kernels' spectra, which are many."""
        sample = sample_cycles(made, machine, c.dtype, c.channels_in, c.channels_out)
        kernels = c.channels_in * c.channels_out * transform_cycles(made.length, machine, c.dtype)
        return c.batch * sample + kernels

    def plan(
        self, c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool
    ) -> None:
        made = self.needed_cut(c, machine)
        t = Transform(c.dtype, machine.lanes(c.dtype), made.length)
        spectra = _spectra(c, made, t, work, arrays.w)
        pairs = c.batch * c.groups * made.pairs
        scratch = (c.channels_in + (c.channels_out > 1 or c.channels_in > 1)) * t.buffer
        size = c.item_bytes
        items = max(1, min(pairs, MOST_ITEMS, max(2, MOST_BYTES // (scratch * size))))
        last, width = c.windows[-1], _width(c, made)
        kernel = FftSums(
            dtype=c.dtype,
            x_contiguous=last.x == 1,
            pitch=last.axis.stride,
            out_contiguous=last.out == 1,
            single=c.channels_in == 1,
            bias=arrays.bias is not None,
            epilogue=c.epilogue,
            aux_steps=c.aux_steps("position"),
            radix=t.radix if _in_rows(c, made, t) else 0,
        )
        given: dict[str, Argument] = {
            "bias": arrays.bias or 0,
            "spectra": spectra,
            "scratch": work.borrow("fft", items * scratch * size),
            **{"item_count": items, "all_pairs": pairs, "groups": c.groups},
            **{"item_scratch": scratch, "result": scratch - t.buffer},
            **{"rows": made.length // width if width else 0, "width": width},
        }
        step = kernel.step(
            items,
            f"fft of {made.length:,}",
            barrier=barrier,
            **input_arguments(c, made, arrays),
            **given,
            **t.arguments,
            **kernel.output_arguments(c, arrays),
        )
        work.steps.append(step)


FFT = Fft()


@lru_cache(maxsize=1024)
def _cut(machine: Machine, dtype: str, of: Sizes, ci: int, co: int, groups: int) -> Cut | None:
    """The same for any batch."""

    def held(cut: Cut) -> int:
        return 2 * cut.length * ELEMENTS[dtype][1] * max(groups * ci * co, ci + 1)

    def cycles(cut: Cut) -> float:
        return sample_cycles(cut, machine, dtype, ci, co)

    return cheapest(cuts(machine, dtype, of), cycles, held)


def _in_rows(c: Correlation, made: Cut, t: Transform) -> bool:
    """Whether blocks are rows of the array, whole ones, that the first pass can read."""
    if len(c.windows) != 2 or c.windows[0].axis.stride > 1 or c.windows[1].x > 1:
        return False
    rows, rest = divmod(made.length, made.widths[1])
    whole = rest == 0 and rows % t.radix == 0 and made.valid % made.widths[1] == 0
    return whole and made.widths[1] >= 2 * LINE_ELEMENTS and t.size >= t.radix * LEAF


def input_arguments(c: Correlation, made: Cut, arrays: Arrays) -> dict[str, Argument]:
    """The input, and the tables of its blocks."""
    blocks, ins, outs = block_segments(c, made)
    width = _width(c, made)
    strides = "batch", "group", "channel", "position", "row"
    return {
        **input_of(c, arrays).arguments("x", strides),
        # From one row to the next in a block of inputs, and of outputs.
        **{"row_in": width, "row_out": width and width * c.windows[-2].axis.stride},
        **{"blocks": blocks, "ins": ins, "outs": outs, "pairs": made.pairs},
        **{"channels_in": c.channels_in, "channels_out": c.channels_out},
    }


def _width(c: Correlation, made: Cut) -> int:
    """Entries of a row of a block; 0 where there is one axis, and no rows."""
    return made.widths[-1] if len(c.windows) > 1 else 0


def filter_arguments(c: Correlation, taps: Table, t: Transform) -> dict[str, Argument]:
    """Where the taps of a filter lie, in the weight and in a buffer."""
    return {
        "taps": taps,
        "segments": len(taps),
        "scale": as_words(np.array([1.0 / t.length]), c.dtype),
        **{"channels_in": c.channels_in, "channels_out": c.channels_out},
        **{"w_group": c.w[0], "w_out": c.w[1], "w_in": c.w[2]},
        **t.arguments,
    }


def _spectra(c: Correlation, made: Cut, t: Transform, work: Work, w: Operand) -> Operand:
    """Add the step that transforms the filters; where their spectra are kept."""
    count = c.groups * c.channels_out * c.channels_in
    spectra = work.keep("spectra", count * t.buffer * c.item_bytes)
    given = filter_arguments(c, tap_segments(c, made), t)
    given |= {"w": w, "spectra": spectra}
    step = FftFilters(c.dtype).step(count, "transform weights", barrier=False, **given)
    work.prepare.append(step)
    return spectra
