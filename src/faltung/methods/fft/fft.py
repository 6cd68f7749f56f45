"""Overlap-save: long kernels by Fourier transforms of blocks.

What it is.  The signal is cut into blocks that overlap by the kernel's extent; a block is
  transformed, multiplied by the kernel's spectrum and transformed back; what the circle has not
  spoilt is kept. Several axes become one: an array padded at its ends is one long signal row after
  row, and a kernel over it one with gaps. Input channels are added up as spectra. T. G. Stockham,
  *High-speed convolution and correlation*, 1966; H. D. Helms, 1967.
When it applies.  Where the last axis has more than one tap, and the spectra fit into a bounded
  piece of memory. It wins for kernels of many taps and few channels.
What it costs.  About ``log2 n`` cycles and a few for each input, whatever the number of taps.
  It is a transform: errors are relative to the largest values of a block, not to each output, and
  a NaN or an infinity spreads over two blocks.
"""

from dataclasses import replace
from functools import lru_cache
from math import inf, log2

import numpy as np

from faltung.codegen.vectors import ELEMENTS
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.moves import AUX
from faltung.methods.base.parameters import ordered
from faltung.methods.base.step import Argument, Arrays, Operand, Step, Work, shifted
from faltung.methods.fft.blocks import block_runs, tap_runs
from faltung.methods.fft.cut import LINE, Cut, Sizes, cuts, sizes
from faltung.methods.fft.kernel import FftSums
from faltung.methods.fft.passes import LEAF
from faltung.methods.fft.spectrum import KERNEL_NUMBERS, KERNEL_POINTERS, FftKernel
from faltung.methods.fft.tables import Transform, as_words

# The most bytes of spectra of kernels and of scratch.
MOST_BYTES = 256 << 20
# Stretches of units with scratch of their own, at the most: what several threads can share.
SLOTS = 16
# Cycles for one complex number of one transform with 8 lanes, as measured on Zen 3: for each pass
# of radix 2, and beside them; times the third where its data fill the first-level cache, the
# fourth where they outgrow the second.
PASS, BASE, FAR, BEYOND = 0.3, 0.3, 1.15, 1.5
# The same for a product of spectra, where there is one, where there are several, where these have
# outgrown the second-level cache; for reading or writing an element; and for a run of them.
PRODUCT, PRODUCTS, FAR_PRODUCTS, MOVE, RUN = 0.4, 0.8, 1.6, 0.25, 20
# What the code asks of rows.
ROWS = ("x_row", "out_row", "row_in", "row_out", "rows", "width")
DTYPES = ("float32", "float64")


# When it applies, what it costs -------------------------------------------------------------------


def why_not(c: Correlation, machine: Machine) -> str | None:
    if c.dtype not in DTYPES:
        return f"{c.dtype} has no transform"
    if c.windows[-1].axis.kernel == 1:
        return "the last axis has one tap"
    if cut(c, machine) is None:
        return "its spectra take too much memory"
    return None


def needs_padded(c: Correlation, machine: Machine) -> bool:
    """Borders that are not zeros along the last axis; other axes, and zeros, are runs of a
    table.
    """
    return c.windows[-1].borders


def needs_channels_first(c: Correlation) -> bool:
    return False


def cut(c: Correlation, machine: Machine) -> Cut | None:
    """The one that costs least, the same for any batch; None where none is possible."""
    known = c.dtype, sizes(c.windows), c.channels_in, c.channels_out, c.groups
    return _cut(replace(machine, cores=1), *known)


@lru_cache(maxsize=1024)
def _cut(machine: Machine, dtype: str, of: Sizes, ci: int, co: int, groups: int) -> Cut | None:
    best, least = None, inf
    for made in cuts(machine, dtype, of):
        kept = 2 * made.length * ELEMENTS[dtype][1] * max(groups * ci * co, ci + 1)
        cycles = sample_cycles(made, machine, dtype, ci, co)
        if cycles < least and kept <= MOST_BYTES:
            best, least = made, cycles
    return best


def transform_cycles(length: int, machine: Machine, dtype: str) -> float:
    """Cycles of one, in either direction."""
    held = 2 * length * ELEMENTS[dtype][1]
    far = 1.0 if held < machine.l1 else FAR if held < machine.l2 else BEYOND
    return length * 8 / machine.lanes(dtype) * (PASS * log2(length) + BASE) * far


def pair_cycles(length: int, machine: Machine, dtype: str, ci: int, co: int) -> float:
    """Of a pair of blocks of a sample and group."""
    spectra = 2 * length * ELEMENTS[dtype][1] * ci * co
    several = FAR_PRODUCTS if spectra > machine.l2 else PRODUCTS
    product = length * 8 / machine.lanes(dtype) * ci * co * (PRODUCT if ci == 1 else several)
    return (ci + co) * (transform_cycles(length, machine, dtype) + 2 * length * MOVE) + product


def sample_cycles(made: Cut, machine: Machine, dtype: str, ci: int, co: int) -> float:
    """Of a sample and group, with where its rows begin and end."""
    rows = made.blocks * made.rows if len(made.widths) > 1 else 0
    pairs = made.pairs * pair_cycles(made.length, machine, dtype, ci, co)
    return pairs + rows * RUN * (ci + co)


