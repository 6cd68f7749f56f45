"""Sums, means, extremes and products of formulas over any axes of maps.

What it is.  ``out[k] = finish(sum over r of expr(x[k, r], ...))`` over strided arrays. The axes are
  merged (``axes``); vectors lie along the innermost, whether it is kept or reduced.
When it applies.  Always.
What it costs.  A load for each operand and vector, and the operations of the formula. Where a
  result takes many terms, bands of them are reduced by themselves, and a second pass combines the
  bands: for short sums of sums, which round less, and for items that several threads can share.

Bands follow from the sizes of one sample and the machine, so that the bits depend neither on the
threads nor on the batch.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from faltung.codegen.expr import instructions
from faltung.codegen.vectors import ELEMENTS
from faltung.geometry.expr import Expr, operand
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.step import Argument, Operand, Step, Work
from faltung.methods.elementwise.bands import (
    MAP_ITEM_CYCLES,
    MAX_ITERATIONS,
    SHORT_ITEM_CYCLES,
    items_for,
    up,
)
from faltung.methods.elementwise.totals import scale_bits
from faltung.methods.reduce.axes import Axes, Axis, Strided, axes_of, kept_strides
from faltung.methods.reduce.kernel import CHAINS, Given, ReduceKernel, chains
from faltung.methods.reduce.narrow import NarrowKernel, is_narrow

# Cycles for a result, and for a row of one, beside their vectors.
RESULT_CYCLES, ROW_CYCLES = 20, 3
# Cycles to load and transpose a vector of a short row.
NARROW_CYCLES = 6
# Vectors of the inner axis at once at most.
MAX_VECTORS = 4
# Iterations over the inner axis in a row of the narrowest block.
MIN_BLOCK = 2


@dataclass(frozen=True, slots=True)
class Cut:
    """``bands`` bands of ``band`` rows, ``blocks`` blocks of ``block`` elements of the inner axis,
    and ``item_outer`` results of the outer axes in an item.
    """

    bands: int
    band: int
    blocks: int
    block: int
    item_outer: int

    @property
    def parts(self) -> int:
        return self.bands * self.blocks


def reduction(
    work: Work,
    dtype: str,
    machine: Machine,
    *,
    sizes: Sequence[int],
    reduced: Sequence[bool],
    inputs: Sequence[Strided],
    outputs: Sequence[Strided],
    kind: str,
    exprs: Sequence[Expr],
    finish: Expr | None = None,
    samples: int = 1,
    title: str,
) -> None:
    """Add the steps that reduce each formula of ``inputs`` to one of ``outputs``.

    sizes, reduced: of the axes from the outermost on. kind: "sum", "mean", "max", "min" or
    "product". outputs: of equal strides. samples: the axes in front that are kept hold so many,
    which have nothing in common.
    """
    if not prod(sizes):
        return
    count = prod(size for size, flag in zip(sizes, reduced, strict=True) if flag)
    axes = axes_of(sizes, reduced, inputs, outputs[0])
    call = _Call(
        dtype,
        machine,
        axes,
        tuple(array.operand for array in inputs),
        tuple(array.operand for array in outputs),
        "sum" if kind == "mean" else kind,
        tuple(exprs),
        operand(0) if finish is None else finish,
        count if kind == "mean" else 1,
        samples,
        title,
    )
    _add(work, call, barrier=False)


@dataclass(frozen=True, slots=True)
class _Call:
    """What is asked for; the strides are in ``axes``. count: what results are divided by."""

    dtype: str
    machine: Machine
    axes: Axes
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    kind: str
    exprs: tuple[Expr, ...]
    finish: Expr
    count: int
    samples: int
    title: str


def _add(work: Work, call: _Call, barrier: bool) -> None:
    if is_narrow(call.axes, call.exprs):
        work.steps.append(_narrow(call, barrier))
        return
    kernel = _kernel(call)
    cut = _cut(call, kernel)
    along = call.axes.inner.reduced
    parts = cut.parts if along else cut.bands
    if parts == 1:
        work.steps.append(_step(call, kernel, cut, barrier))
        return
    # Partial results: for each outer index its bands, each as long as what it stands for.
    length = 1 if along else call.axes.inner.size
    size = call.axes.outer * parts * length * ELEMENTS[call.dtype][1]
    partial = tuple(work.borrow("partial", size) for _ in call.exprs)
    axes, rest = _halves(call.axes, parts, length)
    first = replace(call, axes=axes, outputs=partial, finish=operand(0), count=1)
    work.steps.append(_step(first, _kernel(first), cut, barrier, length))
    for number, (array, out) in enumerate(zip(partial, call.outputs, strict=True)):
        title = f"{call.title}: bands"
        second = replace(call, axes=rest, inputs=(array,), outputs=(out,), exprs=(operand(0),))
        _add(work, replace(second, title=title), barrier=number == 0)


def _narrow(call: _Call, barrier: bool) -> Step:
    axes, (rows,) = call.axes, call.axes.kept
    kernel = NarrowKernel(
        call.dtype,
        call.kind,
        axes.inner.size,
        tuple(stride == 1 for stride in axes.inner.strides[:-1]),
        call.exprs,
        call.finish,
        call.count > 1,
    )
    lanes = call.machine.lanes(call.dtype)
    terms = instructions(*call.exprs) + len(call.inputs) * NARROW_CYCLES
    group = max(1, int(MAP_ITEM_CYCLES / (axes.inner.size * terms)))
    given: dict[str, Argument] = {
        "rows": rows.size,
        "item_rows": group * lanes,
        "count": scale_bits(call.dtype, call.count),
    }
    given |= {f"in{i}": array for i, array in enumerate(call.inputs)}
    given |= {f"in{i}_pitch": rows.strides[i] for i in range(len(call.inputs))}
    given |= {f"out{i}": array for i, array in enumerate(call.outputs)}
    return kernel.step(up(rows.size, group * lanes), call.title, barrier=barrier, **given)


def _halves(axes: Axes, parts: int, length: int) -> tuple[Axes, Axes]:
    """The axes of the pass that makes partial results, and of the one that combines them."""
    step = parts * length
    first: list[Axis] = []
    second: list[Axis] = []
    for axis in reversed(axes.kept):
        first.insert(0, replace(axis, strides=(*axis.strides[:-1], step)))
        second.insert(0, replace(axis, strides=(step, axis.strides[-1])))
        step *= axis.size
    if axes.inner.reduced:
        rest = Axes(tuple(second), (), Axis(parts, True, (1, 0)))
    else:
        inner = replace(axes.inner, strides=(1, axes.inner.strides[-1]))
        rest = Axes(tuple(second), (Axis(parts, True, (length, 0)),), inner)
    return replace(axes, kept=tuple(first)), rest


def _kernel(call: _Call) -> ReduceKernel:
    axes, lanes = call.axes, call.machine.lanes(call.dtype)
    inputs = tuple(
        Given(any(axis.strides[i] for axis in axes.reduced), axes.inner.strides[i] == 1)
        for i in range(len(call.inputs))
    )
    return ReduceKernel(
        call.dtype,
        call.kind,
        axes.inner.reduced,
        inputs,
        call.exprs,
        call.finish,
        call.count > 1,
        len(axes.kept),
        max(1, len(axes.reduced)),
        axes.inner.size % lanes,
        1 if axes.inner.reduced else _vectors(call),
    )


def _vectors(call: _Call) -> int:
    """Vectors of the inner axis at once: as many as the registers hold accumulators for."""
    whole = call.axes.inner.size // call.machine.lanes(call.dtype)
    held = call.machine.registers // 2 // len(call.exprs)
    fit = (
        n
        for n in (MAX_VECTORS, 2)
        if n <= whole and n * CHAINS <= held and chains(call.exprs, n) == CHAINS
    )
    return next(fit, 1)


def _cut(call: _Call, kernel: ReduceKernel) -> Cut:
    axes, lanes = call.axes, call.machine.lanes(call.dtype)
    vectors = up(axes.inner.size, lanes)
    loads = 1 + sum(given.rows or given.inner for given in kernel.inputs)
    cycles = (instructions(*call.exprs) + loads) / 2
    along = axes.inner.reduced
    # What bands are cut out of: the rows but for the last axis of several, or else the inner axis.
    last = prod(axis.size for axis in (axes.reduced[:-1] or axes.reduced))
    row = axes.rows // last * (vectors * cycles + ROW_CYCLES)
    results = max(1, axes.outer // call.samples)
    wanted = up(items_for(results * (last * row + RESULT_CYCLES)), results)
    if along:
        size = lanes * chains(call.exprs, 1)
        iterations = up(axes.inner.size, size)
        bands = min(wanted, last)
        each = min(up(iterations, up(wanted, bands)), MAX_ITERATIONS)
        longest = MAX_ITERATIONS // each // (axes.rows // last)
    else:
        size = kernel.vectors * lanes
        each = up(up(axes.inner.size, size), wanted)
        bands = min(up(wanted, up(axes.inner.size, each * size)), last)
        longest = MAX_ITERATIONS * chains(call.exprs, kernel.vectors) // (axes.rows // last)
    band = min(up(last, bands), max(1, longest))
    bands = up(last, band)
    if not along:  # narrower blocks change no bits
        short = items_for(row * band, SHORT_ITEM_CYCLES)
        each = min(each, max(MIN_BLOCK, up(up(axes.inner.size, size), short)))
    block = each * size
    blocks = up(axes.inner.size, block)
    cycles = row * band * min(1.0, block / axes.inner.size) + RESULT_CYCLES
    item_outer = max(1, min(axes.outer, int(MAP_ITEM_CYCLES / cycles)))
    return Cut(bands, band, blocks, block, item_outer)


def _step(call: _Call, kernel: ReduceKernel, cut: Cut, barrier: bool, part: int = 0) -> Step:
    """part: elements from one partial result of an outer index to the next."""
    axes = call.axes
    reduced = axes.reduced or (Axis(1, True, (0,) * len(axes.inner.strides)),)
    given: dict[str, Argument] = {
        "outer": axes.outer,
        "item_outer": cut.item_outer,
        "bands": cut.bands,
        "band": cut.band,
        "last": prod(axis.size for axis in (reduced[:-1] or reduced)),
        "blocks": cut.blocks,
        "block": cut.block,
        "inner": axes.inner.size,
        "rows": reduced[-1].size,
        "part": part,
        "count": scale_bits(call.dtype, call.count),
    }
    given |= {f"in{i}": array for i, array in enumerate(call.inputs)}
    given |= {f"out{i}": array for i, array in enumerate(call.outputs)}
    given |= {f"rows{i}": axis.size for i, axis in enumerate(reduced[:-1])}
    names = [*(f"in{i}" for i in range(len(call.inputs))), "out"]
    given |= kept_strides(axes.kept, names)
    for j, axis in enumerate(reduced):
        walked = (i for i, one in enumerate(kernel.inputs) if one.rows)
        given |= {f"in{i}_rows{j}": axis.strides[i] for i in walked}
    items = up(axes.outer, cut.item_outer) * cut.parts
    return kernel.step(items, call.title, barrier=barrier, **given)
