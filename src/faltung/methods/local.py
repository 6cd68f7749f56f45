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

import itertools
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from faltung.codegen.ir import Module
from faltung.codegen.tile import budget, flat, outer_product, rows_for, shaped, split, zeros
from faltung.codegen.vectors import Vectors
from faltung.geometry.conv import ConvSpec
from faltung.machine.table import Machine
from faltung.methods.local_places import forward_places, input_places, weight_places
from faltung.methods.step import Operand, Step, Word, Work, shifted, table

# Rows of a tile at the most: each needs a register for its address.
MOST = 8
# Rows below which the memory is the limit.
FEW = 12
# Columns of a tile whose lanes are added.
COLUMNS = 4
# Tiles in one item of work.
SEGMENT = 16


# The recipe ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Local:
    """``rows``: the numbers of rows of tiles; ``blocks``: their output elements of one row.

    ``dots``: both operands are vectors along the sum, which ends in a vector of ``tail`` lanes (0
    for a whole one); otherwise ``a`` is broadcast and the output elements are the lanes.
    """

    dtype: str
    rows: tuple[int, ...]
    blocks: tuple[int, ...]
    dots: bool
    tail: int
    bias: bool

    @property
    def symbol(self) -> str:
        return f"local_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        for number, (block, rows) in enumerate(itertools.product(self.blocks, self.rows)):
            v = Vectors(module.function(f"tile{number}", TILE), machine, self.dtype)
            (_dots if self.dots else _outer)(v, self, rows, block)
        _driver(module, machine, self)
        return str(module)


ADDRESSES = ("a", "b", "bias", "out", "places", "patterns", "blocks", "segments")
WORDS = (
    *ADDRESSES,
    *("block_count", "segment_count", "b_block", "bias_place", "inner"),
    *("a_row", "a_inner", "b_inner", "out_row"),
)
TILE = [
    *(("ptr", name) for name in ("a", "b", "bias", "out", "pattern")),
    *(("i64", name) for name in ("entries", "inner", "a_row", "a_inner", "b_inner", "out_row")),
]


def _driver(module: Module, machine: Machine, recipe: Local) -> None:
    """Items -> (place of the output, block of its elements, run of tiles) -> tiles."""
    f = module.function(
        recipe.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
    )
    v = Vectors(f, machine, recipe.dtype)
    word = {
        name: f.pointer("%words", i) if name in ADDRESSES else f.word("%words", i)
        for i, name in enumerate(WORDS)
    }
    with f.loop("%begin", "%end") as item:
        rest, run = f.divmod(item.index, word["segment_count"])
        number, part = f.divmod(rest, word["block_count"])
        place = f.at(word["places"], f.mul(number, 5), "i64")
        block = f.at(word["blocks"], f.mul(part, 2), "i64")
        segment = f.at(word["segments"], f.mul(run, 3), "i64")
        first, row = f.word(block, 1), f.word(segment, 2)
        along_b = f.add(f.word(place, 1), f.mul(first, word["b_block"]))
        along_out = f.add(f.add(f.word(place, 2), first), f.mul(row, word["out_row"]))
        at = {
            "a": v.at(word["a"], f.add(f.word(place, 0), f.mul(row, word["a_row"]))),
            "b": v.at(word["b"], along_b),
            "bias": v.at(word["bias"], f.add(f.mul(number, word["bias_place"]), first)),
            "out": v.at(word["out"], along_out),
            "pattern": f.at(word["patterns"], f.mul(f.word(place, 3), 2), "i64"),
            "entries": f.word(place, 4),
        }
        kind = f.add(f.mul(f.word(block, 0), len(recipe.rows)), f.word(segment, 0))
        count = f.word(segment, 1)

        def tiles(number: int, rows: int) -> None:
            with f.loop(0, count, [("ptr", at["a"]), ("ptr", at["out"])], runs=True) as turn:
                here = {**word, **at, "a": turn.values[0], "out": turn.values[1]}
                f.call(f"tile{number}", [(type_, here[name]) for type_, name in TILE])
                onward = (f.mul(word[name], rows) for name in ("a_row", "out_row"))
                turn.carry([v.at(p, by) for p, by in zip(turn.values, onward, strict=True)])

        kinds = enumerate(itertools.product(recipe.blocks, recipe.rows))
        f.switch(kind, [partial(tiles, n, rows) for n, (_, rows) in kinds])


def _multiples(v: Vectors, step: str, count: int) -> list[str]:
    return ["0", *(v.function.mul(step, i) for i in range(1, count))]


