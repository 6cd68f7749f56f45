"""The code and steps that transform the tiles of one array for the weight gradient.

Each axis is a loop over the other axes of a tile: little code, shared by all sizes. A row of a tile
that lies in zeros is not read; where single entries of a row do, they are loaded from another place
of the tile and their bits cleared, so that no memory outside of the array is touched and a NaN
stays away.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from math import prod

import numpy as np

from faltung.codegen.ir import Index, parameters
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.machine.costs import LINE_BYTES
from faltung.methods.base.addresses import crossed, scaled
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.epilogue_arrays import Strided
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import MISSING, Argument, Step, Table, Work, table
from faltung.methods.winograd.transforms import Matrix, nested, product, reader, scratch, stacked

# Tiles of a block of channels in one item.
ITEM_TILES = 16

_TILE = parameters(["source", "target", "rows", "column"], ["point"])


@dataclass(frozen=True)
class WeightGradTiles(Kernel):
    """Tiles of an array with channels contiguous -> (point, block of channels, tile, lane). Items
    are (group, block of channels, ``range`` tiles).

    ``matrices``: of each axis, points by entries. ``lanes``: channels of the last block of a group.

    ``group``: elements of the source between groups; ``block``, ``point``: of the target between
    blocks and points.
    """

    name = "winograd_weight_grad_tiles"
    pointers = ("source", "target", "tiles", "rows", "columns")
    numbers = ("blocks", "ranges", "range", "first", "count", "group", "block", "point")

    dtype: str
    matrices: tuple[Matrix, ...]
    lanes: int

    def _kinds(self, lanes: int) -> list[tuple[bool, bool]]:
        """Of tiles: single entries of rows are missing, the block is the last one, which is not
        whole.
        """
        kinds = [(False, False), (True, False)]
        return kinds + [(False, True), (True, True)] * (self.lanes < lanes)

    def functions(self, code: Functions) -> None:
        for border, last in self._kinds(code.machine.lanes(self.dtype)):
            self._tile(code.open(_name(border, last), _TILE), border, last)

    def body(self, v: Vectors, given: Arguments) -> None:
        f, kinds = v.function, self._kinds(v.lanes)
        entries = [len(matrix[0]) for matrix in self.matrices]
        with f.loop("%begin", "%end") as item:
            pair, number = f.divmod(item.index, given["ranges"])
            group, block = f.divmod(pair, given["blocks"])
            first = f.mul(number, given["range"])
            stop = f.minimum(f.add(first, given["range"]), given["count"])
            source = f.add(f.mul(group, given["group"]), f.mul(block, v.lanes))
            base = v.at(given["source"], source)
            target = v.at(given["target"], f.mul(pair, given["block"]))
            last = f.value(f"icmp eq i64 {f.add(block, 1)}, {given['blocks']}")
            after = f.mul(f.value(f"zext i1 {last} to i64"), 2)
            with f.loop(first, stop) as tile:
                entry = f.at(given["tiles"], f.mul(f.add(given["first"], tile.index), 3), "i64")
                rows = f.at(given["rows"], f.mul(f.word(entry, 1), prod(entries[:-1])), "i64")
                width = _columns_width(entries[-1])
                column = f.at(given["columns"], f.mul(f.word(entry, 2), width), "i64")
                arguments: list[tuple[str, Index]] = [
                    ("ptr", v.at(base, f.word(entry, 0))),
                    ("ptr", v.at(target, f.mul(tile.index, v.lanes))),
                    ("ptr", rows),
                    ("ptr", column),
                    ("i64", given["point"]),
                ]
                kind = f.word(column, 0)
                if len(kinds) > 2:
                    kind = f.add(kind, after)
                f.call_one(kind, [_name(*k) for k in kinds], arguments)

    def _tile(self, v: Vectors, border: bool, last_block: bool) -> None:
        """One tile of one block of channels. ``border``: single entries of rows are missing."""
        f = v.function
        *outer, last = self.matrices
        rows, made, entries = prod(len(matrix[0]) for matrix in outer), len(last), len(last[0])
        memory = stacked(v, (rows + scratch(outer)) * made)
        columns = [f.word("%column", 1 + i) for i in range(entries)]
        masks = [_bits(v, f.word("%column", 1 + entries + i)) for i in range(entries * border)]
        exist = v.first(self.lanes) if last_block else None

        def store(results: Sequence[tuple[Index, str]]) -> None:
            for point, value in results:
                v.store(value, v.at("%target", f.mul(point, "%point")))

        def put(row: Index, results: Sequence[str]) -> None:
            if not outer:
                store(list(enumerate(results)))
            for i, value in enumerate(results if outer else ()):
                v.store(value, v.at(memory, f.mul(f.add(f.mul(row, made), i), v.lanes)))

        with f.loop(0, rows, runs=True) if rows > 1 else f.once() as row:
            where = f.word("%rows", row.index)
            nothing = f.value(f"icmp eq i64 {where}, {MISSING}")
            with f.when(f.value(f"xor i1 {nothing}, 1")) if outer else nullcontext():
                source = v.at("%source", where)
                values = [v.load(v.at(source, column), exist) for column in columns]
                if border:
                    values = [_kept(v, *pair) for pair in zip(values, masks, strict=True)]
                put(row.index, product(v, last, values))
            if outer:
                with f.when(nothing):
                    put(row.index, [v.zero] * made)
        if outer:
            between = v.at(memory, rows * made * v.lanes)
            nested(v, outer, reader(v, memory), store, between, made)


def _name(border: bool, last_block: bool) -> str:
    return f"tile{'_border' * border}{'_last' * last_block}"


def _columns_width(entries: int) -> int:
    """Numbers of a tile of the last axis: whether entries are missing, offsets, bits to keep."""
    return 1 + 2 * entries


def _bits(v: Vectors, word: str) -> str:
    """A word of zeros or ones in every lane."""
    narrow = word if v.bytes == 8 else v.function.value(f"trunc i64 {word} to {v.integer}")
    return v.spread(narrow, v.integer)


def _kept(v: Vectors, value: str, bits: str) -> str:
    kept = v.function.value(f"and {v.integers} {v.bits(value)}, {bits}")
    return v.function.value(f"bitcast {v.integers} {kept} to {v.type}")


# The steps ----------------------------------------------------------------------------------------


class Tiles:
    """The transformed tiles of one of the two arrays in the making, at the most ``longest`` of them
    in a pass.

    axes: of each the step, the positions of all tiles' entries, -1 for zeros, and the matrix.
    """

    def __init__(
        self,
        c: Correlation,
        work: Work,
        title: str,
        array: Strided,
        axes: Sequence[tuple[int, Table, Matrix]],
        longest: int,
        lanes: int,
    ) -> None:
        size, matrices = c.item_bytes, tuple(matrix for _, _, matrix in axes)
        points, blocks = prod(map(len, matrices)), -(-array.channels // lanes)
        block = longest * lanes
        # An odd number of cache lines, so that the points of a tile cause no set conflicts.
        point = (-(-block * blocks * c.groups * size // LINE_BYTES) | 1) * LINE_BYTES
        # Of all axes but the last, for each tile the offsets of its rows.
        rows = crossed(scaled(positions, step) for step, positions, _ in axes[:-1])
        columns = _columns(*axes[-1][:2])
        # Of each tile the offset of its sample, its number among rows, and among columns.
        numbers = np.indices((c.batch, len(rows), len(columns))).reshape(3, -1).T
        tiles = numbers * (array.batch, 1, 1)
        self._kernel = WeightGradTiles(c.dtype, matrices, array.channels - (blocks - 1) * lanes)
        self._title = f"winograd_weight_grad {title} tiles"
        self._blocks = c.groups * blocks
        self._given: dict[str, Argument] = {
            **{"source": array.array, "rows": rows, "columns": columns},
            "target": work.borrow(f"{title} tiles", points * point),
            "tiles": table(tiles, 3),
            **{"blocks": blocks, "range": ITEM_TILES, "group": array.group},
            **{"block": block, "point": point // size},
        }

    def step(self, first: int, stop: int, barrier: bool) -> Step:
        """Tiles ``first`` to ``stop``."""
        count, ranges = stop - first, -(-(stop - first) // ITEM_TILES)
        given = {**self._given, "ranges": ranges, "first": first, "count": count}
        return self._kernel.step(self._blocks * ranges, self._title, barrier=barrier, **given)

    def arguments(self, name: str) -> dict[str, Argument]:
        """Where the tiles lie, for the kernel of the sums, which calls them ``name``."""
        given = self._given
        blocks = {f"{name}_{of}": given[of] for of in ("blocks", "block", "point")}
        return {name: given["target"], **blocks}


def _columns(step: int, positions: Table) -> Table:
    """The last axis: for each tile whether an entry is missing, offsets, and bits to keep.

    What is missing is read somewhere else.
    """
    there = positions >= 0
    elsewhere = np.maximum(positions.max(axis=1, keepdims=True), 0)
    entries = np.where(there, positions, elsewhere) * step
    some = ~there.all(axis=1, keepdims=True)
    rows = np.concatenate([some, entries, -there.astype(np.int64)], axis=1)
    return table(rows, _columns_width(positions.shape[1]))
