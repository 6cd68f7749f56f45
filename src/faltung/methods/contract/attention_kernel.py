"""The code of ``attention``: for a block of queries the scores, their softmax, the weighted values.

An item goes over units, each a block of queries of one head of one sample, with a lane for each
query. Its scores lie in scratch memory key by key: the largest score of every query and the sum of
its powers are then vectors, nothing is added across lanes, and the sums over the keys that follow
broadcast them one after the other.
"""

from collections.abc import Sequence
from math import inf

from faltung.codegen import math
from faltung.codegen.copies import RowMask, transpose_square
from faltung.codegen.ir import parameters
from faltung.codegen.tile import Accumulators, accumulate, broadcast_product, parts, rows_for, zeros
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.kernel import Arguments, Kernel, part

# Columns of the table of heads: offsets in q, k, v and the result; then those in each mask.
HEAD = 4
PACK = parameters(["q", "panel"], ["count", "length", "q_step"])
SCORES = parameters(["k", "panel", "scores"], ["length"])
ROWS = parameters(["source", "target"], ["keys", "step", "length"])
MASK = parameters(["mask", "scores"], ["count", "seen", "mask_query", "mask_key"])
SOFTMAX = parameters(["scores", "inverse"], ["seen", "first"])
VALUES = parameters(["weights", "v", "inverse", "out"], ["left", "seen", "v_step", "out_step"])
STORE = parameters(["scores", "inverse", "out"], ["count", "seen", "out_step"])


