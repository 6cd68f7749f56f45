"""The code of depthwise convolution with channels first: lanes are positions of a row.

A tile is one or two rows, which read rows of the input in common, by a few vectors of positions.
Rows of taps go through tables, as in ``kernel``; where none of a pair's lies in the padding, they
are in the code one after the other. Vectors of the input are loaded where a tap reads them; at the
ends of a row lanes are masked, so that nothing is read outside it. With a stride of two along the
row, two vectors are loaded for every second element of both, which serve two taps; their lanes stay
in the order that takes one shuffle until a sum is stored. Where zeros are between the elements
(``Window.every``), each vector has the positions of one phase, which are put between those of the
others as they are stored.
"""

from collections.abc import Iterator, Sequence

from faltung.codegen.copies import interleaved
from faltung.codegen.ir import Index
from faltung.codegen.tile import Accumulators
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.epilogue import Epilogue, Finish, finished
from faltung.methods.base.epilogue_arrays import EpilogueKernel
from faltung.methods.base.kernel import Arguments
from faltung.methods.grouped.columns import ENTRY, RANGE, ROW, whole
from faltung.methods.grouped.lanes import lane_order

# Where the loads of a tile lie, from that of its first position's first tap, and which lanes of
# each are in the row: None for all.
Loads = tuple[tuple[int, tuple[bool, ...] | None], ...]


@dataclass(frozen=True)
class PlaneTile:
    """``vectors`` of positions, the last of which may be cut; ``loads``: those with masks."""

    positions: int
    masked: Loads


@dataclass(frozen=True)
class PlanesKernel(EpilogueKernel):
    """``rows``: of a tile; ``taps``: of a row, ``stride``, ``dilation`` and ``every`` (as in
    ``Window``) along it; ``start``: of the row's first input before its first position; ``runs``:
    the tiles of a row (tile, first position, how many); ``across``, ``lonely``: as in
    ``GroupedKernel``.
    """

    name = "planes"
    pointers = ("x", "w", "bias", "rows", "ranges", "entries")
    numbers = ("groups", "row_count", "row_parts", "x_batch", "x_group", "plane_taps")
    output_numbers = ("batch", "group", "position")

    dtype: str
    rows: int
    taps: int
    stride: int
    dilation: int
    every: int
    start: int
    runs: tuple[tuple[PlaneTile, int, int], ...]
    across: tuple[tuple[int, int], ...] | None
    lonely: bool
    epilogue: Epilogue | None = None
    aux_steps: tuple[int, ...] = ()

    @property
    def plane_arguments(self) -> list[tuple[str, str]]:
        """What the function of some rows of a plane takes."""
        return [
            *(("ptr", name) for name in self.pointers),
            *(("ptr", name) for name in self.outputs),
            *(("i64", name) for name in ("first", "stop")),
            *(("i64", f"{name}_position") for name in self.outputs),
        ]

    def functions(self, code: Functions) -> None:
        _plane(code.open("plane", self.plane_arguments), self)

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        with f.loop("%begin", "%end") as item:
            plane, part = f.divmod(item.index, given["row_parts"])
            sample, group = f.divmod(plane, given["groups"])
            ends = [f.mul(f.add(part, i), given["row_count"]) for i in range(2)]
            first, stop = (f.divmod(end, given["row_parts"])[0] for end in ends)
            call = {**given, "first": first, "stop": stop}
            for name in ("x", *self.outputs):
                at = given.offset(name, batch=sample, group=group)
                call[name] = v.at(given[name], at)
            call["w"] = v.at(given["w"], f.mul(group, given["plane_taps"]))
            call["bias"] = v.at(given["bias"], group)
            f.call("plane", [(kind, call[name]) for kind, name in self.plane_arguments])


def _plane(v: Vectors, kernel: PlanesKernel) -> None:
    """The rows from ``first`` to ``stop`` of a plane."""
    f, outputs = v.function, kernel.outputs
    with f.loop("%first", "%stop") as row:
        entry = f.at("%rows", f.mul(row.index, ROW + 2 * len(outputs)), "i64")
        ranges = f.at("%ranges", f.mul(f.word(entry, 1), RANGE), "i64")
        at = {
            (name, r): v.at(f"%{name}", f.word(entry, ROW + 2 * i + r))
            for i, name in enumerate(outputs)
            for r in range(kernel.rows)
        }
        here = _Rows(v, kernel, v.at("%x", f.word(entry, 0)), ranges, f.word(entry, 2), at)
        if kernel.across is None:
            here.write(False)
        else:
            f.choose(
                whole(f, ranges, here.last, kernel.across),
                lambda: here.write(True),
                lambda: here.write(False),
            )