def _outer(v: Vectors, recipe: Local, rows: int, block: int) -> None:
    """``out[p][q] = bias[q] + sum of a[p] * b[q]``, q along the lanes."""
    f = v.function
    columns = -(-block // v.lanes)
    masks = [v.first(block - q * v.lanes) for q in range(columns)]
    down = _multiples(v, "%a_row", rows)
    acc = zeros(v, rows, columns)
    with f.loop(0, "%entries", flat(v, acc)) as tap:
        entry = f.at("%pattern", f.mul(tap.index, 2), "i64")
        start = [("ptr", v.at(base, f.word(entry, i))) for i, base in enumerate(("%a", "%b"))]
        carried = [*start, *((v.type, value) for value in tap.values)]
        with f.loop(0, "%inner", carried) as turn:
            a, b = turn.values[:2]
            acc = outer_product(
                v,
                shaped(turn.values[2:], columns),
                lambda p: v.broadcast(v.at(a, down[p])),
                lambda q: v.load(v.at(b, q * v.lanes), masks[q]),
            )
            sums = (value for row in acc for value in row)
            turn.carry([v.at(a, "%a_inner"), v.at(b, "%b_inner"), *sums])
        tap.carry(turn.results[2:])
    acc = shaped(tap.results, columns)
    if recipe.bias:
        bias = [v.load(v.at("%bias", q * v.lanes), masks[q]) for q in range(columns)]
        acc = [[v.add(value, bias[q]) for q, value in enumerate(row)] for row in acc]
    out = "%out"
    for row in acc:
        for q, value in enumerate(row):
            v.store_first(value, v.at(out, q * v.lanes), block - q * v.lanes)
        out = v.at(out, "%out_row")


def _dots(v: Vectors, recipe: Local, rows: int, block: int) -> None:
    """``out[p][q] = sum of a[p] * b[q]`` over lanes and vectors; ``inner`` counts whole vectors."""
    f = v.function
    down, across = _multiples(v, "%a_row", rows), _multiples(v, "%b_inner", block)

    def product(a: str, b: str, values: list[str], mask: str | None) -> list[str]:
        acc = outer_product(
            v,
            shaped(values, block),
            lambda p: v.load(v.at(a, down[p]), mask),
            lambda q: v.load(v.at(b, across[q]), mask),
        )
        return [value for row in acc for value in row]

    with f.loop(0, "%entries", flat(v, zeros(v, rows, block))) as tap:
        entry = f.at("%pattern", f.mul(tap.index, 2), "i64")
        start = [("ptr", v.at(base, f.word(entry, i))) for i, base in enumerate(("%a", "%b"))]
        carried = [*start, *((v.type, value) for value in tap.values)]
        with f.loop(0, "%inner", carried) as turn:
            a, b, *values = turn.values
            turn.carry([v.at(a, v.lanes), v.at(b, v.lanes), *product(a, b, values, None)])
        a, b, *values = turn.results
        tap.carry(product(a, b, values, v.first(recipe.tail)) if recipe.tail else values)
    out = "%out"
    for row in shaped(tap.results, block):
        for q, value in enumerate(row):
            f.emit(f"store {v.element} {v.total(value)}, ptr {v.at(out, q)}, align {v.bytes}")
        out = v.at(out, "%out_row")


# The plan -----------------------------------------------------------------------------------------


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
    after: bool = False,
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
        words: tuple[Word, ...] = (*arrays, places, patterns)
        rows, biased = (spec.batch, outs), bias is not None
        step = _outer_step(
            spec.dtype, machine, words, rows, strides, biased, title, after and not g
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
    after: bool = False,
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
        words: tuple[Word, ...] = (*arrays, places, patterns)
        work.steps.append(_step(recipe, words, runs, blocks, strides, title, after and not g))


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
    after: bool = False,
) -> None:
    """Add the step that computes the gradient for the weight, zeros where taps meet padding."""
    places, patterns = weight_places(_checked(spec), x_pitch, grad_pitch)
    samples = (prod(spec.size) * x_pitch, prod(spec.output) * grad_pitch)
    strides = (1, 0, spec.batch, 1, *samples, spec.channels_out)
    ins, outs = spec.channels_in // spec.groups, spec.channels_out // spec.groups
    for g in range(spec.groups):
        arrays = _at(spec, (x, g * ins), (grad, g * outs), (grad, 0), (out_w, g * outs))
        words: tuple[Word, ...] = (*arrays, places, patterns)
        rows = (ins, outs)
        wait = after and not g
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
    after: bool = False,
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
    work.steps.append(_outer_step(spec.dtype, machine, words, rows, strides, False, title, after))


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
    words: tuple[Word, ...],
    sizes: tuple[int, int],
    strides: tuple[int, ...],
    bias: bool,
    title: str,
    after: bool,
) -> Step:
    """The step whose lanes are output elements; ``sizes``: rows, and elements of one."""
    lanes = machine.lanes(dtype)
    vectors = _vectors(machine, sizes[0], -(-sizes[1] // lanes))
    runs = split(sizes[0], min(MOST, rows_for(machine, vectors)))
    whole, rest = divmod(sizes[1], vectors * lanes)
    blocks = [pair for pair in ((vectors * lanes, whole), (rest, 1)) if all(pair)]
    recipe = Local(dtype, _sizes(runs), _sizes(blocks), False, 0, bias)
    return _step(recipe, words, runs, blocks, strides, title, after)


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
    words: tuple[Word, ...],
    runs: list[tuple[int, int]],
    blocks: list[tuple[int, int]],
    strides: tuple[int, ...],
    title: str,
    after: bool,
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
    numbers: tuple[Word, ...] = (table(parts, 2), table(cut, 3), len(parts), len(cut), *strides)
    return Step(recipe, len(places) * len(parts) * len(cut), (*words, *numbers), title, after)
