"""Local ("unshared", "locally connected") convolution: a kernel of its own for every position.

What it is.  ``h[n, o, co] = b[o, co] + sum over k, ci of v[o, k, ci, co] * x[n, o*s - lo + k*d,
  ci]``: at each position a small matrix product of samples with weights. A tile of ``rows`` samples
  by vectors of output channels stays in registers, so that the weights of a position, which nothing
  else uses, are read once for several samples. The gradient for the weight is the same tile, its
  rows input channels, summed over samples. In the gradient for the input the sum runs along the
  output channels, neighbours in memory in both arrays: both are vectors, and lanes are added last.
When it applies.  Feature maps with channels last. Each group is a step of its own.
What it costs.  As ``direct`` for large batches; for a single sample, reading the weights.

Weights: (*output, *kernel, C_in / groups, C_out), contiguous; bias: (*output, C_out). A map: a
matrix of batch * positions rows, ``pitch`` elements apart.
"""

from math import prod

import numpy as np

from faltung.codegen.tile import budget, rows_for, split
from faltung.geometry.conv import ConvSpec
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Operand, Step, Work, shifted, table
from faltung.methods.local.kernel import Local
from faltung.methods.local.places import forward_places, input_places, weight_places

# Rows of a tile at the most: each needs a register for its address.
MOST = 8
# Rows below which the memory is the limit.
FEW = 12
# Columns of a tile whose lanes are added.
COLUMNS = 4
# Tiles in one item of work.
SEGMENT = 16


def local_forward(
    spec: ConvSpec,
    work: Work,
    x: Operand,
    x_pitch: int,
    w: Operand,
    bias: Operand | None,
    out: Operand,
    out_pitch: int,
    *,
    machine: Machine,
    title: str = "local",
    barrier: bool = False,
) -> None:
    """Add the steps that compute the layer; ``after`` where the input is the work of a step.

    ValueError: flip.
    """
    places, patterns = forward_places(_checked(spec), x_pitch, out_pitch)
    channels = spec.channels_out
    ins, outs = spec.channels_in // spec.groups, channels // spec.groups
    samples = (prod(spec.size) * x_pitch, prod(spec.output) * out_pitch)
    strides = (1, channels if bias else 0, ins, samples[0], 1, channels, samples[1])
    for g in range(spec.groups):
        arrays = _at(spec, (x, g * ins), (w, g * outs), (bias or w, g * outs), (out, g * outs))
        words: tuple[Argument, ...] = (*arrays, places, patterns)
        rows, biased = (spec.batch, outs), bias is not None
        step = _outer_step(
            spec.dtype, machine, words, rows, strides, biased, title, barrier and not g
        )
        work.steps.append(step)


