"""The code of ``weight_panels``: its walk, and tiles of sums over two panels."""

from collections.abc import Callable
from dataclasses import dataclass

from faltung.codegen.ir import Module
from faltung.codegen.tile import flat, outer_product, shaped, zeros
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.plain.panels_copy import Source, write_broadcasts, write_vectors

# Columns of the tables: of bands (first run, runs, positions); of runs (offsets in both arrays,
# first position in the band, positions); of strips (first row, rows, tiles of each height); of
# chunks (first block of vectors, the one behind the last).
BAND, RUN, STRIP, CHUNK = 3, 4, 4, 2


@dataclass(frozen=True)
class PanelGrad:
    """``heights``: rows of the tiles, one or two kinds. ``vectors``: of a block; ``rest``: channels
    of a last one that is smaller, 0 where there is none.

    ``sources``: the broadcast array and that of the vectors. ``pitch``: positions from row to row
    of the panel of broadcasts.
    """

    dtype: str
    heights: tuple[int, ...]
    vectors: int
    rest: int
    sources: tuple[Source, Source]
    pitch: int

    @property
    def symbol(self) -> str:
        return f"weight_panels_{self.dtype}"

    def widths(self, machine: Machine) -> list[int]:
        """Channels of the kinds of blocks."""
        whole = self.vectors * machine.lanes(self.dtype)
        return [whole, self.rest] if self.rest else [whole]

    def emit(self, machine: Machine) -> str:
        module = Module()
        write_broadcasts(module, machine, self.dtype, self.sources[0], self.pitch, "broadcasts")
        for number, channels in enumerate(self.widths(machine)):
            name = f"vectors{number}"
            write_vectors(module, machine, self.dtype, self.sources[1], channels, name)
            for kind, rows in enumerate(self.heights):
                _tile(module, machine, self, rows, channels, f"tile{kind}{number}")
        _Walk(module, machine, self).write()
        return str(module)


ADDRESSES = ("a", "b", "sums", "panels", "bands", "runs", "strips", "chunks")
WORDS = (
    *ADDRESSES,
    *("band_count", "strip_count", "chunk_count", "blocks"),
    # Elements between groups, and the steps of the copies.
    *("a_group", "a_step", "b_group", "b_step", "sums_group", "row"),
    # Elements of the panels of one call, and of the first of them.
    *("room", "a_room"),
)


