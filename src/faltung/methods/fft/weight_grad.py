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

from faltung.codegen.vectors import ELEMENTS
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.epilogue_arrays import output_of
from faltung.methods.base.method import WeightGradMethod
from faltung.methods.base.step import Argument, Arrays, Work
from faltung.methods.fft.blocks import tap_places
from faltung.methods.fft.cut import Cut, Sizes, cuts, sizes
from faltung.methods.fft.fft import (
    FftMethod,
    cheapest,
    filter_arguments,
    input_arguments,
    sample_cycles,
    transform_cycles,
    unsuited,
)
from faltung.methods.fft.tables import Transform
from faltung.methods.fft.weight_grad_kernel import FftBands, FftBandSums

# Bands of a group, at the most.
MOST_BANDS = 8


class FftWeightGrad(FftMethod, WeightGradMethod):
    copies = None

    def cut(self, c: Correlation, machine: Machine) -> Cut | None:
        if c.batch == 0:
            return None
        known = c.dtype, sizes(c.windows), c.channels_in, c.channels_out, c.groups, c.batch
        return _cut(replace(machine, cores=1), *known)

    def cycles(self, c: Correlation, machine: Machine, made: Cut) -> float:
        return _cycles(made, machine, c.dtype, c.channels_in, c.channels_out, c.batch)

    def why_not(self, c: Correlation, machine: Machine) -> str | None:
        if c.batch == 0:
            return unsuited(c) or "there are no samples"
        return super().why_not(c, machine)

    def plan(
        self, c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool
    ) -> None:
        made = self.needed_cut(c, machine)
        t = Transform(c.dtype, machine.lanes(c.dtype), made.length)
        pairs, kernels = c.batch * made.pairs, c.channels_in * c.channels_out
        bands, size = min(MOST_BANDS, pairs), c.item_bytes
        band, scratch = kernels * t.buffer, (c.channels_in + 1) * t.buffer
        items, last = c.groups * bands, c.windows[-1]
        sums = work.borrow("sums", items * band * size)
        strides = "batch", "group", "channel", "position", "row"
        given: dict[str, Argument] = {
            **output_of(c, arrays).arguments("grad", strides),
            "scratch": work.borrow("fft", items * scratch * size),
            **{"all_pairs": pairs, "item_scratch": scratch, "kernels": kernels},
            **t.arguments,
            **input_arguments(c, made, arrays),
        }
        kernel = FftBands(c.dtype, last.x == 1, last.axis.stride)
        title = f"fft of {made.length:,}, {bands} bands"
        step = kernel.step(items, title, barrier=barrier, sums=sums, bands=bands, **given)
        work.steps.append(step)
        step = FftBandSums(c.dtype).step(
            c.groups * kernels,
            "add bands",
            barrier=True,
            sums=sums,
            w=arrays.w,
            bands=bands,
            band=band,
            **filter_arguments(c, tap_places(c, made), t),
        )
        work.steps.append(step)


FFT_WEIGHT_GRAD = FftWeightGrad()


@lru_cache(maxsize=1024)
def _cut(
    machine: Machine, dtype: str, of: Sizes, ci: int, co: int, groups: int, batch: int
) -> Cut | None:
    def held(cut: Cut) -> int:
        bands = min(MOST_BANDS, batch * cut.pairs)
        return 2 * cut.length * ELEMENTS[dtype][1] * groups * bands * (ci * co + ci + 1)

    def cycles(cut: Cut) -> float:
        return _cycles(cut, machine, dtype, ci, co, batch)

    return cheapest(cuts(machine, dtype, of), cycles, held)


def _cycles(made: Cut, machine: Machine, dtype: str, ci: int, co: int, batch: int) -> float:
    """Of a group: all pairs of blocks, and the way back."""
    one = transform_cycles(made.length, machine, dtype)
    sample = sample_cycles(made, machine, dtype, ci, co) + made.pairs * made.length * co
    return batch * sample + ci * co * one
