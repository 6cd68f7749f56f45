"""The gradient for the weight of long kernels, by Fourier transforms of blocks.

What it is.  Every tap is a sum over all positions: the correlation of the input with the output
  gradient. Blocks of both are transformed, the input's times the conjugate of the gradient's are
  added up as spectra, over blocks and samples, and only the sums are transformed back. Blocks and
  axes are those of ``fft``.
When it applies.  As ``fft``; it wins for kernels of many taps and few channels.
What it costs.  Two transforms for each pair of blocks; the sums are cut into bands by the plan, and
  the bands added in order, so that the bits do not depend on threads.
"""

from dataclasses import replace
from functools import lru_cache
from math import inf

import numpy as np

from faltung.codegen.vectors import ELEMENTS
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.parameters import ordered
from faltung.methods.base.step import Argument, Arrays, Operand, Step, Work, shifted
from faltung.methods.fft import fft
from faltung.methods.fft.blocks import block_runs, tap_places
from faltung.methods.fft.cut import Cut, Sizes, cuts, sizes
from faltung.methods.fft.tables import Transform, as_words
from faltung.methods.fft.weight_grad_kernel import (
    BACK_NUMBERS,
    BACK_POINTERS,
    BANDS_NUMBERS,
    BANDS_POINTERS,
    FftBack,
    FftBands,
)

# Bands of a group, at the most.
BANDS = 8


# When it applies, what it costs -------------------------------------------------------------------


def why_not(c: Correlation, machine: Machine) -> str | None:
    if c.dtype not in fft.DTYPES:
        return f"{c.dtype} has no transform"
    if c.windows[-1].axis.kernel == 1:
        return "the last axis has one tap"
    if c.batch == 0:
        return "there are no samples"
    return None if cut(c, machine) is not None else "its spectra take too much memory"


def needs_padded(c: Correlation, machine: Machine) -> bool:
    return fft.needs_padded(c, machine)


def needs_channels_last(c: Correlation, machine: Machine) -> bool:
    return False


def cut(c: Correlation, machine: Machine) -> Cut | None:
    if c.batch == 0:
        return None
    known = c.dtype, sizes(c.windows), c.channels_in, c.channels_out, c.groups, c.batch
    return _cut(replace(machine, cores=1), *known)


@lru_cache(maxsize=1024)
def _cut(
    machine: Machine, dtype: str, of: Sizes, ci: int, co: int, groups: int, n: int
) -> Cut | None:
    best, least = None, inf
    for made in cuts(machine, dtype, of):
        bands = min(BANDS, n * made.pairs)
        held = 2 * made.length * ELEMENTS[dtype][1] * groups * bands * (ci * co + ci + 1)
        cycles = _cycles(made, machine, dtype, ci, co, n)
        if cycles < least and held <= fft.MOST_BYTES:
            best, least = made, cycles
    return best


def _cycles(made: Cut, machine: Machine, dtype: str, ci: int, co: int, batch: int) -> float:
    """Of a group: all units, and the way back."""
    one = fft.transform_cycles(made.length, machine, dtype)
    sample = fft.sample_cycles(made, machine, dtype, ci, co) + made.pairs * made.length * co
    return batch * sample + ci * co * one


def cost(c: Correlation, machine: Machine) -> float:
    """Cycles of one core."""
    made = None if c.dtype not in fft.DTYPES or c.windows[-1].axis.kernel == 1 else cut(c, machine)
    if made is None:
        return inf
    given = machine, c.dtype, c.channels_in, c.channels_out, c.batch
    return c.groups * _cycles(made, *given)


def describe(c: Correlation, machine: Machine) -> str:
    made = cut(c, machine)
    return "" if made is None else f"blocks of {made.title}"


# The plan -----------------------------------------------------------------------------------------


def plan(c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool) -> None:
    """Add the steps that write the gradient of ``c`` for its weight to ``arrays.w``; ``arrays.out``
    is the output gradient.
    """
    made = cut(c, machine)
    if made is None:
        raise ValueError(f"c={c}: {why_not(c, machine)}")
    t = Transform(c.dtype, machine.lanes(c.dtype), made.length)
    c = replace(c, aux=(), windows=tuple(replace(w, aux=()) for w in c.windows))
    bands, kernels = min(BANDS, c.batch * made.pairs), c.channels_in * c.channels_out
    band, slot = kernels * t.buffer, (c.channels_in + 1) * t.buffer
    size, items = ELEMENTS[c.dtype][1], c.groups * bands
    sums = Operand(work.borrow("sums", items * band * size))
    blocks, ins, outs = block_runs(c, made)
    last = c.windows[-1]
    words: dict[str, Argument] = {
        "x": shifted(arrays.x, c.x_base, c.dtype),
        "grad": shifted(arrays.out, c.out_base, c.dtype),
        "sums": sums,
        "scratch": Operand(work.borrow("fft", items * slot * size)),
        **{"blocks": blocks, "ins": ins, "outs": outs},
        **{"bands": bands, "units": c.batch * made.pairs, "pairs": made.pairs},
        **{"channels_in": c.channels_in, "channels_out": c.channels_out},
        **{"slot": slot, "kernels": kernels},
        **dict(zip(("x_batch", "x_group", "x_channel"), c.x, strict=True)),
        **dict(zip(("grad_batch", "grad_group", "grad_channel"), c.out, strict=True)),
        **{"x_position": last.x, "grad_position": last.out},
        **fft.row_words(c, made),
    }
    given = ordered((*BANDS_POINTERS, *BANDS_NUMBERS), words)
    recipe = FftBands(c.dtype, last.x == 1, last.axis.stride)
    title = f"fft of {made.length:,}, {bands} bands"
    work.steps.append(Step(recipe, items, (*given, *t.words), title, barrier))
    taps = tap_places(c, made)
    words = {
        "sums": sums,
        "w": arrays.w,
        "taps": taps,
        "scale": as_words(np.array([1.0 / t.length]), c.dtype),
        **{"bands": bands, "channels_in": c.channels_in, "channels_out": c.channels_out},
        **dict(zip(("w_group", "w_out", "w_in"), c.w, strict=True)),
        **{"runs": len(taps), "band": band},
    }
    given = ordered((*BACK_POINTERS, *BACK_NUMBERS), words)
    step = Step(FftBack(c.dtype), c.groups * kernels, (*given, *t.words), "add bands", True)
    work.steps.append(step)