class _Walk:
    """For each band: items -> (group, strip of rows, chunk of blocks).

    Panels belong to the call: they lie where its first item says. A strip is laid out once for all
    its chunks, a block for all tiles of the strip, which follow at once.
    """

    def __init__(self, module: Module, machine: Machine, recipe: PanelGrad) -> None:
        arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
        self.f = f = module.function(recipe.symbol, arguments, public=True)
        self.v = Vectors(f, machine, recipe.dtype)
        self.recipe = recipe
        self.widths = recipe.widths(machine)
        self.word = {
            name: f.pointer("%words", i) if name in ADDRESSES else f.word("%words", i)
            for i, name in enumerate(WORDS)
        }

    def write(self) -> None:
        f, word = self.f, self.word
        self.panels = self.v.at(word["panels"], f.mul("%begin", word["room"]))
        with f.loop(0, word["band_count"]) as band:
            span = self._entry("bands", band.index, BAND)
            self.band, self.length, self.run_count = band.index, f.word(span, 2), f.word(span, 1)
            self.runs = self._entry("runs", f.word(span, 0), RUN)
            with f.loop("%begin", "%end", [("i64", "-1")]) as item:
                rows, chunk = f.divmod(item.index, word["chunk_count"])
                group, strip = f.divmod(rows, word["strip_count"])
                here = self._entry("strips", strip, STRIP)
                with f.when(f.value(f"icmp ne i64 {rows}, {item.values[0]}")):
                    self._strip(group, here)
                item.carry([rows])
                self._chunk(group, here, self._entry("chunks", chunk, CHUNK))

    def _entry(self, name: str, number: str, columns: int) -> str:
        return self.f.at(self.word[name], self.f.mul(number, columns), "i64")

    def _strip(self, group: str, strip: str) -> None:
        """The panel of broadcasts."""
        f, v, word = self.f, self.v, self.word
        row = f.mul(f.word(strip, 0), word["a_step"] if self.recipe.sources[0].turned else 1)
        array = v.at(word["a"], f.add(f.mul(group, word["a_group"]), row))
        self._copies("broadcasts", array, 0, self.panels, 1, [("i64", f.word(strip, 1))])

    def _copies(
        self,
        name: str,
        array: str,
        side: int,
        panel: str,
        width: int,
        more: list[tuple[str, str]],
    ) -> None:
        """A panel, run by run; ``width``: its elements from one position to the next."""
        f, v = self.f, self.v
        with f.loop(0, self.run_count) as run:
            entry = f.at(self.runs, f.mul(run.index, RUN), "i64")
            call = [
                ("ptr", v.at(array, f.word(entry, side))),
                ("ptr", v.at(panel, f.mul(f.word(entry, 2), width))),
                ("i64", f.word(entry, 3)),
                ("i64", self.word["ab"[side] + "_step"]),
            ]
            f.call(name, [*call, *more])

    def _chunk(self, group: str, strip: str, chunk: str) -> None:
        """For each block of a chunk: its panel, and all tiles of the strip."""
        f, v, word = self.f, self.v, self.word
        panel = v.at(self.panels, word["a_room"])
        array = v.at(word["b"], f.mul(group, word["b_group"]))
        sums = f.add(f.mul(group, word["sums_group"]), f.mul(f.word(strip, 0), word["row"]))
        sums = v.at(word["sums"], sums)
        last = f.sub(word["blocks"], 1)
        step = word["b_step"] if self.recipe.sources[1].turned else 1
        with f.loop(f.word(chunk, 0), f.word(chunk, 1)) as block:
            first = f.mul(block.index, self.widths[0])
            source, out = v.at(array, f.mul(first, step)), v.at(sums, first)

            def block_of(number: int) -> Callable[[], None]:
                return lambda: self._block(number, source, panel, out, strip)

            number = f.value(f"icmp eq i64 {block.index}, {last}")
            kinds = [block_of(number) for number in range(len(self.widths))]
            f.switch(f.value(f"zext i1 {number} to i64"), kinds)

    def _block(self, number: int, source: str, panel: str, out: str, strip: str) -> None:
        f, v = self.f, self.v
        width = -(-self.widths[number] // v.lanes) * v.lanes
        self._copies(f"vectors{number}", source, 1, panel, width, [])
        a, row = self.panels, self.word["row"]
        for kind, rows in enumerate(self.recipe.heights):
            with f.loop(0, f.word(strip, 2 + kind), [("ptr", a), ("ptr", out)]) as turn:
                a, out = turn.values
                call = [("ptr", a), ("ptr", panel), ("ptr", out)]
                call += [("i64", value) for value in (self.length, row, self.band)]
                f.call(f"tile{kind}{number}", call)
                turn.carry([v.at(a, rows * self.recipe.pitch), v.at(out, f.mul(row, rows))])
            a, out = turn.results


# The tile -----------------------------------------------------------------------------------------

TILE = [
    *(("ptr", name) for name in ("a", "b", "sums")),
    *(("i64", name) for name in ("length", "row", "band")),
]


def _tile(
    module: Module, machine: Machine, recipe: PanelGrad, rows: int, channels: int, name: str
) -> None:
    f = module.function(name, TILE)
    v = Vectors(f, machine, recipe.dtype)
    vectors = -(-channels // v.lanes)
    carried = [("ptr", "%a"), ("ptr", "%b"), *flat(v, zeros(v, rows, vectors))]
    with f.loop(0, "%length", carried, runs=True) as turn:
        a, b = turn.values[:2]
        acc = outer_product(
            v,
            shaped(turn.values[2:], vectors),
            lambda p: v.broadcast(v.at(a, p * recipe.pitch)),
            lambda q: v.load(v.at(b, q * v.lanes)),
        )
        onward = [v.at(a, 1), v.at(b, vectors * v.lanes)]
        turn.carry([*onward, *(value for row in acc for value in row)])
    acc = shaped(turn.results[2:], vectors)
    # The first band stores, later ones add.
    later = f.value("icmp ne i64 %band, 0")
    with f.when(later):
        _store(v, acc, channels, add=True)
    with f.when(f.value(f"xor i1 {later}, true")):
        _store(v, acc, channels, add=False)


def _store(v: Vectors, acc: list[list[str]], channels: int, *, add: bool) -> None:
    line = "%sums"
    for row in acc:
        for q, value in enumerate(row):
            at, lanes = v.at(line, q * v.lanes), min(v.lanes, channels - q * v.lanes)
            total = v.add(v.load(at, v.first(lanes)), value) if add else value
            v.store_first(total, at, lanes)
        line = v.at(line, "%row")
