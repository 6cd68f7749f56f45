"""The kernel of every pooling: positions from tables, taps in two loops, vectors along channels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from faltung.codegen.ir import Function, Module
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.pool_kinds import KINDS, Kind, every, integers

POINTERS = ("source", "target", "index", "rows", "entries", "pieces", "segments")
WORDS = (
    *POINTERS,
    *("row_count", "piece_count", "block_count", "block", "channels"),
    *("source_sample", "target_sample", "source_pitch", "target_pitch"),
    *("source_step", "tap_step"),
)

State = list[tuple[str, str]]  # (type, value) pairs, as loops carry them


@dataclass(frozen=True)
class Pool:
    """``kind``: a row of ``KINDS``. ``narrow``: fewer channels than lanes, so that lanes are
    masked.
    """

    dtype: str
    kind: str
    narrow: bool

    @property
    def symbol(self) -> str:
        return f"pool_{self.kind}_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        f = module.function(
            self.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
        )
        word = {
            name: f.pointer("%words", i) if name in POINTERS else f.word("%words", i)
            for i, name in enumerate(WORDS)
        }
        walk(f, word, _Body(Vectors(f, machine, self.dtype), word, KINDS[self.kind], self.narrow))
        return str(module)


class Body(Protocol):
    """What is done along a run, for the channels of a block."""

    def segment(self, run: "Segment") -> None:
        """All targets of a run."""


def walk(f: Function, word: dict[str, str], body: Body) -> None:
    """Items -> (sample, row, piece of the last axis, block of channels) -> segments."""
    with f.loop("%begin", "%end") as item:
        rest, block = f.divmod(item.index, word["block_count"])
        rest, piece = f.divmod(rest, word["piece_count"])
        sample, row = f.divmod(rest, word["row_count"])
        row_at = f.at(word["rows"], f.mul(row, 6), "i64")
        source, target, tap, first, stop, divisor = (f.word(row_at, i) for i in range(6))
        source = f.add(f.mul(sample, word["source_sample"]), source)
        target = f.add(f.mul(sample, word["target_sample"]), target)
        channel = f.mul(block, word["block"])
        last = f.value(f"icmp eq i64 {f.add(block, 1)}, {word['block_count']}")
        left = f.sub(word["channels"], channel)
        width = f.value(f"select i1 {last}, i64 {left}, i64 {word['block']}")
        piece_at = f.at(word["pieces"], f.mul(piece, 2), "i64")
        with f.loop(f.word(piece_at, 0), f.word(piece_at, 1)) as segment:
            at = f.at(word["segments"], f.mul(segment.index, 9), "i64")
            fields = [f.word(at, i) for i in range(9)]
            body.segment(
                Segment(
                    count=fields[2],
                    target=(f.add(target, fields[0]), fields[1]),
                    source=(f.add(source, fields[3]), fields[4]),
                    tap=(f.add(tap, fields[5]), fields[6]),
                    taps=fields[7],
                    entries=(first, stop),
                    divisor=f.mul(divisor, fields[8]),
                    channel=channel,
                    width=width,
                )
            )


@dataclass(frozen=True, slots=True)
class Segment:
    """Targets that are alike: pairs of where the first one is, and what the next one adds."""

    count: str
    target: tuple[str, str]
    source: tuple[str, str]
    tap: tuple[str, str]
    taps: str
    entries: tuple[str, str]
    divisor: str
    channel: str
    width: str


@dataclass(frozen=True, slots=True)
class Position:
    """One target of a run: addresses of its first channels in the arrays read and written.

    ``tap``: the first one, ``number``: that in every lane. ``counted``: what a mean is divided by,
    in every lane. ``alone``: there is only that tap.
    """

    run: Segment
    reads: Sequence[str]
    writes: Sequence[str]
    tap: str
    number: str
    counted: str
    alone: bool


class _Body:
    """What is done along a run, for the channels of a block."""

    def __init__(self, v: Vectors, word: dict[str, str], kind: Kind, narrow: bool) -> None:
        self.v, self.f, self.word, self.kind = v, v.function, word, kind
        self.mask = v.below(word["channels"]) if narrow else None
        self.integers = integers(v)
        self.tap_step = every(v, word["tap_step"]) if kind.index else ""
        # The arrays that are read at every tap, with their pitches.
        self.read = [("source", "source_pitch")]
        self.read += [("index", "channels")] * (kind.index == "source")
        self.written = [("target", "target_pitch")]
        self.written += [("index", "channels")] * (kind.index == "target")

    def segment(self, run: Segment) -> None:
        """All positions of a run; those with a single tap need no loops over taps."""
        f = self.f
        first, stop = run.entries
        only = f.value(f"icmp eq i64 {f.mul(f.sub(stop, first), run.taps)}, 1")
        single = f.value(f"zext i1 {only} to i64")
        f.switch(single, [lambda: self.positions(run, False), lambda: self.positions(run, True)])

    def positions(self, run: Segment, alone: bool) -> None:
        f = self.f
        reads = [self.begin(*names, run.channel, run.source) for names in self.read]
        writes = [self.begin(*names, run.channel, run.target) for names in self.written]
        pointers = [("ptr", pointer) for pointer, _ in (*reads, *writes)]
        steps = [step for _, step in (*reads, *writes)]
        counted = ""
        if self.kind.mean:
            counted = self.v.spread(f.value(f"sitofp i64 {run.divisor} to {self.v.element}"))
        with f.loop(0, run.count, [*pointers, ("i64", run.tap[0])]) as turn:
            *at, tap = turn.values
            number = every(self.v, tap) if self.kind.index else ""
            here = Position(run, at[: len(reads)], at[len(reads) :], tap, number, counted, alone)
            self.position(here)
            moved = [self.v.at(pointer, step) for pointer, step in zip(at, steps, strict=True)]
            turn.carry([*moved, f.add(tap, run.tap[1])])

    def begin(self, name: str, pitch: str, channel: str, where: tuple[str, str]) -> tuple[str, str]:
        """Where a run begins in an array, and how far its next position is."""
        f = self.f
        at = f.add(f.mul(where[0], self.word[pitch]), channel)
        return self.v.at(self.word[name], at), f.mul(where[1], self.word[pitch])

    def position(self, here: Position) -> None:
        """Groups of vectors; the last vector is moved back to end with the block, so that what it
        shares with the one before is written twice, with the same numbers.
        """
        f, lanes, width = self.f, self.v.lanes, here.run.width
        if self.mask:
            self.columns(here, "0", 1)
            return
        done = "0"
        for count in self.kind.columns:
            with f.loop(done, f.sub(width, count * lanes - 1), step=count * lanes) as group:
                self.columns(here, group.index, count)
            done = group.index
        with f.when(f.value(f"icmp slt i64 {done}, {width}")):
            self.columns(here, f.sub(width, lanes), 1)

    def columns(self, here: Position, channel: str, count: int) -> None:
        """``count`` vectors side by side, from ``channel`` on."""
        v, f, kind = self.v, self.f, self.kind
        reads = [v.at(pointer, channel) for pointer in here.reads]
        begin = [(v.type, v.constant(kind.first))] * count
        begin += [(self.integers, here.number)] * count * (kind.index == "target")
        entry, stop = here.run.entries
        if here.alone:
            read, _ = self.entry(reads, entry)
            self.store(here, channel, self.tap(begin, read, here.number))
            return
        with f.loop(entry, stop, begin) as row:
            read, tap = self.entry(reads, row.index)
            state = begin if kind.mean else _typed(begin, row.values)
            made = self.taps(here.run.taps, state, read, f.add(here.tap, tap))
            if kind.mean:
                made = [v.add(a, b) for a, b in zip(row.values, made, strict=True)]
            row.carry(made)
        self.store(here, channel, row.results)

    def entry(self, reads: Sequence[str], number: str) -> tuple[list[str], str]:
        """Where an entry of the table begins in the arrays that are read, and its tap."""
        f = self.f
        at = f.at(self.word["entries"], f.mul(number, 2), "i64")
        offset = f.word(at, 0)
        moved = [
            self.v.at(read, f.mul(offset, self.word[pitch]))
            for read, (_, pitch) in zip(reads, self.read, strict=True)
        ]
        return moved, f.word(at, 1)

    def taps(self, count: str, begin: State, reads: Sequence[str], tap: str) -> list[str]:
        """``count`` taps along the last axis."""
        v, f = self.v, self.f
        carried = [*begin, *(("ptr", read) for read in reads)]
        if self.kind.index:
            carried.append((self.integers, every(v, tap)))
        with f.loop(0, count, carried) as turn:
            places = turn.values[len(begin) : len(begin) + len(reads)]
            number = turn.values[-1]
            made = self.tap(_typed(begin, turn.values), places, number)
            for place, (_, pitch) in zip(places, self.read, strict=True):
                made.append(v.at(place, f.mul(self.word["source_step"], self.word[pitch])))
            if self.kind.index:
                made.append(f.value(f"add {self.integers} {number}, {self.tap_step}"))
            turn.carry(made)
        return turn.results[: len(begin)]

    def tap(self, state: State, reads: Sequence[str], number: str) -> list[str]:
        """One tap of all columns."""
        v, count = self.v, len(state) // (1 + (self.kind.index == "target"))
        rows = [
            [v.load(v.at(read, q * v.lanes), self.mask) for q in range(count)] for read in reads
        ]
        return self.kind.step(v, [value for _, value in state], rows, number)

    def store(self, here: Position, channel: str, results: Sequence[str]) -> None:
        v, f, kind = self.v, self.f, self.kind
        count = len(results) // len(here.writes)
        values, taps = list(results[:count]), results[count:]
        if kind.mean:
            values = [v.div(value, here.counted) for value in values]
        values += [f.value(f"bitcast {self.integers} {tap} to {v.type}") for tap in taps]
        for i, vector in enumerate(values):
            to = v.at(v.at(here.writes[i // count], channel), i % count * v.lanes)
            if self.mask and not v.machine.masks:
                self.store_parts(vector, to)
            else:
                v.store(vector, to, self.mask)

    def store_parts(self, vector: str, address: str) -> None:
        """The channels of a narrow vector in powers of two: without hardware lane masks a masked
        store takes as long as ten of these.
        """
        v, f = self.v, self.f

        def channels(count: int) -> None:
            for size in (1 << bit for bit in reversed(range(count.bit_length()))):
                if count & size:
                    done = count & -2 * size
                    lanes = ", ".join(f"i32 {done + lane}" for lane in range(size))
                    part = f.value(
                        f"shufflevector {v.type} {vector}, {v.type} {vector}, "
                        f"<{size} x i32> <{lanes}>"
                    )
                    kind = f"<{size} x {v.element}>"
                    f.emit(f"store {kind} {part}, ptr {v.at(address, done)}, align {v.bytes}")

        cases = [lambda count=count: channels(count) for count in range(1, v.lanes)]
        f.switch(f.sub(self.word["channels"], 1), cases)


def _typed(begin: State, values: Sequence[str]) -> State:
    """The first of ``values`` with the types of ``begin``."""
    return [(kind, value) for (kind, _), value in zip(begin, values, strict=False)]
