"""Tiles of the input, transformed: the first stage of minimal filtering.

For each tile a line of channels for each of its points, one behind the other: a thread that
multiplies them later reads them as one stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from faltung.codegen.ir import Function, Index, Module
from faltung.codegen.vectors import ELEMENTS, Vectors
from faltung.machine.table import Machine
from faltung.methods.base.parameters import Words
from faltung.methods.base.step import MISSING
from faltung.methods.winograd.matrix_lines import nested, scratch
from faltung.methods.winograd.points import Matrix, transform

Sizes = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class TransformInput:
    """``sizes``: (m, r) of each axis; ``channels`` of the input; ``pitch``: elements from one tile
    to the next, ``line`` from one point of a tile to the next.
    """

    dtype: str
    sizes: Sizes
    channels: int
    line: int
    pitch: int

    @property
    def symbol(self) -> str:
        return f"winograd_input_{self.dtype}"

    def words(self) -> tuple[str, ...]:
        """``first``: the number of the first tile; ``tiles0``, ...: tiles of each axis."""
        counts = (f"tiles{i}" for i in range(len(self.sizes)))
        return ("x", "to", "zeros", "table", "first", "batch", *counts)

    def emit(self, machine: Machine) -> str:
        module = Module()
        f = module.function(
            self.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
        )
        word = Words(f, self.words())
        element = ELEMENTS[self.dtype][0]
        matrices = matrices_of(self.sizes, "bt")
        points = count(matrices)
        addresses = f.value(f"alloca [{points} x ptr], align 8")
        x, to, zeros = (word.pointer(name) for name in ("x", "to", "zeros"))
        with f.loop("%begin", "%end") as item:
            number = f.add(item.index, word.number("first"))
            sample, tables = tile_tables(f, word, self.sizes, number, "alpha")
            base = f.at(x, f.mul(sample, word.number("batch")), element)
            alphas = [m + r - 1 for m, r in self.sizes]
            fill_addresses(f, element, base, zeros, tables, alphas, addresses)
            tile = f.at(to, f.mul(item.index, self.pitch), element)
            f.call("tile", [("ptr", addresses), ("ptr", tile)])
        _tile(module, machine, self, matrices)
        return str(module)


def matrices_of(sizes: Sizes, name: str) -> list[Matrix]:
    """The matrices of the axes that have any: "bt", "g" or "at"."""
    found = [transform(m, r) for m, r in sizes if m + r > 2]
    return [getattr(t, name) for t in found]


def count(matrices: Sequence[Matrix]) -> int:
    """Points of a tile: what the matrices ``bt`` make."""
    total = 1
    for matrix in matrices:
        total *= len(matrix)
    return total


def tile_tables(
    f: Function, word: Words, sizes: Sizes, number: str, entries: str, name: str = "table"
) -> tuple[str, list[str]]:
    """The sample of a tile, and for each axis where its entries stand in the table.

    ``entries``: "alpha" or "m", how many of them a tile has.
    """
    rest, places = number, []
    for i in reversed(range(len(sizes))):
        rest, at = f.divmod(rest, word.number(f"tiles{i}"))
        places.append(at)
    table, found = word.pointer(name), []
    for i, ((m, r), at) in enumerate(zip(sizes, reversed(places), strict=True)):
        size = m + r - 1 if entries == "alpha" else m
        found.append(f.at(table, f.mul(at, size), "i64"))
        table = f.at(table, f.mul(word.number(f"tiles{i}"), size), "i64")
    return rest, found


def fill_addresses(
    f: Function,
    element: str,
    base: str,
    missing: str,
    tables: Sequence[str],
    sizes: Sequence[int],
    to: str,
) -> None:
    """Write the addresses of a tile's entries, in row order; ``missing`` where an axis has none."""

    def level(axis: int, offset: str, absent: str | None, place: Index) -> None:
        if axis == len(sizes):
            there = f.at(base, offset, element)
            chosen = (
                there
                if absent is None
                else f.value(f"select i1 {absent}, ptr {missing}, ptr {there}")
            )
            f.emit(f"store ptr {chosen}, ptr {f.at(to, place, 'ptr')}, align 8")
            return
        size = sizes[axis]

        def inside(i: Index) -> None:
            entry = f.word(tables[axis], i)
            none = f.value(f"icmp eq i64 {entry}, {MISSING}")
            either = none if absent is None else f.value(f"or i1 {absent}, {none}")
            total = entry if offset == "0" else f.add(offset, entry)
            nearer = i if str(place) == "0" else f.add(f.mul(place, size), i)
            level(axis + 1, total, either, nearer)

        if size == 1:
            inside(0)
        else:
            with f.loop(0, size, runs=True) as turn:
                inside(turn.index)

    level(0, "0", None, 0)


def _tile(
    module: Module, machine: Machine, recipe: TransformInput, matrices: Sequence[Matrix]
) -> None:
    f = module.function("tile", [("ptr", "addresses"), ("ptr", "to")])
    v = Vectors(f, machine, recipe.dtype)
    between = f.value(
        f"alloca [{max(1, scratch(matrices))} x {v.type}], align {machine.vector_bytes}"
    )
    whole, rest = divmod(recipe.channels, v.lanes)

    def channels(first: Index, mask: str | None) -> None:
        def load(place: Index) -> str:
            address = f.value(f"load ptr, ptr {f.at('%addresses', place, 'ptr')}, align 8")
            return v.load(v.at(address, first), mask)

        def store(results: Sequence[tuple[Index, str]]) -> None:
            for place, value in results:
                line = place * recipe.line if isinstance(place, int) else f.mul(place, recipe.line)
                v.store(value, v.at(v.at("%to", line), first))

        nested(v, matrices, load, store, between)

    if whole:
        with f.loop(0, whole, runs=True) as turn:
            channels(f.mul(turn.index, v.lanes), None)
    if rest:
        channels(whole * v.lanes, v.first(rest))