@dataclass(frozen=True)
class _Rows:
    """One row, or a pair: ``x``: of the first input; ``at``: of the outputs, by array and row."""

    v: Vectors
    kernel: PlanesKernel
    x: str
    ranges: str
    last: str
    at: dict[tuple[str, int], str]

    def write(self, straight: bool) -> None:
        v, kernel = self.v, self.kernel
        for tile, first, count in kernel.runs:
            x = v.at(self.x, (first * kernel.stride - kernel.start) // kernel.every)
            at = {
                (name, r): v.at(start, v.function.mul(f"%{name}_position", first))
                for (name, r), start in self.at.items()
            }
            if count == 1:
                self._tile(tile, x, at, straight)
                continue
            moving: list[tuple[str, Index]] = [(x, tile.positions * kernel.stride // kernel.every)]
            for (name, _), start in at.items():
                step = v.function.mul(f"%{name}_position", tile.positions)
                moving.append((start, step))
            with v.walk(0, count, moving, runs=True) as walk:
                x_now, *now = walk.values
                self._tile(tile, x_now, dict(zip(at, now, strict=True)), straight)

    def _tile(
        self, tile: PlaneTile, x: str, at: dict[tuple[str, int], str], straight: bool
    ) -> None:
        unit = self.v.lanes * self.kernel.every
        vectors = -(-tile.positions // unit) * self.kernel.every
        reader = _Reader(self.v, self.kernel, tile, vectors)
        acc = self._straight(reader, x) if straight else self._looped(reader, x)
        self._store(tile, acc, at)

    def _straight(self, reader: "_Reader", x: str) -> Accumulators:
        v, f, kernel = self.v, self.v.function, self.kernel
        assert kernel.across is not None
        acc = [[v.zero] * reader.vectors for _ in range(kernel.rows)]
        entries = f.at("%entries", f.mul(f.word(self.ranges, 0), ENTRY), "i64")
        for i, both in enumerate(kernel.across):
            entry = f.at(entries, ENTRY * i, "i64")
            rows = [r for r, tap in enumerate(both) if tap >= 0]
            weights = [v.at("%w", f.word(entry, 1 + r)) for r in rows]
            reader.row(v.at(x, f.word(entry, 0)), weights, [acc[r] for r in rows])
        return acc

    def _looped(self, reader: "_Reader", x: str) -> Accumulators:
        v, f, kernel, size = self.v, self.v.function, self.kernel, reader.vectors
        groups = [(0,), (0, 1), (1,)] if kernel.rows > 1 else [(0,)]
        with f.loop(0, self.last, v.carried([v.zero] * (kernel.rows * size))) as taps:
            here = f.at(self.ranges, f.mul(taps.index, RANGE), "i64")
            at, values = f.word(here, 0), taps.values
            for i, rows in enumerate(groups):
                stop = f.add(at, f.word(here, 1 + i))
                with f.loop(at, stop, v.carried(values)) as tap:
                    entry = f.at("%entries", f.mul(tap.index, ENTRY), "i64")
                    acc = [tap.values[r * size : (r + 1) * size] for r in range(kernel.rows)]
                    weights = [v.at("%w", f.word(entry, 1 + r)) for r in rows]
                    reader.row(v.at(x, f.word(entry, 0)), weights, [acc[r] for r in rows])
                    tap.carry([value for row in acc for value in row])
                at, values = stop, tap.results
            taps.carry(values)
        acc = [taps.results[r * size : (r + 1) * size] for r in range(kernel.rows)]
        if kernel.lonely:  # summed once, stored twice
            alone = f.value(f"icmp eq ptr {self.at['out', 0]}, {self.at['out', 1]}")
            acc[1] = [
                f.value(f"select i1 {alone}, {v.type} {a}, {v.type} {b}")
                for a, b in zip(*acc, strict=True)
            ]
        return acc

    def _store(self, tile: PlaneTile, acc: Accumulators, at: dict[tuple[str, int], str]) -> None:
        """Add the bias, finish, store: everything is read before anything is written."""
        v, kernel, bias = self.v, self.kernel, self.v.broadcast("%bias")
        order = [lane_order(v).index(i) for i in range(v.lanes)]
        rows = [self._ordered(row) for row in acc]
        places = [
            (r, q * v.lanes)
            for r, row in enumerate(rows)
            for q in range(len(row))
            if q * v.lanes < tile.positions
        ]

        def sums() -> Iterator[tuple[Finish, str, str | None]]:
            for r, first in places:
                arrays = tuple(at[name, r] for name in kernel.outputs[1:])
                end = Finish(v, kernel.epilogue, kernel.aux_steps, arrays)
                value = rows[r][first // v.lanes]
                total = v.shuffle(value, value, order) if kernel.stride == 2 else value
                mask = v.first(tile.positions - first)
                yield end.moved("position", first), v.add(total, bias), mask

        for (r, first), value in zip(places, [*finished(sums(), "position")], strict=True):
            v.store_first(value, v.at(at["out", r], first), tile.positions - first)

    def _ordered(self, sums: Sequence[str]) -> list[str]:
        """Vectors of neighbouring positions."""
        every = self.kernel.every
        parts = [sums[i : i + every] for i in range(0, len(sums), every)]
        return [one for part in parts for one in (interleaved(self.v, part) if every > 1 else part)]


# Loads --------------------------------------------------------------------------------------------


def needed(
    tap: int, vector: int, stride: int, dilation: int, lanes: int, every: int = 1, phase: int = 0
) -> tuple[int, ...]:
    """Where the vectors begin from which a tap of a vector of positions is read; even taps begin at
    an element that is theirs, odd ones are beside it. ``every``, ``phase``: as in
    ``GroupedKernel``; there are as many vectors of each phase, one after the other.
    """
    offset = tap * dilation
    if every > 1:
        number, own = divmod(vector, every)
        place, rest = divmod(own + offset + phase, every)
        return () if rest else (number * lanes + place,)
    if stride == 1:
        return (vector * lanes + offset,)
    begin = 2 * vector * lanes + offset - offset % 2
    return begin, begin + lanes


@dataclass(frozen=True)
class _Reader:
    """Multiplies the taps of a row."""

    v: Vectors
    kernel: PlanesKernel
    tile: PlaneTile
    vectors: int

    def row(self, x: str, weights: Sequence[str], rows: Sequence[list[str]]) -> None:
        """All taps of one row of the input, for the sums ``rows``."""
        # With a stride of two, both taps that read the same vectors, one after the other.
        together = 2 if (self.kernel.stride, self.kernel.dilation) == (2, 1) else 1
        for first in range(0, self.kernel.taps, together):
            self._taps(range(first, min(first + together, self.kernel.taps)), x, weights, rows)

    def _taps(
        self, taps: Sequence[int], x: str, weights: Sequence[str], rows: Sequence[list[str]]
    ) -> None:
        v, kernel = self.v, self.kernel
        factors = {k: [v.broadcast(v.at(w, k)) for w in weights] for k in taps}
        for q in range(self.vectors):
            loaded: dict[int, str | None] = {}
            for k in taps:
                phase = -kernel.start % kernel.every
                steps = kernel.stride, kernel.dilation
                places = needed(k, q, *steps, v.lanes, kernel.every, phase)
                loaded |= {at: self._load(x, at) for at in places if at not in loaded}
                read = [loaded[at] for at in places]
                if not any(read):
                    continue
                value = read[0] or v.zero
                if kernel.stride == 2:
                    odd = k * kernel.dilation % 2
                    lanes = [2 * i + odd for i in lane_order(v)]
                    value = v.shuffle(value, read[1] or v.zero, lanes)
                for row, factor in zip(rows, factors[k], strict=True):
                    row[q] = v.multiply_add(value, factor, row[q])

    def _load(self, x: str, offset: int) -> str | None:
        """A vector of the input; None where none of its lanes is in the row."""
        lanes = dict(self.tile.masked).get(offset)
        if lanes is not None and not any(lanes):
            return None
        mask = None if lanes is None else self.v.mask(lanes)
        return self.v.load(self.v.at(x, offset), mask)
