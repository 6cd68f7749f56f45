"""Local ("unshared", "locally connected") convolution: a kernel of its own for every position.

What it is.  ``h[n, o, co] = b[o, co] + sum over k, ci of v[o, k, ci, co] * x[n, o*s - lo + k*d,
  ci]``: at each position a small matrix product of samples with weights. A tile of ``rows`` samples
  by vectors of output channels stays in registers, so that the weights of a position, which nothing
  else uses, are read once for several samples. The gradient for the weight is the same tile, its
  rows input channels, summed over samples. In the gradient for the input the sum runs along the
  output channels, contiguous in both arrays: both are vectors, and lanes are added last.
When it applies.  Feature maps with channels last. Each group is a step of its own.
What it costs.  As ``direct`` for large batches; for a single sample, reading the weights.

Weights: (*output, *kernel, C_in / groups, C_out), contiguous; bias: (*output, C_out). Feature maps:
matrices with a row for each position of each sample.
"""

from collections.abc import Mapping
from math import prod

import numpy as np

from faltung.codegen.tile import budget, rows_for, split
from faltung.geometry.conv import ConvSpec
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.blocks import channel_blocks
from faltung.methods.base.step import Argument, Matrix, Operand, Step, Table, Work, shifted, table
from faltung.methods.local.kernel import LocalKernel
from faltung.methods.local.places import forward_places, input_places, weight_places

# Rows of a tile at the most: each needs a register for its address.
MAX_TILE_ROWS = 8
# Rows below which the memory is the limit.
MEMORY_BOUND_ROWS = 12
# Columns of a tile whose lanes are added.
DOT_COLUMNS = 4
# Tiles in one item of work.
SEGMENT_TILES = 16


def local_forward(
    spec: ConvSpec,
    work: Work,
    x: Matrix,
    w: Operand,
    bias: Operand | None,
    out: Matrix,
    *,
    machine: Machine,
    barrier: bool = False,
) -> None:
    """Add the steps that compute the layer; ``barrier`` where a step before writes the input.

    ValueError: flip.
    """
    places = forward_places(_checked(spec), x.pitch, out.pitch)
    ins, outs = _group_channels(spec)
    work.steps += _outer(spec.dtype, machine, spec.batch, outs, bias is not None).steps(
        "local",
        barrier,
        places,
        spec.groups,
        {"a": (x.array, ins), "b": (w, outs), "bias": (bias or w, outs), "out": (out.array, outs)},
        b_block=1,
        bias_place=spec.channels_out if bias else 0,
        inner=ins,
        a_row=prod(spec.size) * x.pitch,
        a_inner=1,
        b_inner=spec.channels_out,
        out_row=prod(spec.output) * out.pitch,
    )


