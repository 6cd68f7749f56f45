"""The code of ``weight_grad``: a tile of sums over a band of positions.

Rows of a tile are broadcast from the array ``a``, columns are vectors of the array ``b``; where
lanes are positions both are vectors, and the lanes are summed at the end.
"""

from functools import partial

from faltung.codegen.ir import parameters
from faltung.codegen.tile import Accumulators, accumulate, outer_product, zeros
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.band_sums import store_sum
from faltung.methods.base.kernel import Arguments, Kernel

# Columns of the tables: of tiles (kind, offset in ``a``, first row); of segments at each tap of the
# last axis (offsets in both arrays, positions); of ranges of pairs (first, how many); of pairs
# (offsets in both arrays).
TILE, SEGMENT, RANGE = 3, 3, 2
TILE_FUNCTION = parameters(["a", "b", "sums", "pairs"], ["first", "count", "length", "band", "row"])


@dataclass(frozen=True)
class WeightGradKernel(Kernel):
    """For each band, rows of all samples by a segment of the last axis: items -> (group, block of
    ``b``, tap, tile of rows), each one tile over the band.

    kinds: for each kind of tile the offsets of its rows in ``a``. columns: offsets of the vectors
    in ``b``; ``lanes``: how many lanes of the last one exist. a_pitch, b_pitch: elements from one
    position to the next. space: lanes are positions.
    """

    name = "weight_grad"
    pointers = ("a", "b", "sums", "tiles", "segments", "pair_ranges", "pairs", "places")
    numbers = (
        *("blocks", "tap_count", "tile_count", "bands", "row_segments"),
        *("a_group", "b_group", "b_block", "inner_taps"),
        # Where sums lie: elements between groups, blocks and rows; those of taps are ``places``.
        *("sums_group", "sums_block", "row"),
    )

    dtype: str
    kinds: tuple[tuple[int, ...], ...]
    columns: tuple[int, ...]
    lanes: int
    a_pitch: int
    b_pitch: int
    space: bool

    def functions(self, code: Functions) -> None:
        for number, rows in enumerate(self.kinds):
            self._tile(code.open(f"tile{number}", TILE_FUNCTION), rows)

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        with f.loop(0, given["bands"]) as band, f.loop("%begin", "%end") as item:
            row_band, segment = f.divmod(band.index, given["row_segments"])
            rest, tile = f.divmod(item.index, given["tile_count"])
            rest, tap = f.divmod(rest, given["tap_count"])
            group, block = f.divmod(rest, given["blocks"])
            outer_tap, inner_tap = f.divmod(tap, given["inner_taps"])
            rows = f.at(given["tiles"], f.mul(tile, TILE), "i64")
            number = f.add(f.mul(segment, given["inner_taps"]), inner_tap)
            read = f.at(given["segments"], f.mul(number, SEGMENT), "i64")
            outer_taps = f.value(f"sdiv i64 {given['tap_count']}, {given['inner_taps']}")
            number = f.add(f.mul(row_band, outer_taps), outer_tap)
            pairs = f.at(given["pair_ranges"], f.mul(number, RANGE), "i64")
            a = f.add(f.mul(group, given["a_group"]), f.word(rows, 1))
            a = f.add(a, f.word(read, 0))
            b = f.add(f.mul(group, given["b_group"]), f.mul(block, given["b_block"]))
            b = f.add(b, f.word(read, 1))
            sums = f.add(f.mul(group, given["sums_group"]), f.mul(block, given["sums_block"]))
            sums = f.add(sums, f.word(given["places"], tap))
            sums = f.add(sums, f.mul(f.word(rows, 2), given["row"]))
            here = {
                "a": v.at(given["a"], a),
                "b": v.at(given["b"], b),
                "sums": v.at(given["sums"], sums),
                "pairs": given["pairs"],
                "first": f.word(pairs, 0),
                "count": f.word(pairs, 1),
                "length": f.word(read, 2),
                "band": band.index,
                "row": given["row"],
            }
            call = [(kind, here[name]) for kind, name in TILE_FUNCTION]
            f.call_one(f.word(rows, 0), [f"tile{n}" for n in range(len(self.kinds))], call)

    def _tile(self, v: Vectors, rows: tuple[int, ...]) -> None:
        f = v.function

        def add(acc: Accumulators, pair: str) -> Accumulators:
            at = list(v.pair("%pairs", pair, "%a", "%b"))
            if not self.space:
                return self._positions(v, rows, at, acc, ("0", "%length"), None)[1]
            whole = v.whole("%length")
            at, acc = self._positions(v, rows, at, acc, ("0", whole), None)
            some = f.value(f"icmp slt i64 {whole}, %length")
            stop = f.value(f"select i1 {some}, i64 {f.add(whole, 1)}, i64 {whole}")
            mask = v.below(f.sub("%length", whole))
            return self._positions(v, rows, at, acc, (whole, stop), mask)[1]

        last = f.add("%first", "%count")
        start = zeros(v, len(rows), len(self.columns))
        self._store(v, accumulate(v, start, ("%first", last), [], add)[1])

    def _positions(
        self,
        v: Vectors,
        rows: tuple[int, ...],
        addresses: list[str],
        acc: Accumulators,
        bounds: tuple[str, str],
        mask: str | None,
    ) -> tuple[list[str], Accumulators]:
        """Positions within ``bounds`` of one pair of rows; a vector of them an iteration where
        lanes are positions. addresses: in ``a`` and ``b``.
        """
        step = v.lanes if self.space else 1

        def load_a(a: str, p: int) -> str:
            at = v.at(a, rows[p])
            return v.load(at, mask) if self.space else v.broadcast(at)

        def load_b(b: str, q: int) -> str:
            last = q == len(self.columns) - 1
            lanes = mask if self.space else v.first(self.lanes) if last else None
            return v.load(v.at(b, self.columns[q]), lanes)

        def add(acc: Accumulators, _: str, a: str, b: str) -> Accumulators:
            return outer_product(v, acc, partial(load_a, a), partial(load_b, b))

        steps = (step * self.a_pitch, step * self.b_pitch)
        moving = list(zip(addresses, steps, strict=True))
        return accumulate(v, acc, bounds, moving, add, step=step)

    def _store(self, v: Vectors, acc: list[list[str]]) -> None:
        """The first band stores, later ones add."""
        f = v.function
        later, line = f.value("icmp ne i64 %band, 0"), "%sums"
        for row in acc:
            for q, value in enumerate(row):
                if self.space:
                    at = v.at(line, q)
                    before = v.load_one(at)
                    total = v.total(value)
                    summed = f.value(f"{v.prefix}add {v.element} {before}, {total}")
                    chosen = f"select i1 {later}, {v.element} {summed}, {v.element} {total}"
                    v.store_one(f.value(chosen), at)
                else:
                    mask = v.first(self.lanes) if q == len(row) - 1 else None
                    store_sum(v, later, value, v.at(line, q * v.lanes), mask)
            line = v.at(line, "%row")
