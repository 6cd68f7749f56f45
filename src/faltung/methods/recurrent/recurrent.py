"""Recurrences (LSTM, GRU, RNN) and their gradients, each as one step.

What it is.  The products of the inputs are a convolution before this. Here an item takes some
  samples of one direction along all steps: at each, it multiplies their states with the recurrent
  weight, a tile of samples by vectors of units for every gate, and computes the gates and the next
  states from the sums while they are in the first cache. The weight is packed so that a block of
  units reads it from front to back, and all tiles of an item use a block while it is near. Units
  are added in order, so that the bits depend on nothing else.
When it applies.  Always. Samples and directions are independent; the steps of one sample are not,
  so a single sequence occupies a single core, or two in both directions.
What it costs.  For each step the product; for few samples reading the packed weight, from the
  second-level cache if it fits.

The gradient walks back, and reads what the activations had read and the states before each step,
which the recurrence keeps in training: its own product is as long again, and nothing is computed
twice but the activations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field

import numpy as np

from faltung.codegen.tile import budget
from faltung.geometry.record import dataclass
from faltung.geometry.recurrent import RecurrentSpec
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Matrix, Operand, Step, Work
from faltung.methods.copies.copy import copy
from faltung.methods.recurrent.forward_kernel import ForwardKernel
from faltung.methods.recurrent.gradient_kernel import GradientKernel
from faltung.methods.recurrent.walk import WalkKernel

# Samples of a tile at the most: each needs a register for its address.
MOST_ROWS = 8
# Samples that share a weight as it comes by, if there are so many: with fewer, reading it takes
# longer than the products.
SHARING_ROWS = 4
# Items that larger batches are divided into, so that more cores can take part.
LEAST_ITEMS = 4
# What an item has for itself at the most, so that it stays in the second-level cache.
ITEM_BYTES = 1 << 17
# Sums under way that hide the latency of a multiplication.
LATENCY_SUMS = 8


@dataclass(frozen=True, slots=True)
class Weight:
    """A recurrent weight in memory: elements between its rows, and between its columns."""

    array: Operand
    row: int
    column: int


@dataclass(frozen=True, slots=True)
class Rows:
    """A vector for each of ``count`` samples; sample n reads that of n modulo ``count``."""

    matrix: Matrix
    count: int


@dataclass(slots=True)
class Direction:
    """What a direction reads and writes, by name: matrices and vectors, weights, initial states."""

    weights: Sequence[Weight]
    matrices: dict[str, Matrix]
    vectors: dict[str, Operand] = field(default_factory=dict)
    first: dict[str, Rows] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long the sequences of the samples are; ``kind``: "int" (64 bits) or "float"."""

    array: Operand
    kind: str
    count: int


def recurrence(
    spec: RecurrentSpec,
    work: Work,
    directions: Sequence[Direction],
    *,
    samples: int,
    lengths: Lengths | None,
    kept: bool,
    dtype: str,
    machine: Machine,
) -> None:
    """Add the step, and before it those that pack the weights.

    matrices of a direction: "x", the gates' inputs, and what comes out, "y", "h", "c", and with
    ``kept`` "sums", "before", "cells". vectors: "bias", "peepholes". first: "h", "c".
    """
    lanes = machine.lanes(dtype)
    cell = spec.cell(0)
    gates = len(cell.first)
    rows, vectors = _tile(spec, samples, gates, lanes, machine)
    kernel = ForwardKernel(
        dtype,
        cell,
        len(spec.gates),
        rows,
        vectors,
        spec.hidden if spec.hidden < lanes else 0,
        len(directions),
        lengths.kind if lengths else "",
        "peepholes" in directions[0].vectors,
        "bias" in directions[0].vectors,
        tuple(directions[0].first),
        kept,
    )
    packed = [
        {
            name: _packed(work, weight, count, spec.hidden, vectors, dtype, machine)
            for name, weight, count in zip(("w", "w2"), each.weights, spec.weights, strict=False)
        }
        for each in directions
    ]
    work.steps.append(
        _step(kernel, work, spec, directions, packed, samples, lengths, machine, "recurrence")
    )


def recurrence_grad(
    spec: RecurrentSpec,
    work: Work,
    directions: Sequence[Direction],
    *,
    given: tuple[str, ...],
    samples: int,
    lengths: Lengths | None,
    dtype: str,
    machine: Machine,
) -> None:
    """Add the step, and before it those that pack the weights.

    given: which gradients there are, of "y", "h", "c"; the matrices "grad_y" and so on. Others:
    "sums", "before", "cells", which the recurrence kept; the results "x", "products" (of a GRU
    that resets after the product), "h", "c".
    """
    lanes = machine.lanes(dtype)
    rows, vectors = _tile(spec, samples, 1, lanes, machine)
    kernel = GradientKernel(
        dtype,
        spec.cell(0),
        len(spec.gates),
        rows,
        vectors,
        spec.hidden if spec.hidden < lanes else 0,
        len(directions),
        lengths.kind if lengths else "",
        "peepholes" in directions[0].vectors,
        given,
    )
    packed = [
        {
            name: _packed_back(work, weight, count, spec.hidden, vectors, dtype, machine)
            for name, weight, count in zip(("w", "w2"), each.weights, spec.weights, strict=False)
        }
        for each in directions
    ]
    title = "recurrence gradient"
    work.steps.append(
        _step(kernel, work, spec, directions, packed, samples, lengths, machine, title)
    )


