"""Tiles of one array transformed: the first half of ``winograd_grad``.

Each pass is a loop over lines of vectors: little code, shared by all sizes. A line that lies in
zeros is not read; where single entries of a line do, they are loaded from another place of the tile
and their bits cleared, so that no memory outside of the array is touched and a NaN stays away.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from math import prod

import numpy as np

from faltung.codegen.ir import Function, Index, Module
from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.machine.table import Machine
from faltung.methods.base.addresses import offsets
from faltung.methods.base.correlation import Correlation, Strides
from faltung.methods.base.parameters import Words, ordered
from faltung.methods.base.step import MISSING, Argument, Operand, Step, Table, Work, table
from faltung.methods.winograd.matrix_lines import nested, product, scratch
from faltung.methods.winograd.points import Matrix

# Tiles of a block of channels in one item of work.
SEGMENT = 16
# Bytes of a cache line.
LINE = 64

ADDRESSES = ("source", "target", "tiles", "lines", "columns")
# Items are (group, block of channels, segment of tiles).
COUNTS = ("blocks", "segments", "segment", "first", "count")
# Elements of the source between groups, of the target between blocks and between points.
WORDS = (*ADDRESSES, *COUNTS, "group", "block", "point")
TILE = [*(("ptr", name) for name in ("source", "target", "lines", "column")), ("i64", "point")]


@dataclass(frozen=True)
class GradTiles:
    """Tiles of an array with its channels side by side -> (point, block of channels, tile, lane).

    ``matrices``: of each axis, points by entries. ``lanes``: channels of the last block of a group.
    """

    dtype: str
    matrices: tuple[Matrix, ...]
    lanes: int

    @property
    def symbol(self) -> str:
        return f"winograd_grad_tiles_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        kinds = [(False, False), (True, False)]
        if self.lanes < machine.lanes(self.dtype):
            kinds += [(False, True), (True, True)]
        for border, tail in kinds:
            _tile(module, machine, self, border, tail)
        _driver(module, machine, self, kinds)
        return str(module)


def columns_width(entries: int) -> int:
    """Numbers of a tile of the last axis: whether entries are missing, offsets, bits to keep."""
    return 1 + 2 * entries


def _name(border: bool, tail: bool) -> str:
    return f"tile{'_border' * border}{'_tail' * tail}"


def _driver(
    module: Module, machine: Machine, recipe: GradTiles, kinds: Sequence[tuple[bool, bool]]
) -> None:
    f = module.function(
        recipe.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
    )
    v = Vectors(f, machine, recipe.dtype)
    words = Words(f, WORDS)
    word = {name: words.pointer(name) for name in ADDRESSES}
    word |= {name: words.number(name) for name in WORDS[len(ADDRESSES) :]}
    entries = [len(matrix[0]) for matrix in recipe.matrices]
    with f.loop("%begin", "%end") as item:
        line, segment = f.divmod(item.index, word["segments"])
        group, block = f.divmod(line, word["blocks"])
        first = f.mul(segment, word["segment"])
        stop = f.minimum(f.add(first, word["segment"]), word["count"])
        source = f.add(f.mul(group, word["group"]), f.mul(block, v.lanes))
        base = v.at(word["source"], source)
        target = v.at(word["target"], f.mul(line, word["block"]))
        last = f.value(f"icmp eq i64 {f.add(block, 1)}, {word['blocks']}")
        tail = f.mul(f.value(f"zext i1 {last} to i64"), 2)
        with f.loop(first, stop) as turn:
            entry = f.at(word["tiles"], f.mul(f.add(word["first"], turn.index), 3), "i64")
            lines = f.at(word["lines"], f.mul(f.word(entry, 1), prod(entries[:-1])), "i64")
            width = columns_width(entries[-1])
            column = f.at(word["columns"], f.mul(f.word(entry, 2), width), "i64")
            arguments: list[tuple[str, Index]] = [
                ("ptr", v.at(base, f.word(entry, 0))),
                ("ptr", v.at(target, f.mul(turn.index, v.lanes))),
                ("ptr", lines),
                ("ptr", column),
                ("i64", word["point"]),
            ]
            kind = f.word(column, 0)
            if len(kinds) > 2:
                kind = f.add(kind, tail)
            calls = [lambda k=k: f.call(_name(*k), arguments) for k in kinds]
            f.switch(kind, calls)


def _tile(module: Module, machine: Machine, recipe: GradTiles, border: bool, tail: bool) -> None:
    """One tile of one block of channels. ``border``: single entries of its lines are missing."""
    f = module.function(_name(border, tail), TILE)
    v = Vectors(f, machine, recipe.dtype)
    *outer, last = recipe.matrices
    lines, made, entries = prod(len(matrix[0]) for matrix in outer), len(last), len(last[0])
    room = (lines + scratch(outer)) * made
    memory = f.value(f"alloca [{room} x {v.type}], align {v.lanes * v.bytes}")
    columns = [f.word("%column", 1 + i) for i in range(entries)]
    masks = [_bits(v, f.word("%column", 1 + entries + i)) for i in range(entries * border)]
    exist = v.first(recipe.lanes) if tail else None

    def store(results: Sequence[tuple[Index, str]]) -> None:
        for point, value in results:
            v.store(value, v.at("%target", f.mul(point, "%point")))

    def put(line: Index, results: Sequence[str]) -> None:
        if not outer:
            store(list(enumerate(results)))
        for i, value in enumerate(results if outer else ()):
            v.store(value, v.at(memory, f.mul(f.add(f.mul(line, made), i), v.lanes)))

    with f.loop(0, lines, runs=True) if lines > 1 else f.once() as line:
        where = f.word("%lines", line.index)
        nothing = f.value(f"icmp eq i64 {where}, {MISSING}")
        with f.when(f.value(f"xor i1 {nothing}, 1")) if outer else nullcontext():
            row = v.at("%source", where)
            values = [v.load(v.at(row, column), exist) for column in columns]
            if border:
                values = [_kept(v, *pair) for pair in zip(values, masks, strict=True)]
            put(line.index, product(v, last, values))
        if outer:
            with f.when(nothing):
                put(line.index, [v.zero] * made)
    if outer:
        between = v.at(memory, lines * made * v.lanes)
        nested(
            v,
            outer,
            lambda place: v.load(v.at(memory, f.mul(place, v.lanes))),
            store,
            between,
            made,
        )


def _integers(v: Vectors) -> str:
    return f"<{v.lanes} x i{8 * v.bytes}>"


def _bits(v: Vectors, word: str) -> str:
    """A word of zeros or ones in every lane."""
    f: Function = v.function
    kind = f"i{8 * v.bytes}"
    return v.spread(word if kind == "i64" else f.value(f"trunc i64 {word} to {kind}"), kind)


def _kept(v: Vectors, value: str, bits: str) -> str:
    f = v.function
    number = f.value(f"bitcast {v.type} {value} to {_integers(v)}")
    kept = f.value(f"and {_integers(v)} {number}, {bits}")
    return f.value(f"bitcast {_integers(v)} {kept} to {v.type}")


# The steps ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class View:
    """One of the two arrays: its strides (batch, group, channel), and of each axis the step and the
    positions of all tiles' entries, -1 for zeros.
    """

    array: Operand
    strides: Strides
    steps: tuple[int, ...]
    positions: tuple[Table, ...]


@dataclass(frozen=True, slots=True)
class Tiles:
    """Transformed tiles in the making. ``block``, ``point``: elements between these in ``target``.

    ``words``: all but those that change from go to go.
    """

    title: str
    recipe: GradTiles
    lines: int
    words: dict[str, Argument]
    target: Operand
    block: int
    point: int

    def step(self, first: int, stop: int, barrier: bool) -> Step:
        """Tiles ``first`` to ``stop``."""
        segments = -(-(stop - first) // SEGMENT)
        more = {"segments": segments, "first": first, "count": stop - first}
        words = ordered(WORDS, {**self.words, **more})
        return Step(self.recipe, self.lines * segments, words, self.title, barrier)


def tiles_of(
    c: Correlation,
    work: Work,
    title: str,
    view: View,
    channels: int,
    matrices: tuple[Matrix, ...],
    longest: int,
    lanes: int,
) -> Tiles:
    """The tiles of an array with ``channels`` a group, at the most ``longest`` of them in a go."""
    size, points = ELEMENTS[c.dtype][1], prod(len(matrix) for matrix in matrices)
    blocks = -(-channels // lanes)
    block = longest * lanes
    # An odd number of cache lines, so that a tile's points do not meet in a few sets of the cache.
    point = (-(-block * blocks * c.groups * size // LINE) | 1) * LINE
    target = Operand(work.borrow(f"{title} tiles", points * point))
    lines = _lines(view.positions[:-1], view.steps[:-1])
    columns = _columns(view.positions[-1], view.steps[-1])
    words: dict[str, Argument] = {
        **{"source": view.array, "target": target, "lines": lines, "columns": columns},
        **{"tiles": _tiles(c.batch, view.strides[0], len(lines), len(columns))},
        **{"blocks": blocks, "segment": SEGMENT, "group": view.strides[1]},
        **{"block": block, "point": point // size},
    }
    recipe = GradTiles(c.dtype, matrices, channels - (blocks - 1) * lanes)
    title = f"winograd_grad {title} tiles"
    return Tiles(title, recipe, c.groups * blocks, words, target, block, point // size)


def _tiles(batch: int, sample: int, outer: int, inner: int) -> Table:
    """For each tile the offset of its sample, its number among lines, and among columns."""
    rows = [
        np.repeat(offsets((batch,), (sample,)), outer * inner),
        np.tile(np.repeat(np.arange(outer), inner), batch),
        np.tile(np.arange(inner), batch * outer),
    ]
    return table(np.stack(rows, axis=1), 3)


def _lines(positions: Sequence[Table], steps: Sequence[int]) -> Table:
    """All axes but the last: for each tile the offsets of its lines, MISSING where it is zeros."""
    total, there = np.zeros((1, 1), np.int64), np.ones((1, 1), bool)
    for part, step in zip(positions, steps, strict=True):
        shape = len(total) * len(part), total.shape[1] * part.shape[1]
        total = (total[:, None, :, None] + part[None, :, None, :] * step).reshape(shape)
        there = (there[:, None, :, None] & (part >= 0)[None, :, None, :]).reshape(shape)
    return table(np.where(there, total, MISSING), total.shape[1])


def _columns(positions: Table, step: int) -> Table:
    """The last axis: for each tile whether an entry is missing, offsets, and bits to keep.

    What is missing is read somewhere else.
    """
    there = positions >= 0
    elsewhere = np.maximum(positions.max(axis=1, keepdims=True), 0)
    entries = np.where(there, positions, elsewhere) * step
    some = ~there.all(axis=1, keepdims=True)
    rows = np.concatenate([some, entries, -there.astype(np.int64)], axis=1)
    return table(rows, columns_width(positions.shape[1]))
