"""Strassen's algorithm: seven products of quarters instead of eight, for pointwise layers.

What it is.  A layer of one tap is a product of matrices, positions by input channels by output
  channels. Each of the three is halved, one or two times, and seven products of sums of quarters
  (``algebra``) replace eight. Sums of the weights are made once (``weight_sums``), those of a
  sample's inputs in one step (``input_sums``); their products stay on the stack until they have
  become outputs (``products``), so that nothing else goes through memory. (V. Strassen, 1969; J.
  Huang, T. Smith, G. Henry and R. van de Geijn, *Strassen's Algorithm Reloaded*, 2016.)
When it applies.  Kernels of one tap, with any stride and padding, a few groups. It is a transform:
  it rounds more than the sum, and what is not finite spreads.
What it costs.  7/8 of the multiply-adds for each level, the sums, and weights that are 7/4 as
  large.
"""

from math import inf

import numpy as np

from faltung.codegen.tile import parts
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.addresses import offsets, reads_of
from faltung.methods.base.correlation import Correlation, of_groups
from faltung.methods.base.epilogue_arrays import Strided
from faltung.methods.base.method import ForwardMethod
from faltung.methods.base.step import (
    MISSING,
    Argument,
    Arrays,
    Operand,
    Table,
    Work,
    shifted,
    table,
)
from faltung.methods.copies.copy import copy
from faltung.methods.copies.stage import stage_output
from faltung.methods.strassen.choice import VECTORS, StrassenChoice, choose, why_not
from faltung.methods.strassen.input_sums import SumInputs
from faltung.methods.strassen.products import Products
from faltung.methods.strassen.weight_sums import ITEM_CHANNELS, SumWeights

# Cycles of an element of the sums of weights in vectors of eight, near and beyond the second-level
# cache.
PACK_CYCLES = (0.85, 2.1)
# Bytes of the sums of inputs of a pass over some samples.
PASS_BYTES = 4 << 20


class Strassen(ForwardMethod):
    transform = True

    def why_not(self, c: Correlation, machine: Machine) -> str | None:
        return why_not(c, machine)

    def needs_padded(self, c: Correlation, machine: Machine) -> bool:
        """Whether the input must be copied: its channels are not contiguous."""
        return c.x[2] != 1

    def cost(self, c: Correlation, machine: Machine) -> float:
        chosen = choose(c, machine)
        return inf if chosen is None else c.batch * c.groups * chosen.cycles

    def packing(self, c: Correlation, machine: Machine) -> float:
        """Cycles of one core for the sums of the weights."""
        chosen = choose(c, machine)
        if chosen is None:
            return inf
        far = chosen.weights * chosen.item_bytes > 2 * machine.l2
        return PACK_CYCLES[far] * chosen.weights * c.groups * 8 / machine.lanes(c.dtype)

    def describe(self, c: Correlation, machine: Machine) -> str:
        """Its levels."""
        return str(choose(c, machine) or "")

    def plan(
        self, c: Correlation, machine: Machine, work: Work, arrays: Arrays, barrier: bool
    ) -> None:
        chosen = choose(c, machine)
        if chosen is None:
            raise FaltungError(f"c={c}: must be a problem that applies ({why_not(c, machine)})")
        staged = c.out[2] != 1

        def add(c: Correlation, arrays: Arrays) -> None:
            for group in range(c.groups):
                one, given = of_groups(c, arrays, group, 1)
                _Group(one, work, given, chosen).add_steps(barrier)

        stage_output(c, work, arrays, add) if staged else add(c, arrays)


STRASSEN = Strassen()