def local_input_grad(
    spec: ConvSpec,
    work: Work,
    grad: Operand,
    grad_pitch: int,
    w: Operand,
    out: Operand,
    out_pitch: int,
    *,
    machine: Machine,
    title: str = "local input gradient",
    barrier: bool = False,
) -> None:
    """Add the step that computes the gradient for the input from that for the output."""
    places, patterns = input_places(_checked(spec), grad_pitch, out_pitch)
    lanes, channels = machine.lanes(spec.dtype), spec.channels_out
    ins, outs = spec.channels_in // spec.groups, channels // spec.groups
    columns = min(COLUMNS, ins)
    # Beside the sums: the vectors of the columns, one of a row, one in passing.
    most = min(MOST, (machine.registers - 2 - columns) // columns)
    samples = (prod(spec.output) * grad_pitch, prod(spec.size) * out_pitch)
    strides = (channels, 0, outs // lanes, samples[0], 0, channels, samples[1])
    runs, blocks = split(spec.batch, most), split(ins, columns)
    recipe = Local(spec.dtype, _sizes(runs), _sizes(blocks), True, outs % lanes, False)
    for g in range(spec.groups):
        arrays = _at(spec, (grad, g * outs), (w, g * outs), (w, 0), (out, g * ins))
        words: tuple[Argument, ...] = (*arrays, places, patterns)
        work.steps.append(_step(recipe, words, runs, blocks, strides, title, barrier and not g))


def local_weight_grad(
    spec: ConvSpec,
    work: Work,
    x: Operand,
    x_pitch: int,
    grad: Operand,
    grad_pitch: int,
    out_w: Operand,
    *,
    machine: Machine,
    title: str = "local weight gradient",
    barrier: bool = False,
) -> None:
    """Add the step that computes the gradient for the weight, zeros where taps meet padding."""
    places, patterns = weight_places(_checked(spec), x_pitch, grad_pitch)
    samples = (prod(spec.size) * x_pitch, prod(spec.output) * grad_pitch)
    strides = (1, 0, spec.batch, 1, *samples, spec.channels_out)
    ins, outs = spec.channels_in // spec.groups, spec.channels_out // spec.groups
    for g in range(spec.groups):
        arrays = _at(spec, (x, g * ins), (grad, g * outs), (grad, 0), (out_w, g * outs))
        words: tuple[Argument, ...] = (*arrays, places, patterns)
        rows = (ins, outs)
        wait = barrier and not g
        step = _outer_step(spec.dtype, machine, words, rows, strides, False, title, wait)
        work.steps.append(step)


def local_bias_grad(
    spec: ConvSpec,
    work: Work,
    grad: Operand,
    grad_pitch: int,
    out_bias: Operand,
    *,
    machine: Machine,
    title: str = "local bias gradient",
    barrier: bool = False,
) -> None:
    """Add the step that sums the output gradient over the batch: as if every input were a 1."""
    positions, channels = prod(_checked(spec).output), spec.channels_out
    number = np.arange(positions, dtype=np.int64)
    columns = (0 * number, number * grad_pitch, number * channels, 0 * number, 0 * number + 1)
    # A word full of ones: as a table, because it is read as the input is.
    one = np.frombuffer(np.ones(8 // spec.itemsize, spec.dtype).tobytes(), np.int64)
    words = (one, grad, grad, out_bias, table(np.stack(columns, axis=1), 5), table([(0, 0)], 2))
    strides = (1, 0, spec.batch, 0, 0, positions * grad_pitch, 0)
    rows = (1, channels)
    work.steps.append(_outer_step(spec.dtype, machine, words, rows, strides, False, title, barrier))


def _checked(spec: ConvSpec) -> ConvSpec:
    if spec.flip:
        raise ValueError("flip=True: a local layer has no kernel to flip, must be False")
    return spec


def _at(spec: ConvSpec, *arrays: tuple[Operand, int]) -> tuple[Operand, ...]:
    """The arrays from so many elements further on: where a group begins."""
    return tuple(shifted(operand, elements, spec.dtype) for operand, elements in arrays)


def _outer_step(
    dtype: str,
    machine: Machine,
    words: tuple[Argument, ...],
    sizes: tuple[int, int],
    strides: tuple[int, ...],
    bias: bool,
    title: str,
    barrier: bool,
) -> Step:
    """The step whose lanes are output elements; ``sizes``: rows, and elements of one."""
    lanes = machine.lanes(dtype)
    vectors = _vectors(machine, sizes[0], -(-sizes[1] // lanes))
    runs = split(sizes[0], min(MOST, rows_for(machine, vectors)))
    whole, rest = divmod(sizes[1], vectors * lanes)
    blocks = [pair for pair in ((vectors * lanes, whole), (rest, 1)) if all(pair)]
    recipe = Local(dtype, _sizes(runs), _sizes(blocks), False, 0, bias)
    return _step(recipe, words, runs, blocks, strides, title, barrier)


def _vectors(machine: Machine, rows: int, every: int) -> int:
    """How many of the ``every`` vectors of a row are done at once. Two, beside many rows; where
    rows are ``FEW``, all that registers hold: the weights, which come from memory for the first of
    them and from a cache for the others, are then read in the order in which they lie.
    """
    most = budget(machine) if rows < FEW else 2
    return max(1, -(-every // -(-every // most)))


def _sizes(parts: list[tuple[int, int]]) -> tuple[int, ...]:
    return tuple(size for size, _ in parts)


def _step(
    recipe: Local,
    words: tuple[Argument, ...],
    runs: list[tuple[int, int]],
    blocks: list[tuple[int, int]],
    strides: tuple[int, ...],
    title: str,
    barrier: bool,
) -> Step:
    """``runs`` and ``blocks``: (size, count) pairs, of the rows and of the elements of a row."""
    first, cut, parts = 0, [], []
    for kind, (size, count) in enumerate(runs):
        for done in range(0, count, SEGMENT):
            cut.append((kind, min(SEGMENT, count - done), first + done * size))
        first += size * count
    first = 0
    for kind, (size, count) in enumerate(blocks):
        parts += [(kind, first + i * size) for i in range(count)]
        first += size * count
    places = words[4]
    assert isinstance(places, np.ndarray)
    numbers: tuple[Argument, ...] = (table(parts, 2), table(cut, 3), len(parts), len(cut), *strides)
    return Step(recipe, len(places) * len(parts) * len(cut), (*words, *numbers), title, barrier)
