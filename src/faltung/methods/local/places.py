"""Where a local layer reads and writes: for each output its places, for each term its offsets.

Places are rows of (a, b, out, first entry, entries): offsets in the two operands and in the
output, and the terms in the table of entries, rows of (a, b) offsets. All in elements. The weights
of an output position are one block, those of a tap in it one matrix (C_in, C_out).
"""

from dataclasses import replace
from math import prod

import numpy as np

from faltung.geometry.axis import Axis
from faltung.geometry.conv import ConvSpec
from faltung.methods.base.addresses import rows_of, sources
from faltung.methods.base.correlation import Window
from faltung.methods.base.step import Table, table


def _strides(sizes: tuple[int, ...], last: int) -> list[int]:
    return [prod(sizes[i + 1 :]) * last for i in range(len(sizes))]


def _matrix(spec: ConvSpec) -> int:
    """Weights of one tap: (C_in / groups, C_out), the columns of the groups side by side."""
    return spec.channels_in // spec.groups * spec.channels_out


def _rows(spec: ConvSpec, x_pitch: int, out_pitch: int) -> tuple[Table, Table]:
    """The tables of ``addresses`` over all axes; weights of a tap are one matrix."""
    steps = zip(_strides(spec.size, x_pitch), _strides(spec.output, out_pitch), strict=True)
    windows = [
        # A stride beyond the array only says "one output"; it must fit 64 bits.
        Window(replace(axis, stride=min(axis.stride, axis.padded)), *step, ())
        for axis, step in zip(spec.axes, steps, strict=True)
    ]
    found = rows_of(windows, [0], _matrix(spec))
    return found.rows, found.patterns


def forward_places(spec: ConvSpec, x_pitch: int, out_pitch: int) -> tuple[Table, Table]:
    """Of each output position: a is the input, b the weight."""
    rows, patterns = _rows(spec, x_pitch, out_pitch)
    weights = np.arange(len(rows), dtype=np.int64) * spec.weight_parameters
    return table(np.insert(rows, 1, weights, axis=1), 5), patterns


def weight_places(spec: ConvSpec, x_pitch: int, grad_pitch: int) -> tuple[Table, Table]:
    """Of each position and tap: a is the input, b the output gradient; no entry in zeros."""
    rows, patterns = _rows(spec, x_pitch, grad_pitch)
    matrix = _matrix(spec)
    spans, kind = np.unique(rows[:, 2:], axis=0, return_inverse=True)
    offsets = np.zeros((len(spans), spec.taps), np.int64)
    present = np.zeros((len(spans), spec.taps), np.int64)
    for number, (first, count) in enumerate(spans.tolist()):
        inputs, weights = patterns[first : first + count].T
        offsets[number, weights // matrix] = inputs
        present[number, weights // matrix] = 1
    kind = kind.ravel()
    a = (rows[:, :1] + offsets[kind]) * present[kind]
    grads = np.broadcast_to(rows[:, 1:2], a.shape)
    out = np.arange(a.size, dtype=np.int64) * matrix
    columns = (a.ravel(), grads.ravel(), out, 0 * out, present[kind].ravel())
    return table(np.stack(columns, axis=1), 5), table([(0, 0)], 2)


def input_places(spec: ConvSpec, grad_pitch: int, out_pitch: int) -> tuple[Table, Table]:
    """Of each input position: a is the output gradient, b the weight; taps ascending."""
    matrix = _matrix(spec)
    steps = zip(
        _strides(spec.output, grad_pitch),
        _strides(spec.output, spec.weight_parameters),
        _strides(spec.kernel, matrix),
        strict=True,
    )
    bases, kinds = np.zeros((1, 2), np.int64), np.zeros(1, np.int64)
    spans: list[list[tuple[int, int]]] = [[(0, 0)]]
    for axis, (grad, weight, tap) in zip(spec.axes, steps, strict=True):
        first, kind, patterns = _touching(axis)
        here = first[:, None] * np.array([grad, weight], np.int64)
        bases = (bases[:, None] + here).reshape(-1, 2)
        kinds = (kinds[:, None] * len(patterns) + kind).ravel()
        there = [[(o * grad, o * weight + k * tap) for o, k in pattern] for pattern in patterns]
        spans = [
            [(g + dg, w + dw) for g, w in outer for dg, dw in inner]
            for outer in spans
            for inner in there
        ]
    counts = np.array([len(span) for span in spans], np.int64)
    starts = np.cumsum(counts) - counts
    out = np.arange(len(kinds), dtype=np.int64) * out_pitch
    columns = (*bases.T, out, starts[kinds], counts[kinds])
    return table(np.stack(columns, axis=1), 5), table([e for span in spans for e in span], 2)


def _touching(axis: Axis) -> tuple[Table, Table, list[tuple[tuple[int, int], ...]]]:
    """For each input of one axis: the first output that reads it, and the number of its pattern:
    the outputs, counted from that one, with their taps.
    """
    first, kind = np.zeros(axis.size, np.int64), np.zeros(axis.size, np.int64)
    seen: dict[tuple[tuple[int, int], ...], int] = {}
    found: list[list[tuple[int, int]]] = [[] for _ in range(axis.size)]
    read = sources(axis)
    for k in range(axis.kernel):
        for o in np.flatnonzero(read[:, k] >= 0):
            found[read[o, k]].append((int(o), k))
    for i, reads in enumerate(found):
        first[i] = reads[0][0] if reads else 0
        pattern = tuple((o - int(first[i]), k) for o, k in reads)
        kind[i] = seen.setdefault(pattern, len(seen))
    return first, kind, list(seen)