# The steps of a group -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Group:
    """One group in the making, whose channels are contiguous in input and output."""

    c: Correlation
    work: Work
    arrays: Arrays
    chosen: StrassenChoice

    def add_steps(self, barrier: bool) -> None:
        """Add the steps of the group, the first after a barrier where one is asked for."""
        c, work, chosen = self.c, self.work, self.chosen
        tiles, ranges = self._tiles()
        kernel = self._products(ranges)
        size = chosen.sample * chosen.item_bytes
        passes = parts(c.batch, max(1, PASS_BYTES // size))
        names = [f"input sums {i}" for i in range(len(passes[:2]))]
        # Another group, or another phase of a gradient, has the same memory after this one.
        used = [work.again(name, max(count for _, count in passes) * size) for name in names]
        memory, barrier = [Operand(name) for name in names], barrier or any(used)
        reads, writes = self._reads(), self._writes(kernel)
        sums = SumInputs(c.dtype, chosen.levels)
        title = f"strassen {VECTORS}x{kernel.rows[0]}, {chosen}"
        for number, (first, count) in enumerate(passes):
            # During the products of one pass the sums of the next are made: in the other of two
            # arrays.
            to, begins = memory[number % len(memory)], barrier and not number
            shared: dict[str, Argument] = {"tiles": tiles, "first": first}
            shared |= {"part": chosen.part, "pitch": chosen.pitch}
            given = {**shared, **reads, "to": to, "to_batch": chosen.sample}
            given |= {"tile_count": len(tiles)}
            step = sums.step(count * len(tiles), "add inputs", barrier=begins, **given)
            work.steps.append(step)
            every = count * len(ranges)
            given = {**shared, **writes, "a": to, "a_batch": chosen.sample}
            given |= {"ranges": ranges, "range_count": len(ranges), "all_ranges": every}
            work.steps.append(kernel.step(every * chosen.blocks, title, barrier=True, **given))

    def _products(self, ranges: Table) -> Products:
        c, chosen, counts = self.c, self.chosen, np.diff(ranges, axis=1)
        heights = tuple(rows for rows, _ in chosen.tiles)
        return Products(
            dtype=c.dtype,
            levels=chosen.levels,
            vectors=VECTORS,
            rows=heights,
            most=int(counts.max()) * heights[0],
            # A power of two.
            spread=1 << min(2, int(counts.min()).bit_length() - 1),
            epilogue=c.epilogue,
            aux_steps=c.aux_steps("channel"),
        )

    def _tiles(self) -> tuple[Table, Table]:
        """The tables ``tiles`` and ``ranges``."""
        rows, first = [], 0
        for number, (size, count) in enumerate(self.chosen.tiles):
            for _ in range(count):
                rows.append((number, first, size))
                first += size
        most = self.chosen.tiles_of_range(self.c.batch)
        ranges = [(at, at + count) for at, count in parts(len(rows), most)]
        return table(rows, 3), table(ranges, 2)

    def _by_row(self, positions: Table) -> Table:
        """Offsets of all positions -> for each row of a part those of its positions."""
        chosen = self.chosen
        every = np.full(chosen.parts * chosen.rows, MISSING, np.int64)
        every[: len(positions)] = positions
        return table(every.reshape(chosen.parts, chosen.rows).T, chosen.parts)

    # Arguments

    def _reads(self) -> dict[str, Argument]:
        """Where inputs lie."""
        c, count = self.c, self.c.channels_in
        zeros = self._kept("zeros", count, self.arrays.w, (MISSING, 0, count), "zeros")
        return {
            "x": shifted(self.arrays.x, c.x_base, c.dtype),
            "zeros": zeros,
            "places": self._by_row(reads_of(c.windows)[:, 0]),
            "x_batch": c.x[0],
            "channels": count,
        }

    def _writes(self, kernel: Products) -> dict[str, Argument]:
        """Where weights, bias, outputs and what the epilogue reads lie."""
        c, chosen = self.c, self.chosen
        sizes = [w.axis.output for w in c.windows]

        def places(array: Strided) -> Table:
            return self._by_row(offsets(sizes, array.along))

        given = kernel.output_arguments(c, self.arrays, places=places)
        count, bias = c.channels_out, self.arrays.bias
        run = (0 if bias else MISSING, 0, count)
        size = chosen.parts * chosen.part_out
        return {
            **given,
            "bias": self._kept("bias", size, bias or self.arrays.w, run, "pack bias"),
            "b": self._weights(),
            "b_product": chosen.product,
            "blocks": chosen.blocks,
            "part_out": chosen.part_out,
            "channels_out": count,
        }

    def _kept(
        self, hint: str, size: int, source: Operand, run: tuple[int, int, int], title: str
    ) -> Operand:
        """An array of ``size`` elements that is prepared once."""
        made = self.work.keep(hint, size * self.chosen.item_bytes)
        step = copy(self.c.dtype, source, made, [(0, 0)], [run], fill=size, title=title)
        self.work.prepare.append(step)
        return made

    def _weights(self) -> Operand:
        """The sums of the weights, in blocks of output channels."""
        c, chosen, (_, lane, channel) = self.c, self.chosen, self.c.w
        made = self.work.keep("weights", chosen.weights * chosen.item_bytes)
        contiguous = "outputs" if lane == 1 else "inputs" if channel == 1 else ""
        kernel = SumWeights(c.dtype, chosen.levels, VECTORS, contiguous)
        step = kernel.step(
            chosen.blocks * -(-chosen.part // ITEM_CHANNELS),
            "add weights",
            w=shifted(self.arrays.w, c.tap_offsets[0], c.dtype),
            to=made,
            w_lane=lane,
            w_channel=channel,
            channels=c.channels_in,
            channels_out=c.channels_out,
            part=chosen.part,
            part_out=chosen.part_out,
            product=chosen.product,
        )
        self.work.prepare.append(step)
        return made