@dataclass(frozen=True)
class AttentionKernel(Kernel):
    """vectors: of queries in a block. key_rows: keys of a tile of scores; ``key_step``: elements
    from key to key. widths: channels of a tile of the result, and of a last, narrower one, where
    there is one; none where the weights themselves are stored.

    packed: keys and values are copied to where they are contiguous, once for all blocks of a head
    that an item has. masks: how each lies, as ``attention.py`` says. causal: query i sees keys 0 to
    i + ``offset`` of the call.
    """

    name = "attention"
    pointers = ("q", "k", "v", "out", "scratch", "heads")
    numbers = (
        *("units", "items", "blocks", "queries", "keys", "length", "scratch_size"),
        *("block_size", "value_blocks", "k_step", "q_step", "v_step", "out_step", "offset"),
    )

    dtype: str
    vectors: int
    key_rows: int
    key_step: int
    widths: tuple[int, ...]
    scale: float
    softcap: float
    masks: tuple[str, ...]
    causal: bool
    packed: bool

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        names = [f"mask{i}" for i in range(len(self.masks))]
        steps = (f"{name}_{of}" for name in names for of in ("query", "key"))
        return (*self.pointers, *names), (*self.numbers, *steps)

    def functions(self, code: Functions) -> None:
        _pack(code.open("pack", PACK), self)
        self._scores(code.open("score", SCORES))
        if self.packed:
            _copy_rows(code.open("keep_keys", ROWS))
            for number, channels in enumerate(self.widths):
                _copy_columns(code.open(f"keep_values{number}", ROWS), channels)
        for how in sorted(set(self.masks)):
            _add_mask(code.open(f"add_{how}", MASK), how, self.vectors)
        self._softmax(code.open("softmax", SOFTMAX))
        if not self.widths:
            _store_weights(code.open("store", STORE), self)
        for number, channels in enumerate(self.widths):
            for rows in sorted({rows for _, rows in self.tiles(code.machine)}):
                self._values(code.open(f"values{rows}_{number}", VALUES), rows, channels)

    def tiles(self, machine: Machine) -> list[tuple[int, int]]:
        """First query and queries of each tile of a block."""
        lanes = machine.lanes(self.dtype)
        most = max(-(-width // lanes) for width in self.widths)
        return parts(self.vectors * lanes, rows_for(machine, most))

    def _scores(self, v: Vectors) -> None:
        """A tile: ``key_rows`` keys, all queries of the block."""
        width = self.vectors * v.lanes
        offsets = [p * self.key_step for p in range(self.key_rows)]

        def add(acc: Accumulators, _: str, k: str, panel: str) -> Accumulators:
            return broadcast_product(v, acc, k, offsets, panel)

        start = zeros(v, self.key_rows, self.vectors)
        moving = [("%k", 1), ("%panel", width)]
        acc = accumulate(v, start, (0, "%length"), moving, add, runs=True)[1]
        for p, row in enumerate(acc):
            for q, total in enumerate(row):
                if self.softcap:
                    inside = v.div(total, v.constant(self.softcap))
                    total = v.mul(math.tanh(v, inside), v.constant(self.softcap))
                v.store(total, v.at("%scores", p * width + q * v.lanes))

    def _softmax(self, v: Vectors) -> None:
        """Scores -> powers, and what turns those into weights. A query without keys has none."""
        f, width, low = v.function, self.vectors * v.lanes, v.constant(-inf)
        first = v.spread(f.value(f"sitofp i64 %first to {v.element}"))
        limits = [v.add(first, _numbers(v, q * v.lanes)) for q in range(self.vectors)]

        def seen(key: str, q: int, value: str, otherwise: str) -> str:
            if not self.causal:
                return value
            here = v.spread(f.value(f"sitofp i64 {key} to {v.element}"))
            return v.select(v.compare("ole", here, limits[q]), value, otherwise)

        def places(row: str) -> list[str]:
            return [v.at(row, q * v.lanes) for q in range(self.vectors)]

        carried = [("ptr", "%scores"), *v.carried([low] * self.vectors)]
        with f.loop(0, "%seen", carried) as key:
            row, *best = key.values
            found = [seen(key.index, q, v.load(at), low) for q, at in enumerate(places(row))]
            best = [v.max(a, b) for a, b in zip(best, found, strict=True)]
            key.carry([v.at(row, width), *best])
        top = [v.select(v.compare("oeq", t, low), v.zero, t) for t in key.results[1:]]
        carried = [("ptr", "%scores"), *v.carried([v.zero] * self.vectors)]
        with f.loop(0, "%seen", carried) as key:
            row, *sums = key.values
            for q, at in enumerate(places(row)):
                power = math.exp_down(v, v.sub(v.load(at), top[q]))
                power = seen(key.index, q, power, v.zero)
                v.store(power, at)
                sums[q] = v.add(sums[q], power)
            key.carry([v.at(row, width), *sums])
        for q, total in enumerate(key.results[1:]):
            inverse = v.div(v.constant(1.0), total)
            none = v.compare("oeq", total, v.zero)
            v.store(v.select(none, v.zero, inverse), v.at("%inverse", q * v.lanes))

    def _values(self, v: Vectors, rows: int, channels: int) -> None:
        """A tile of the result: ``rows`` queries, of which ``left`` exist."""
        f, vectors, width = v.function, -(-channels // v.lanes), self.vectors * v.lanes
        masks = None if self.packed else [v.first(channels - q * v.lanes) for q in range(vectors)]
        step = _wide(v, channels) if self.packed else "%v_step"

        def add(acc: Accumulators, _: str, weights: str, values: str) -> Accumulators:
            return broadcast_product(v, acc, weights, range(rows), values, masks)

        moving = [("%weights", width), ("%v", step)]
        acc = accumulate(v, zeros(v, rows, vectors), (0, "%seen"), moving, add)[1]
        for p, row in enumerate(acc):
            with f.when(f.value(f"icmp sgt i64 %left, {p}")):
                inverse = v.broadcast(v.at("%inverse", p))
                out = v.at("%out", f.mul("%out_step", p))
                for q, total in enumerate(row):
                    lanes = min(v.lanes, channels - q * v.lanes)
                    v.store_first(v.mul(total, inverse), v.at(out, q * v.lanes), lanes)

    def body(self, v: Vectors, given: Arguments) -> None:
        f, width = v.function, self.vectors * v.lanes
        first, stop = part(f, given["units"], given["items"], "%begin", "%end")
        panel = v.at(given["scratch"], f.mul("%begin", given["scratch_size"]))
        inverse = v.at(panel, f.mul(given["length"], width))
        scores = v.at(inverse, width)
        kept = v.at(panel, given["block_size"])
        with f.loop(first, stop, [("i64", "-1")]) as unit:
            head, block = f.divmod(unit.index, given["blocks"])
            entry = f.at(given["heads"], f.mul(head, HEAD + len(self.masks)), "i64")
            query = f.mul(block, width)
            count = f.minimum(f.sub(given["queries"], query), width)
            here = dict(given) | {"panel": panel, "inverse": inverse, "scores": scores}
            here |= {"count": count, "first": f.add(query, given["offset"])}
            for i, name in enumerate(("q", "k", "v", "out")):
                here[name] = v.at(given[name], f.word(entry, i))
            for name in ("q", "out"):
                here[name] = v.at(here[name], f.mul(query, given[f"{name}_step"]))
            here["seen"] = self._seen(v, given, here["first"])
            if self.packed:
                self._keep(v, here, kept, f.value(f"icmp ne i64 {head}, {unit.values[0]}"))
            unit.carry([head])
            f.call_with("pack", PACK, here)
            self._score_tiles(v, here)
            for i, how in enumerate(self.masks):
                step = given[f"mask{i}_query"]
                place = f.add(f.word(entry, HEAD + i), f.mul(query, step))
                here |= {"mask": v.at(given[f"mask{i}"], place), "mask_query": step}
                here["mask_key"] = given[f"mask{i}_key"]
                f.call_with(f"add_{how}", MASK, here)
            f.call_with("softmax", SOFTMAX, here)
            if self.widths:
                self._value_tiles(v, here)
            else:
                f.call_with("store", STORE, here)

    def _keep(self, v: Vectors, here: dict[str, str], kept: str, other: str) -> None:
        """Copy keys, and values in panels as wide as their tiles, of a head that is ``other`` than
        that of the unit before.
        """
        f, keys = v.function, here["keys"]
        values = v.at(kept, f.mul(keys, here["length"]))
        with f.when(other):
            given = here | {"source": here["k"], "target": kept, "step": here["k_step"]}
            f.call_with("keep_keys", ROWS, given)
            given["step"] = here["v_step"]
            at, target = here["v"], values
            for number, channels in enumerate(self.widths):
                count = here["value_blocks"] if not number else "1"
                size = f.mul(keys, _wide(v, channels))
                with v.walk(0, count, [(at, channels), (target, size)]) as block:
                    at, target = block.values
                    now = given | {"source": at, "target": target}
                    f.call_with(f"keep_values{number}", ROWS, now)
                at, target = block.results
        here |= {"k": kept, "v": values}

    def _seen(self, v: Vectors, given: Arguments, first: str) -> str:
        """Keys that any query of the block sees, but those of a tile at least."""
        if not self.causal or not self.widths:
            return given["keys"]
        f = v.function
        last = f.add(first, self.vectors * v.lanes)
        return f.minimum(given["keys"], f.maximum(last, self.key_rows))

    def _score_tiles(self, v: Vectors, here: dict[str, str]) -> None:
        """The last tile ends with the last key, and may compute some keys a second time."""
        f, width = v.function, self.vectors * v.lanes
        last = f.sub(here["seen"], self.key_rows)
        with f.loop(0, here["seen"], step=self.key_rows) as tile:
            key = f.minimum(tile.index, last)
            now = {
                "k": v.at(here["k"], f.mul(key, self.key_step)),
                "scores": v.at(here["scores"], f.mul(key, width)),
            }
            f.call_with("score", SCORES, here | now)

    def _value_tiles(self, v: Vectors, here: dict[str, str]) -> None:
        f = v.function
        size = str(self.widths[0])
        if self.packed:
            size = f.mul(here["keys"], _wide(v, self.widths[0]))
        for first, rows in self.tiles(v.machine):
            left = f.sub(here["count"], first)
            now = here | {
                "left": left,
                "weights": v.at(here["scores"], first),
                "inverse": v.at(here["inverse"], first),
                "out": v.at(here["out"], f.mul(here["out_step"], first)),
            }
            with f.when(f.value(f"icmp sgt i64 {left}, 0")):
                moving = [(here["v"], size), (now["out"], str(self.widths[0]))]
                with v.walk(0, here["value_blocks"], moving) as block:
                    at, out = block.values
                    f.call_with(f"values{rows}_0", VALUES, now | {"v": at, "out": out})
                if len(self.widths) > 1:
                    at, out = block.results
                    f.call_with(f"values{rows}_1", VALUES, now | {"v": at, "out": out})


def _wide(v: Vectors, channels: int) -> int:
    """Of a panel of so many channels."""
    return -(-channels // v.lanes) * v.lanes


def _copy_rows(v: Vectors) -> None:
    """Rows of ``length`` elements, ``step`` apart, one behind the other."""
    f, whole = v.function, v.whole("%length")
    mask = v.below(f.sub("%length", whole))
    with v.walk(0, "%keys", [("%source", "%step"), ("%target", "%length")]) as row:
        source, target = row.values
        with f.loop(0, whole, step=v.lanes) as at:
            v.store(v.load(v.at(source, at.index)), v.at(target, at.index))
        with f.loop(whole, "%length", step=v.lanes) as at:
            v.store(v.load(v.at(source, at.index), mask), v.at(target, at.index), mask)


def _copy_columns(v: Vectors, channels: int) -> None:
    """The same of so many channels, in whole vectors."""
    with v.walk(0, "%keys", [("%source", "%step"), ("%target", _wide(v, channels))]) as row:
        source, target = row.values
        for start in range(0, channels, v.lanes):
            value = v.load(v.at(source, start), v.first(channels - start))
            v.store(value, v.at(target, start))


def _numbers(v: Vectors, start: int) -> str:
    """``start``, ``start + 1``, ... in the lanes."""
    numbers = ", ".join(f"{v.element} {float(start + i):e}" for i in range(v.lanes))
    return f"<{numbers}>"


def _pack(v: Vectors, kernel: AttentionKernel) -> None:
    """Queries as a panel: term after term, a lane for each; those that do not exist are zero."""
    f, width = v.function, kernel.vectors * v.lanes
    scale = v.constant(kernel.scale)
    for q in range(kernel.vectors):
        rows = f.sub("%count", q * v.lanes)
        begin = v.at("%q", f.mul("%q_step", q * v.lanes))
        with f.loop(0, "%length", step=v.lanes) as at:
            corner, left = v.at(begin, at.index), f.sub("%length", at.index)
            target = v.at(v.at("%panel", q * v.lanes), f.mul(at.index, width))

            def read(mask: RowMask, corner: str = corner) -> Sequence[str]:
                row, found = corner, []
                for i in range(v.lanes):
                    found.append(v.load(row, mask(i)))
                    row = v.at(row, "%q_step")
                return found

            def store(i: int, column: str, mask: str | None, target: str = target) -> None:
                v.store(v.mul(column, scale), v.at(target, i * width))

            transpose_square(v, f.minimum(left, rows), left, read, store, rows=rows)


def _add_mask(v: Vectors, how: str, vectors: int) -> None:
    """Add a mask to the scores: each of its rows belongs to a query, a lane here."""
    width = vectors * v.lanes
    for q in range(vectors):
        rows = v.function.sub("%count", q * v.lanes)
        scores = v.at("%scores", q * v.lanes)
        mask = v.at("%mask", v.function.mul("%mask_query", q * v.lanes))
        if how == "keys":
            _mask_squares(v, mask, scores, rows, width)
        else:
            _mask_keys(v, how, mask, scores, rows, width)


def _mask_keys(v: Vectors, how: str, mask: str, scores: str, rows: str, width: int) -> None:
    """Key by key: one number for all queries, or one for each."""
    lanes = v.below(v.function.maximum(rows, 0))
    with v.walk(0, "%seen", [(scores, width), (mask, "%mask_key")]) as key:
        at, place = key.values
        if how == "same":
            term = v.broadcast(place)
        elif how == "queries":
            term = v.load(place, lanes)
        else:
            term = v.gather(place, "%mask_query", lanes)
        v.store(v.add(v.load(at), term), at)


def _mask_squares(v: Vectors, mask: str, scores: str, rows: str, width: int) -> None:
    """Keys are contiguous in the mask: squares of it are transposed in registers."""
    f = v.function
    with f.loop(0, "%seen", step=v.lanes) as at:
        corner, left = v.at(mask, at.index), f.sub("%seen", at.index)
        target = v.at(scores, f.mul(at.index, width))

        def read(lanes: RowMask) -> Sequence[str]:
            row, found = corner, []
            for i in range(v.lanes):
                found.append(v.load(row, lanes(i)))
                row = v.at(row, "%mask_query")
            return found

        def store(i: int, column: str, lanes: str | None) -> None:
            place = v.at(target, i * width)
            v.store(v.add(v.load(place), column), place)

        transpose_square(v, f.minimum(left, rows), left, read, store, rows=rows)


def _store_weights(v: Vectors, kernel: AttentionKernel) -> None:
    """Powers, key by key, as weights, query by query."""
    f, width = v.function, kernel.vectors * v.lanes
    for q in range(kernel.vectors):
        columns = f.sub("%count", q * v.lanes)
        inverse = v.load(v.at("%inverse", q * v.lanes))
        begin = v.at("%out", f.mul("%out_step", q * v.lanes))
        with f.loop(0, "%seen", step=v.lanes) as at:
            left = f.sub("%seen", at.index)
            source = v.at(v.at("%scores", q * v.lanes), f.mul(at.index, width))
            target = v.at(begin, at.index)

            def read(mask: RowMask, source: str = source, inverse: str = inverse) -> Sequence[str]:
                rows = (v.load(v.at(source, i * width), mask(i)) for i in range(v.lanes))
                return [v.mul(row, inverse) for row in rows]

            def store(i: int, row: str, mask: str | None, target: str = target) -> None:
                v.store(row, v.at(target, f.mul("%out_step", i)), mask)

            transpose_square(
                v, f.minimum(left, columns), columns, read, store, rows=left, stored=left
            )