def cost(c: Correlation, machine: Machine) -> float:
    """Cycles of one core, those for the kernels' spectra among them: they are many."""
    made = None if c.dtype not in DTYPES or c.windows[-1].axis.kernel == 1 else cut(c, machine)
    if made is None:
        return inf
    sample = sample_cycles(made, machine, c.dtype, c.channels_in, c.channels_out)
    kernels = c.channels_in * c.channels_out * transform_cycles(made.length, machine, c.dtype)
    return c.groups * (c.batch * sample + kernels)


def describe(c: Correlation, machine: Machine) -> str:
    made = cut(c, machine)
    return "" if made is None else f"blocks of {made.title}"


# The plan -----------------------------------------------------------------------------------------


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool) -> None:
    """Add the steps that compute ``c``; ``after`` where the input is itself the work of a step."""
    made = cut(c, machine)
    if made is None:
        raise ValueError(f"c={c}: {why_not(c, machine)}")
    t = Transform(c.dtype, machine.lanes(c.dtype), made.length)
    spectra = kernel_spectra(c, made, t, work, arrays.w)
    blocks, ins, outs = block_runs(c, made)
    units = c.batch * c.groups * made.pairs
    slot = (c.channels_in + (c.channels_out > 1 or c.channels_in > 1)) * t.buffer
    size = ELEMENTS[c.dtype][1]
    slots = max(1, min(units, SLOTS, max(2, MOST_BYTES // (slot * size))))
    last = c.windows[-1]
    recipe = FftSums(
        dtype=c.dtype,
        near=last.x == 1,
        pitch=last.axis.stride,
        beside=last.out == 1,
        single=c.channels_in == 1,
        bias=arrays.bias is not None,
        epilogue=c.epilogue,
        aux_contiguous=c.aux_contiguous("position"),
        radix=t.radix if in_rows(c, made, t) else 0,
    )
    words: dict[str, Argument] = {
        "x": shifted(arrays.x, c.x_base, c.dtype),
        "out": shifted(arrays.out, c.out_base, c.dtype),
        "bias": arrays.bias or 0,
        "spectra": spectra,
        "scratch": Operand(work.borrow("fft", slots * slot * size)),
        **{"blocks": blocks, "ins": ins, "outs": outs},
        **{"slots": slots, "units": units, "pairs": made.pairs, "groups": c.groups},
        **{"channels_in": c.channels_in, "channels_out": c.channels_out},
        **{"slot": slot, "result": slot - t.buffer},
        **dict(zip(("x_batch", "x_group", "x_channel"), c.x, strict=True)),
        **dict(zip(("out_batch", "out_group", "out_channel"), c.out, strict=True)),
        **{"x_position": last.x, "out_position": last.out},
        **row_words(c, made),
    }
    for i, (array, base) in enumerate(zip(arrays.aux, c.aux_base, strict=True)):
        values: list[Argument] = [shifted(array, base, c.dtype), *c.aux[i], last.aux[i]]
        words |= {f"aux{i}{name}": value for name, value in zip(AUX, values, strict=True)}
        words[f"aux{i}_row"] = c.windows[-2].aux[i] if len(c.windows) > 1 else 0
    given = ordered((*recipe.pointers, *recipe.numbers), words)
    title = f"fft of {made.length:,}"
    if c.epilogue is not None:
        title = f"{title}, {c.epilogue}"
    work.steps.append(Step(recipe, slots, (*given, *t.words), title, barrier))


def in_rows(c: Correlation, made: Cut, t: Transform) -> bool:
    """Whether blocks are rows of the array, whole ones, that the first pass can read."""
    if len(c.windows) != 2 or c.windows[0].axis.stride > 1 or c.windows[1].x > 1:
        return False
    rows, rest = divmod(made.length, made.widths[1])
    whole = rest == 0 and rows % t.radix == 0 and made.valid % made.widths[1] == 0
    return whole and made.widths[1] >= 2 * LINE and t.size >= t.radix * LEAF


def row_words(c: Correlation, made: Cut) -> dict[str, Argument]:
    """From one row to the next: in memory, and in a block for inputs and for outputs."""
    if len(c.windows) == 1:
        return dict.fromkeys(ROWS, 0)
    before, width = c.windows[-2], made.widths[-1]
    given = before.x, before.out, width, width * before.axis.stride, made.length // width, width
    return dict(zip(ROWS, given, strict=True))


def kernel_spectra(c: Correlation, made: Cut, t: Transform, work: Work, w: Operand) -> Operand:
    """The step that transforms the kernels, and where their spectra are kept."""
    count = c.groups * c.channels_out * c.channels_in
    spectra = Operand(work.keep("spectra", count * t.buffer * ELEMENTS[c.dtype][1]))
    taps = tap_runs(c, made)
    words: dict[str, Argument] = {
        "w": w,
        "spectra": spectra,
        "taps": taps,
        "scale": as_words(np.array([1.0 / t.length]), c.dtype),
        **{"channels_in": c.channels_in, "channels_out": c.channels_out, "runs": len(taps)},
        **dict(zip(("w_group", "w_out", "w_in"), c.w, strict=True)),
    }
    given = ordered((*KERNEL_POINTERS, *KERNEL_NUMBERS), words)
    step = Step(FftKernel(c.dtype), count, (*given, *t.words), "transform weights")
    work.prepare.append(step)
    return spectra
