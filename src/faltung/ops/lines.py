"""Filters along one axis after another, on arrays of any real dtype."""

from collections.abc import Sequence
from functools import lru_cache
from math import prod

import numpy as np

from faltung.geometry.line import Line
from faltung.jit.target import current
from faltung.machine.costs import MIN_PARALLEL_CYCLES
from faltung.machine.table import Machine
from faltung.methods.base.step import Operand
from faltung.methods.filters.lines import LinesKernel, Taps
from faltung.ops.arguments import Array, address
from faltung.plan.binding import Region
from faltung.runtime.threads import threads_to_use

EPSILON = np.finfo(np.float64).eps
PLACES = {"x": (0, 0), "out": (1, 0), "first": (2, 0), "second": (3, 0), "values": (4, 0)}


def filter_lines(x: Array, lines: Sequence[Line], out: Array) -> None:
    """Apply the lines one after the other, as if each wrote an array of ``out``'s dtype that the
    next one reads.
    """
    x, out, lines, result = _arranged(x, tuple(lines), out)
    key = tuple((n.axis, n.size, n.before, n.border.mode, parity(n.weights)) for n in lines)
    steps = _planned(x.shape, x.dtype.name, result.dtype.name, key, current())
    source = x
    for step, (start, stop) in steps:
        last = stop == len(lines)
        target = result if last else np.empty(x.shape, out.dtype)
        step.run(source, target, lines[start:stop])
        source = target
    if result is not out:
        out[...] = result


def _arranged(x: Array, lines: tuple[Line, ...], out: Array):
    if not x.flags.c_contiguous:
        x = np.ascontiguousarray(x)
    result = out if out.flags.c_contiguous else np.empty(out.shape, out.dtype)
    return x, out, lines, result


def parity(weights: Sequence[float]) -> str:
    """Whether weights are symmetric ("even") or antisymmetric ("odd"), within a rounding."""
    size = len(weights)
    if size % 2 == 0:
        return ""
    half = size // 2
    pairs = [(weights[i], weights[-1 - i]) for i in range(half)]
    if all(abs(a - b) <= EPSILON for a, b in pairs):
        return "even"
    return "odd" if all(abs(a + b) <= EPSILON for a, b in pairs) else ""


class LinesStep:
    """One pass through memory."""

    def __init__(self, region, work, threads_worth) -> None:
        self.region, self.work, self.parallel = region, work, threads_worth

    def run(self, x, out, lines) -> None:
        n = len(lines)
        weights = [np.array(line.weights, self.work) for line in lines]
        values = np.array([line.border.value for line in lines] + [0.0], self.work)
        if self.order == "second":
            first, second = values, weights[0]
            values = np.array([0.0, lines[0].border.value], self.work)
        else:
            first, second = weights[0], weights[-1]
        self.region.run(
            (address(x), address(out), address(first), address(second), address(values)),
            threads_to_use() if self.parallel else 1,
        )


@lru_cache(maxsize=512)
def _planned(shape, source, target, key, machine: Machine):
    work = "float32" if source == target == "float32" else "float64"
    steps, at, last = [], 0, len(shape) - 1
    while at < len(key):
        both = at + 1 < len(key) and key[at][0] != last and key[at + 1][0] == last
        stop = at + 1 + both
        steps.append((_step(shape, source, target, work, key[at:stop], machine), (at, stop)))
        source, at = target, stop
    return steps


def _step(shape, source, target, work, key, machine):
    last = len(shape) - 1
    second = key[-1] if key[-1][0] == last else None
    first = key[0] if key[0][0] != last else None
    if second is None:  # the axes behind are one
        axis = first[0]
        outer, middle, height, width = prod(shape[:axis]), 1, shape[axis], prod(shape[axis + 1 :])
    elif first is None:
        outer, middle, height, width = 1, 1, prod(shape[:-1]), shape[-1]
    else:
        axis = first[0]
        outer, height, width = prod(shape[:axis]), shape[axis], shape[-1]
        middle = prod(shape[axis + 1 : -1])
    row = middle * width
    plane = height * row
    from faltung.geometry.border import Border

    rows_at_once, vectors = (4, 2) if work == "float32" else (2, 2)
    if first:
        _, size, before, mode, _ = first
        rows = Border(mode).sources(range(-before, height + size - 1 - before), height)
    else:
        rows = list(range(height))
    rows += [rows[-1]] * rows_at_once
    rows = np.array([r * row if r >= 0 else -1 for r in rows], np.int64)
    lanes = machine.lanes(work)
    if second:
        _, size, before, mode, _ = second
        columns = Border(mode).sources(range(-before, width + size - 1 - before), width)
    else:
        columns, before = list(range(width)), 0
    columns = np.array(columns + [-1] * 4 * lanes, np.int32)
    band = 64
    kernel = LinesKernel(
        dtype=work,
        source=source,
        target=target,
        first=Taps(first[1], first[4]) if first else None,
        second=Taps(second[1], second[4]) if second else None,
        constant=(bool(first) and first[3] == "constant", bool(second) and second[3] == "constant"),
        rows=rows_at_once,
        vectors=vectors,
        across=4,
        band=band,
        block=512,
    )
    bands = -(-height // band)
    blocks = -(-width // kernel.block)
    step = kernel.step(
        outer * middle * bands * blocks,
        "filter lines",
        x=Operand("x"),
        out=Operand("out"),
        rows=rows,
        columns=columns,
        first_weights=Operand("first"),
        second_weights=Operand("second"),
        values=Operand("values"),
        middle=middle,
        height=height,
        width=width,
        bands=bands,
        blocks=blocks,
        x_outer=plane,
        x_middle=width,
        out_outer=plane,
        out_middle=width,
        out_row=row,
        before=before,
    )
    region = Region([step], PLACES, machine, slots=5)
    taps = (first[1] if first else 1) + (second[1] if second else 0)
    made = LinesStep(region, np.dtype(work), prod(shape) * taps / lanes > MIN_PARALLEL_CYCLES)
    made.order = "second" if first is None else "first"
    return made
