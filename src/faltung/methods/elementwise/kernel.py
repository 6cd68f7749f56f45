"""The kernels of `pointwise`: formulas and partial sums in one pass over a map.

`Rows`: items are bands of rows by blocks of channels; partial sums lie in memory, a row for each
band, and stay in the first cache. `Flat`: the whole map is one row, and items are parts of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faltung.codegen.ir import Function, Module
from faltung.machine.table import Machine
from faltung.methods.elementwise.elements import Elements, Some, Spot, Turn
from faltung.methods.elementwise.totals import finisher

FLAT = ("length", "chunk")
ROWS = ("samples", "positions", "channels", "step", "bands", "band", "blocks", "block")


def _opened(symbol: str, asked: Elements, machine: Machine) -> tuple[Module, Function]:
    """A module with what is finished at once, and the function of the kernel."""
    module = Module()
    for kind, recipe in asked.totals:
        finisher(module, machine, recipe, f"finish_{kind}", alone=True)
    arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
    return module, module.function(symbol, arguments, public=True)


@dataclass(frozen=True)
class Flat:
    """Everything lies in one row: all inputs are full, scalars or keys, all sums scalars."""

    asked: Elements

    @property
    def symbol(self) -> str:
        return f"pointwise_flat_{self.asked.dtype}"

    @property
    def words(self) -> tuple[str, ...]:
        """Of the pass; those of what is finished at once follow."""
        asked = self.asked
        counts = {"in": len(asked.kinds), "out": len(asked.outputs), "sum": len(asked.sums)}
        named = (f"{name}{i}" for name, count in counts.items() for i in range(count))
        return (*FLAT, *named)

    def emit(self, machine: Machine) -> str:
        module, f = _opened(self.symbol, self.asked, machine)
        _flat(f, Turn(f, machine, self.asked, self.words))
        return str(module)


def _flat(f: Function, turn: Turn) -> None:
    """Items are chunks of one long row; its last vector is masked. Sums stay in registers."""
    v, asked = turn.v, turn.asked
    length, chunk = turn.words.number("length"), turn.words.number("chunk")
    size = asked.unroll * v.lanes

    def spot(element: str) -> Spot:
        full = {i: v.at(turn.inputs[i], element) for i in asked.of("full")}
        return Spot(full, [v.at(base, element) for base in turn.outputs], element)

    with f.loop("%begin", "%end") as item:
        first = f.opaque(f.mul(item.index, chunk))
        last = f.minimum(f.add(first, chunk), length)
        whole = f.opaque(_whole(f, first, last, size))
        with f.loop(first, whole, [(v.type, v.zero)] * len(turn.sums), step=size) as i:
            spots = [spot(f.add(i.index, n * v.lanes)) for n in range(asked.unroll)]
            found = turn.write(spots, {}, None)
            i.carry([v.add(a, b) for a, b in zip(i.values, found, strict=True)])
        carried = [(v.type, value) for value in i.results]
        with f.loop(whole, last, carried, step=v.lanes) as i:
            mask = v.below(f.sub(last, i.index))
            found = [turn.alone(value, mask) for value in turn.write([spot(i.index)], {}, mask)]
            i.carry([v.add(a, b) for a, b in zip(i.values, found, strict=True)])
        for base, value in zip(turn.sums, i.results, strict=True):
            v.store(value, v.at(base, f.mul(item.index, turn.line)))
        turn.finish("scalar", "0", "0", "1")


def _whole(f: Function, first: str, last: str, size: int) -> str:
    """The end of the whole pieces of ``size`` from ``first`` on."""
    pieces = f.value(f"sdiv i64 {f.sub(last, first)}, {size}")
    return f.add(first, f.mul(pieces, size))


@dataclass(frozen=True)
class Rows:
    """Rows of channels, ``tail`` of them beyond the last whole vector."""

    asked: Elements
    tail: int

    @property
    def symbol(self) -> str:
        return f"pointwise_rows_{self.asked.dtype}"

    @property
    def words(self) -> tuple[str, ...]:
        """Of the pass; those of what is finished at once follow."""
        asked = self.asked
        found = [*ROWS, "pitch"]
        for i, kind in enumerate(asked.kinds):
            found += [f"in{i}", f"in{i}.pitch"] if kind in ("full", "sample") else [f"in{i}"]
        for i in range(len(asked.outputs)):
            found += [f"out{i}", f"out{i}.pitch"]
        return (*found, *(f"sum{i}" for i in range(len(asked.sums))))

    def emit(self, machine: Machine) -> str:
        module, f = _opened(self.symbol, self.asked, machine)
        _RowLoops(f, Turn(f, machine, self.asked, self.words), self.tail).write()
        return str(module)


class _RowLoops:
    """Items are bands of rows by blocks of channels.

    A band is ``step`` whole samples, or one of the ``bands`` parts of a sample of ``band`` rows.
    """

    def __init__(self, f: Function, turn: Turn, tail: int) -> None:
        self.f = f
        self.turn = turn
        self.tail = tail
        number, asked = turn.words.number, turn.asked
        self.n = {name: number(name) for name in (*ROWS, "pitch")}
        with_pitch = (*asked.of("full"), *asked.of("sample"))
        self.pitches = {i: number(f"in{i}.pitch") for i in with_pitch}
        self.out_pitches = [number(f"out{i}.pitch") for i in range(len(asked.outputs))]

    def write(self) -> None:
        f, n, turn = self.f, self.n, self.turn
        with f.loop("%begin", "%end") as item:
            band, block = f.divmod(item.index, n["blocks"])
            group, part = f.divmod(band, n["bands"])
            self.first, self.last = self._range(block, n["block"], n["channels"])
            self.whole = _whole(f, self.first, self.last, turn.v.lanes)
            rows = self._range(part, n["band"], n["positions"])
            sums = {"channel": band, "scalar": item.index}
            self._clear(sums)
            with f.loop(*self._range(group, n["step"], n["samples"])) as sample:
                sums["sample"] = f.add(f.mul(sample.index, n["bands"]), part)
                self._clear({"sample": sums["sample"]})
                self._sample(sample.index, rows, sums)
                turn.finish("sample", sample.index, self.first, self.last)
            turn.finish("channel", "0", self.first, self.last)
            turn.finish("scalar", "0", "0", "1")

    def _range(self, number: str, size: str, limit: str) -> tuple[str, str]:
        first = self.f.mul(number, size)
        return first, self.f.minimum(self.f.add(first, size), limit)

    def _partial(self, i: int, sums: Mapping[str, str]) -> str:
        """The row of partial sums that sum ``i`` adds to."""
        kind = self.turn.asked.sums[i][0]
        pitch = self.turn.line if kind == "scalar" else self.n["pitch"]
        return self.turn.v.at(self.turn.sums[i], self.f.mul(sums[kind], pitch))

    def _clear(self, sums: Mapping[str, str]) -> None:
        """Zeros in the block's partial sums of these kinds."""
        v, kinds = self.turn.v, [kind for kind, _ in self.turn.asked.sums]
        rows = {i: self._partial(i, sums) for i, kind in enumerate(kinds) if kind in sums}
        for i, row in rows.items():
            if kinds[i] == "scalar":
                v.store(v.zero, row)
        if any(kinds[i] != "scalar" for i in rows):
            with self.f.loop(self.first, self.last, step=v.lanes) as c:
                for i, row in rows.items():
                    if kinds[i] != "scalar":
                        v.store(v.zero, v.at(row, c.index))

    def _sample(self, sample: str, rows: tuple[str, str], sums: Mapping[str, str]) -> None:
        """The rows of a band in one sample: turns of several rows, then single ones."""
        f, turn = self.f, self.turn
        partial = [self._partial(i, sums) for i in range(len(turn.sums))]
        beside = {i: turn.inputs[i] for i in turn.asked.of("channel")}
        for i in turn.asked.of("sample"):
            beside[i] = turn.v.at(turn.inputs[i], f.mul(sample, self.pitches[i]))
        base = f.mul(sample, self.n["positions"])
        count, (first, last) = turn.asked.unroll, rows
        middle = _whole(f, first, last, count)
        for start, stop, size in [(first, middle, count), (middle, last, 1)][: min(count, 2)]:
            with f.loop(start, stop, step=size) as row:
                self._columns(f.add(base, row.index), size, beside, partial)

    def _columns(
        self, row: str, count: int, beside: Mapping[int, str], partial: Sequence[str]
    ) -> None:
        """All channels of the block, of ``count`` rows at once."""
        f, v, asked = self.f, self.turn.v, self.turn.asked
        inputs = {
            i: self._down(self.turn.inputs[i], row, self.pitches[i], count)
            for i in asked.of("full")
        }
        outputs = [
            self._down(base, row, pitch, count)
            for base, pitch in zip(self.turn.outputs, self.out_pitches, strict=True)
        ]
        # The numbers of elements, where somebody asks for them.
        keyed = range(count if asked.of("key") else 0)
        elements = [f.mul(f.add(row, r), self.n["channels"]) for r in keyed]

        def turn(c: str, some: Some) -> None:
            spots = [
                Spot(
                    {i: v.at(rows[r], c) for i, rows in inputs.items()},
                    [v.at(rows[r], c) for rows in outputs],
                    f.add(elements[r], c) if elements else None,
                )
                for r in range(count)
            ]
            shared = {i: self.turn.load(v.at(base, c), some) for i, base in beside.items()}
            self._add(self.turn.write(spots, shared, some), partial, c, some)

        with f.loop(self.first, self.whole, step=v.lanes) as column:
            turn(column.index, None)
        if self.tail:
            with f.when(f.value(f"icmp slt i64 {self.whole}, {self.last}")):
                turn(self.whole, self.tail)

    def _add(self, found: Sequence[str], partial: Sequence[str], c: str, some: Some) -> None:
        """Add what a turn has found to the partial sums.

        Lanes beyond the channels have sums of their own, which nobody reads; in a scalar they
        would meet the others.
        """
        v = self.turn.v
        for (kind, _), value, row in zip(self.turn.asked.sums, found, partial, strict=True):
            scalar = kind == "scalar"
            at = row if scalar else v.at(row, c)
            v.store(v.add(v.load(at), self.turn.alone(value, some) if scalar else value), at)

    def _down(self, base: str, row: str, pitch: str, count: int) -> list[str]:
        """The addresses of ``count`` rows of a map."""
        found = [self.turn.v.at(base, self.f.mul(row, pitch))]
        for _ in range(count - 1):
            found.append(self.turn.v.at(found[-1], pitch))
        return found