def local_input_grad(
    spec: ConvSpec,
    work: Work,
    grad: Matrix,
    w: Operand,
    out: Matrix,
    *,
    machine: Machine,
    barrier: bool = False,
) -> None:
    """Add the steps that compute the gradient for the input from that for the output."""
    places = input_places(_checked(spec), grad.pitch, out.pitch)
    ins, outs = _group_channels(spec)
    lanes = machine.lanes(spec.dtype)
    columns = min(DOT_COLUMNS, ins)
    # Beside the sums: the vectors of the columns, one of a row, one in passing.
    most = min(MAX_TILE_ROWS, (machine.registers - 2 - columns) // columns)
    tiles = _Tiles(
        spec.dtype, split(spec.batch, most), split(ins, columns), dots=True, tail=outs % lanes
    )
    work.steps += tiles.steps(
        "local input gradient",
        barrier,
        places,
        spec.groups,
        {"a": (grad.array, outs), "b": (w, outs), "out": (out.array, ins)},
        b_block=spec.channels_out,
        inner=outs // lanes,
        a_row=prod(spec.output) * grad.pitch,
        a_inner=0,
        b_inner=spec.channels_out,
        out_row=prod(spec.size) * out.pitch,
    )


def local_weight_grad(
    spec: ConvSpec,
    work: Work,
    x: Matrix,
    grad: Matrix,
    out_w: Operand,
    *,
    machine: Machine,
    barrier: bool = False,
) -> None:
    """Add the steps that compute the gradient for the weight, zeros where taps meet padding."""
    places = weight_places(_checked(spec), x.pitch, grad.pitch)
    ins, outs = _group_channels(spec)
    work.steps += _outer(spec.dtype, machine, ins, outs).steps(
        "local weight gradient",
        barrier,
        places,
        spec.groups,
        {"a": (x.array, ins), "b": (grad.array, outs), "out": (out_w, outs)},
        b_block=1,
        inner=spec.batch,
        a_row=1,
        a_inner=prod(spec.size) * x.pitch,
        b_inner=prod(spec.output) * grad.pitch,
        out_row=spec.channels_out,
    )


def local_bias_grad(
    spec: ConvSpec,
    work: Work,
    grad: Matrix,
    out_bias: Operand,
    *,
    machine: Machine,
    barrier: bool = False,
) -> None:
    """Add the step that sums the output gradient over the batch: as if every input were a 1."""
    positions, channels = prod(_checked(spec).output), spec.channels_out
    places = np.insert(np.outer(np.arange(positions), (0, grad.pitch, channels, 0)), 4, 1, axis=1)
    # 64 bits full of ones: as a table, because it is read as the input is.
    one = np.frombuffer(np.ones(8 // spec.itemsize, spec.dtype).tobytes(), np.int64)
    work.steps += _outer(spec.dtype, machine, 1, channels).steps(
        "local bias gradient",
        barrier,
        (table(places, 5), table([(0, 0)], 2)),
        1,
        {"a": (one, 0), "b": (grad.array, 0), "out": (out_bias, 0)},
        b_block=1,
        inner=spec.batch,
        a_row=0,
        a_inner=0,
        b_inner=positions * grad.pitch,
        out_row=0,
    )


def _checked(spec: ConvSpec) -> ConvSpec:
    if spec.flip:
        raise FaltungError("flip=True: a local layer has no kernel to flip, must be False")
    return spec


def _group_channels(spec: ConvSpec) -> tuple[int, int]:
    """Input and output channels of a group."""
    return spec.channels_in // spec.groups, spec.channels_out // spec.groups


@dataclass(frozen=True, slots=True)
class _Tiles:
    """The tiles of the outputs of a place: (size, count) pairs of their rows and of their blocks.

    dots, tail, bias: as in ``LocalKernel``.
    """

    dtype: str
    rows: list[tuple[int, int]]
    blocks: list[tuple[int, int]]
    dots: bool = False
    tail: int = 0
    bias: bool = False

    def steps(
        self,
        title: str,
        barrier: bool,
        places: tuple[Table, Table],
        groups: int,
        arrays: Mapping[str, tuple[Operand | Table, int]],
        *,
        bias_place: int = 0,
        **strides: int,
    ) -> list[Step]:
        """A step for each group; ``arrays``: each with the elements from group to group. Where
        there is no bias, any array stands in its place.
        """
        arrays = {"bias": (arrays["b"][0], 0), **arrays}
        rows, elements = (tuple(size for size, _ in cut) for cut in (self.rows, self.blocks))
        kernel = LocalKernel(self.dtype, rows, elements, self.dots, self.tail, self.bias)
        segments = _cut(self.rows, SEGMENT_TILES)
        blocks = table(_cut(self.blocks, 1)[:, ::2], 2)
        made = []
        for g in range(groups):
            given: dict[str, Argument] = {
                name: shifted(array, g * step, self.dtype) if isinstance(array, Operand) else array
                for name, (array, step) in arrays.items()
            }
            step = kernel.step(
                len(places[0]) * len(blocks) * len(segments),
                title,
                barrier=barrier and not g,
                places=places[0],
                patterns=places[1],
                blocks=blocks,
                segments=segments,
                block_count=len(blocks),
                segment_count=len(segments),
                bias_place=bias_place,
                **given,
                **strides,
            )
            made.append(step)
        return made


def _cut(sizes: list[tuple[int, int]], most: int) -> Table:
    """(kind, how many, where the first one begins) of at most ``most`` tiles of one size."""
    first, found = 0, []
    for kind, (size, count) in enumerate(sizes):
        for done in range(0, count, most):
            found.append((kind, min(most, count - done), first + done * size))
        first += size * count
    return table(found, 3)


def _outer(dtype: str, machine: Machine, rows: int, elements: int, bias: bool = False) -> _Tiles:
    """Tiles whose lanes are output elements: ``rows`` rows of ``elements`` each."""
    lanes = machine.lanes(dtype)
    vectors = _vectors(machine, rows, -(-elements // lanes))
    blocks = [(b.channels, b.count) for b in channel_blocks(elements, vectors * lanes)]
    most = min(MAX_TILE_ROWS, rows_for(machine, vectors))
    return _Tiles(dtype, split(rows, most), blocks, bias=bias)


def _vectors(machine: Machine, rows: int, every: int) -> int:
    """How many of the ``every`` vectors of a row are computed at once. Two, beside many rows; where
    rows are few, all that registers hold: the weights, which come from memory for the first of them
    and from a cache for the others, are then read in the order in which they lie.
    """
    most = budget(machine) if rows < MEMORY_BOUND_ROWS else 2
    return max(1, -(-every // -(-every // most)))
