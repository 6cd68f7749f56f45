"""Where a local layer reads and writes: for each output its places, for each term its offsets.

Places are rows of (a, b, out, first entry, entries): offsets in the two operands and in the
output, and the terms in the table of entries, rows of (a, b) offsets. All in elements. The weights
of an output position are one block, those of a tap in it one matrix (C_in, C_out).
"""

from dataclasses import replace

import numpy as np

from faltung.geometry.axis import Axis
from faltung.geometry.conv import ConvSpec
from faltung.methods.base.addresses import (
    AxisRows,
    combined,
    numbered,
    pitches,
    reads_of,
    rows_of,
    sources,
)
from faltung.methods.base.correlation import Window
from faltung.methods.base.step import MISSING, Table, table


def _matrix(spec: ConvSpec) -> int:
    """Weights of one tap: (C_in / groups, C_out), the columns of the groups side by side."""
    return spec.channels_in // spec.groups * spec.channels_out


def _windows(spec: ConvSpec, x_pitch: int, out_pitch: int) -> list[Window]:
    """The axes, between maps with ``x_pitch`` and ``out_pitch`` elements for each position."""
    steps = zip(pitches(spec.size, x_pitch), pitches(spec.output, out_pitch), strict=True)
    return [
        # A stride beyond the array only says "one output"; it must fit 64 bits.
        Window(replace(axis, stride=min(axis.stride, axis.padded)), *step, ())
        for axis, step in zip(spec.axes, steps, strict=True)
    ]


def forward_places(spec: ConvSpec, x_pitch: int, out_pitch: int) -> tuple[Table, Table]:
    """Of each output position: a is the input, b the weight."""
    rows, patterns = rows_of(_windows(spec, x_pitch, out_pitch), [0], _matrix(spec))
    weights = np.arange(len(rows), dtype=np.int64) * spec.weight_parameters
    return table(np.insert(rows, 1, weights, axis=1), 5), patterns


def weight_places(spec: ConvSpec, x_pitch: int, grad_pitch: int) -> tuple[Table, Table]:
    """Of each position and tap: a is the input, b the output gradient; no entry in zeros."""
    a = reads_of(_windows(spec, x_pitch, grad_pitch)).ravel()
    present = a != MISSING
    grads = np.repeat(np.arange(len(a) // spec.taps, dtype=np.int64) * grad_pitch, spec.taps)
    out = np.arange(len(a), dtype=np.int64) * _matrix(spec)
    places = np.stack([a * present, grads, out, 0 * out, present], axis=1)
    return table(places, 5), table([(0, 0)], 2)


def input_places(spec: ConvSpec, grad_pitch: int, out_pitch: int) -> tuple[Table, Table]:
    """Of each input position: a is the output gradient, b the weight; taps ascending."""
    grads, weights, taps = (
        pitches(spec.output, grad_pitch),
        pitches(spec.output, spec.weight_parameters),
        pitches(spec.kernel, _matrix(spec)),
    )
    axes = []
    for axis, grad, weight, tap in zip(spec.axes, grads, weights, taps, strict=True):
        first, numbers, found = numbered(_readers(axis))
        patterns = [table([(o * grad, o * weight + k * tap) for o, k in r], 2) for r in found]
        axes.append(AxisRows(np.outer(first, [grad, weight]), numbers, patterns))
    columns, spans, entries = combined(axes, 2)
    out = np.arange(len(columns), dtype=np.int64) * out_pitch
    return table(np.column_stack([columns, out, spans]), 5), entries


def _readers(axis: Axis) -> list[list[tuple[int, int]]]:
    """For each input of one axis the outputs that read it, with their taps, ascending."""
    found: list[list[tuple[int, int]]] = [[] for _ in range(axis.size)]
    read = sources(axis)
    for k, o in np.argwhere(read.T >= 0).tolist():
        found[read[o, k]].append((o, k))
    return found