def _tile(
    spec: RecurrentSpec, samples: int, gates: int, lanes: int, machine: Machine
) -> tuple[int, int]:
    """Samples of a tile, and vectors of units of a block."""
    most = max(1, min(MOST_ROWS, budget(machine) // gates))
    rows = -(-samples // -(-samples // min(most, _share(samples))))
    wanted = -(-LATENCY_SUMS // (rows * gates))
    return rows, max(1, min(wanted, spec.hidden // lanes, budget(machine) // (rows * gates)))


def _share(samples: int) -> int:
    """Samples of an item, as far as there is room for them."""
    return max(SHARING_ROWS, -(-samples // LEAST_ITEMS))


def _step(
    kernel: WalkKernel,
    work: Work,
    spec: RecurrentSpec,
    directions: Sequence[Direction],
    packed: Sequence[Mapping[str, Operand]],
    samples: int,
    lengths: Lengths | None,
    machine: Machine,
    title: str,
) -> Step:
    lanes, size = machine.lanes(kernel.dtype), np.dtype(kernel.dtype).itemsize
    pitch = -(-spec.hidden // lanes) * lanes
    room = ITEM_BYTES // (kernel.elements(1, pitch, machine) * size)
    tiles = max(1, min(room, -(-_share(samples) // kernel.rows), -(-samples // kernel.rows)))
    blocks = -(-samples // (tiles * kernel.rows))
    items = blocks * len(directions)
    elements = kernel.elements(tiles, pitch, machine)
    given: dict[str, Argument] = {
        "state": work.borrow("states", items * elements * size),
        "samples": samples,
        "steps": spec.steps,
        "hidden": spec.hidden,
        "pitch": pitch,
        "blocks": blocks,
        "tiles": tiles,
        "item_elements": elements,
    }
    if lengths is not None:
        given |= {"lengths": lengths.array, "lengths_count": lengths.count}
    for d, each in enumerate(directions):
        own: dict[str, Argument] = {**each.vectors, **packed[d], "reverse": int(spec.reverse[d])}
        for name, matrix in each.matrices.items():
            own |= matrix.arguments(name)
        for name, rows in each.first.items():
            own |= rows.matrix.arguments(f"first_{name}")
            own[f"first_{name}_count"] = rows.count
        given |= {f"{name}{d}": value for name, value in own.items()}
    # What a single item does alone is no reason for several threads.
    work.cycles += 2.0 * samples * spec.macs(0) / lanes if items > 1 else 1.0
    return kernel.step(items, title, barrier=False, **given)


def _starts(hidden: int, width: int) -> list[int]:
    """The first units of the blocks; the last block ends with the last unit."""
    return [min(start, max(0, hidden - width)) for start in range(0, hidden, width)]


def _packed(
    work: Work,
    weight: Weight,
    gates: int,
    hidden: int,
    vectors: int,
    dtype: str,
    machine: Machine,
) -> Operand:
    """The weight as (block of units, unit before, gate, unit of the block)."""
    width = vectors * machine.lanes(dtype)
    row, count = gates * width, min(width, hidden)
    outer = [
        (start * weight.row, number * hidden * row)
        for number, start in enumerate(_starts(hidden, width))
    ]
    runs = [
        (gate * hidden * weight.row + k * weight.column, k * row + gate * width, count)
        for k in range(hidden)
        for gate in range(gates)
    ]
    return _copied(work, weight, outer, runs, weight.row, width, hidden * row, dtype)


def _packed_back(
    work: Work,
    weight: Weight,
    gates: int,
    hidden: int,
    vectors: int,
    dtype: str,
    machine: Machine,
) -> Operand:
    """The weight as (block of units before, gate, unit, unit before of the block)."""
    width = vectors * machine.lanes(dtype)
    count = min(width, hidden)
    outer = [
        (start * weight.column, number * gates * hidden * width)
        for number, start in enumerate(_starts(hidden, width))
    ]
    runs = [(k * weight.row, k * width, count) for k in range(gates * hidden)]
    return _copied(work, weight, outer, runs, weight.column, width, gates * hidden * width, dtype)


def _copied(
    work: Work,
    weight: Weight,
    outer: Sequence[tuple[int, int]],
    runs: Sequence[tuple[int, int, int]],
    stride: int,
    width: int,
    block: int,
    dtype: str,
) -> Operand:
    size = len(outer) * block * np.dtype(dtype).itemsize
    packed = work.keep("recurrent weight", size)
    fill = width if runs[0][2] < width else 0
    work.prepare.append(
        copy(
            dtype,
            weight.array,
            packed,
            outer,
            runs,
            stride=stride,
            fill=fill,
            title="pack recurrent weight",
        )
    )
    return packed
