"""The kernel of pooling with channels first: columns of windows in a buffer, taps out of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.pool_kinds import integers

# Bytes of one buffer: less than a page, so that no system asks for more than a stack pointer moved.
BUFFER = 3840
# Columns done side by side.
WIDE = 4
# A place behind every other.
NOWHERE = {4: 2**31 - 1, 8: 2**63 - 1}

POINTERS = ("source", "target", "index", "rows", "entries", "divisors")
WORDS = (
    *POINTERS,
    *("row_count", "group", "groups", "source_plane", "target_plane", "index_plane"),
    *("size", "outputs", "taps", "stride", "dilation", "lo", "chunk", "spread"),
)
State = list[str]


@dataclass(frozen=True)
class Planes:
    """``kind``: max, max_index or mean. ``stride``: 1, 2, or 0 for any. ``taps``: those of the last
    axis, 0 for any number. ``spread``: columns stand so far apart in the buffer, with zeros
    between them, in the gradient of a mean; 0 for any distance.
    """

    dtype: str
    kind: str
    stride: int
    taps: int
    spread: int = 1

    @property
    def symbol(self) -> str:
        return f"pool_planes_{self.kind}_{self.dtype}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        f = module.function(
            self.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
        )
        v = Vectors(f, machine, self.dtype)
        buffers = [
            f.value(f"alloca [{BUFFER // v.bytes} x {v.element}], align 64")
            for _ in range(1 + (self.kind == "max_index"))
        ]
        word = {
            name: f.pointer("%words", i) if name in POINTERS else f.word("%words", i)
            for i, name in enumerate(WORDS)
        }
        body = _Body(v, self, word, buffers)
        with f.loop("%begin", "%end") as item:
            plane, group = f.divmod(item.index, word["groups"])
            first = f.mul(group, word["group"])
            last = f.minimum(f.add(first, word["group"]), word["row_count"])
            at = {
                name: v.at(word[name], f.mul(plane, word[f"{name}_plane"]))
                for name in ("source", "target", "index")
            }
            with f.loop(first, last) as row:
                here = f.at(word["rows"], f.mul(row.index, 6), "i64")
                source, target, _, entry, stop, divisor = (f.word(here, i) for i in range(6))
                moved = {"target": v.at(at["target"], target), "index": v.at(at["index"], target)}
                with f.loop(0, word["outputs"], step=word["chunk"]) as chunk:
                    body.chunk(at["source"], source, moved, (entry, stop), divisor, chunk.index)
        return str(module)


class _Body:
    """One chunk of a row of outputs."""

    def __init__(
        self, v: Vectors, recipe: Planes, word: dict[str, str], buffers: Sequence[str]
    ) -> None:
        self.v, self.f, self.recipe, self.word, self.buffers = v, v.function, recipe, word, buffers
        self.whole = integers(v)
        rule: dict[str, Callable[[State, State], State]] = {
            "max": self.larger,
            "max_index": self.larger_first,
            "mean": lambda a, b: [v.add(a[0], b[0])],
        }
        self.both = rule[recipe.kind]
        self.outside = [v.constant(0.0 if recipe.kind == "mean" else -inf)]
        if recipe.kind == "max_index":
            every = f"splat (i{8 * v.bytes} {NOWHERE[v.bytes]})"
            self.outside.append(self.f.value(f"bitcast {self.whole} {every} to {v.type}"))

    # What is done with two values: vectors of numbers, and of their places as bits.

    def larger(self, a: State, b: State) -> State:
        """The larger one; a NaN is larger than any number."""
        v = self.v
        return [v.select(v.compare("uno", b[0], b[0]), b[0], v.max(a[0], b[0]))]

    def larger_first(self, a: State, b: State) -> State:
        """The larger one, of equals that with the smaller place, of NaNs that with the larger."""
        v, f = self.v, self.f
        before = f.value(f"icmp slt {self.whole} {self.bits(b[1])}, {self.bits(a[1])}")
        behind = f.value(f"icmp sgt {self.whole} {self.bits(b[1])}, {self.bits(a[1])}")
        same = f.value(f"and {v.flags} {v.compare('oeq', b[0], a[0])}, {before}")
        other = f.value(f"or {v.flags} {v.compare('ord', a[0], a[0])}, {behind}")
        nan = f.value(f"and {v.flags} {v.compare('uno', b[0], b[0])}, {other}")
        taken = f.value(f"or {v.flags} {v.compare('ogt', b[0], a[0])}, {same}")
        taken = f.value(f"or {v.flags} {taken}, {nan}")
        return [v.select(taken, new, old) for old, new in zip(a, b, strict=True)]

    def bits(self, vector: str) -> str:
        return self.f.value(f"bitcast {self.v.type} {vector} to {self.whole}")

    # The chunk

    def chunk(
        self,
        plane: str,
        source: str,
        target: dict[str, str],
        entries: tuple[str, str],
        divisor: str,
        first: str,
    ) -> None:
        """Outputs from ``first`` on: columns into the buffer, taps out of it."""
        f, word = self.f, self.word
        count = f.minimum(word["chunk"], f.sub(word["outputs"], first))
        begin = f.sub(f.mul(first, word["stride"]), word["lo"])
        reach = f.mul(f.sub(word["taps"], 1), word["dilation"])
        length = f.add(f.add(f.mul(f.sub(count, 1), word["stride"]), reach), 1)
        smax = f.module.declare("llvm.smax.i64", "i64", "i64", "i64")
        low = f.value(f"call i64 {smax}(i64 {begin}, i64 0)")
        high = f.minimum(f.add(begin, length), word["size"])
        high = f.value(f"call i64 {smax}(i64 {high}, i64 {low})")
        # Where all of it is border, the array begins behind the buffer.
        skipped = f.minimum(f.sub(low, begin), length)
        if self.recipe.spread != 1:
            self.border("0", length)
            # From elements of the buffer to columns: those that begin in it.
            more = f.sub(word["spread"], 1)
            low, _ = f.divmod(f.add(low, more), word["spread"])
            high, _ = f.divmod(f.add(high, more), word["spread"])
            skipped = f.sub(f.mul(low, word["spread"]), begin)
            inside = f.sub(high, low)
            self.columns(plane, f.add(source, low), entries, skipped, inside)
            self.taps(target, divisor, first, count)
            return
        inside = f.sub(high, low)
        self.border("0", skipped)
        self.columns(plane, f.add(source, low), entries, skipped, inside)
        self.border(f.add(skipped, inside), length)
        self.taps(target, divisor, first, count)

    def border(self, start: str, stop: str) -> None:
        """Elements of the buffer that never count, in whole vectors: too many at the end."""
        with self.f.loop(start, stop, step=self.v.lanes) as at:
            for buffer, value in zip(self.buffers, self.outside, strict=True):
                self.v.store(value, self.v.at(buffer, at.index))

    def columns(
        self, plane: str, source: str, entries: tuple[str, str], skipped: str, inside: str
    ) -> None:
        """The rows of the windows combined: vectors, then what is left with a mask."""
        f, v = self.f, self.v
        done = "0"
        for count in (WIDE, 1):
            with f.loop(done, f.sub(inside, count * v.lanes - 1), step=count * v.lanes) as at:
                self.column(plane, f.add(source, at.index), entries, at.index, skipped, count, None)
            done = at.index
        with f.when(f.value(f"icmp slt i64 {done}, {inside}")):
            mask = v.below(f.sub(inside, done))
            self.column(plane, f.add(source, done), entries, done, skipped, 1, mask)

    def column(
        self,
        plane: str,
        source: str,
        entries: tuple[str, str],
        at: str,
        skipped: str,
        count: int,
        mask: str | None,
    ) -> None:
        f, v = self.f, self.v

        def read(entry: str) -> list[State]:
            row = f.word(f.at(self.word["entries"], f.mul(entry, 2), "i64"), 0)
            where = f.add(source, row)
            made = []
            for q in range(count):
                state = [v.load(v.at(v.at(plane, where), q * v.lanes), mask)]
                if self.recipe.kind == "max_index":
                    state.append(self.numbers(f.add(where, q * v.lanes)))
                made.append(state)
            return made

        # A row of means may see nothing but padding, a maximum never does.
        empty = self.recipe.kind == "mean"
        start = [[v.zero]] * count if empty else read(entries[0])
        begin = [(v.type, one) for state in start for one in state]
        with f.loop(f.add(entries[0], 0 if empty else 1), entries[1], begin) as turn:
            old, new = self.grouped(turn.values), read(turn.index)
            made = [self.both(a, b) for a, b in zip(old, new, strict=True)]
            turn.carry([one for state in made for one in state])
        to = f.add(skipped, f.mul(self.word["spread"], at) if self.recipe.spread != 1 else at)
        if self.recipe.spread != 1:
            for q, (value,) in enumerate(self.grouped(turn.results)):
                where = f.add(to, f.mul(self.word["spread"], q * v.lanes))
                self.stuffed(value, v.at(self.buffers[0], where))
            return
        for q, state in enumerate(self.grouped(turn.results)):
            for buffer, value in zip(self.buffers, state, strict=True):
                v.store(value, v.at(v.at(buffer, to), q * v.lanes))

    def stuffed(self, vector: str, address: str) -> None:
        """Columns apart from each other, over zeros."""
        v, f = self.v, self.f
        if self.recipe.spread == 2:
            for half in range(2):
                lanes = [(half * v.lanes + i) // 2 + i % 2 * v.lanes for i in range(v.lanes)]
                v.store(v.shuffle(vector, v.zero, lanes), v.at(address, half * v.lanes))
            return
        for lane in range(v.lanes):
            one = f.value(f"extractelement {v.type} {vector}, i64 {lane}")
            to = v.at(address, f.mul(self.word["spread"], lane))
            f.emit(f"store {v.element} {one}, ptr {to}, align {v.bytes}")

    def grouped(self, values: Sequence[str]) -> list[State]:
        size = len(self.buffers)
        return [list(values[i : i + size]) for i in range(0, len(values), size)]

    def numbers(self, first: str) -> str:
        """``first`` and the whole numbers after it, as bits."""
        f, v, width = self.f, self.v, 8 * self.v.bytes
        narrow = first if width == 64 else f.value(f"trunc i64 {first} to i{width}")
        every = v.spread(narrow, f"i{width}")
        steps = ", ".join(f"i{width} {i}" for i in range(v.lanes))
        made = f.value(f"add {self.whole} {every}, <{steps}>")
        return f.value(f"bitcast {self.whole} {made} to {v.type}")

    def taps(self, target: dict[str, str], divisor: str, first: str, count: str) -> None:
        """Vectors of outputs out of the buffer; the last one is moved back, or stored in part."""
        f, v = self.f, self.v
        done = "0"
        wide = 1 if self.recipe.kind == "max_index" else WIDE
        for size in dict.fromkeys((wide, 1)):
            with f.loop(done, f.sub(count, size * v.lanes - 1), step=size * v.lanes) as at:
                self.outputs(target, divisor, first, at.index, size, None)
            done = at.index
        with f.when(f.value(f"icmp slt i64 {done}, {count}")):
            enough = f.value(f"icmp sge i64 {count}, {v.lanes}")
            moved = f.value(f"zext i1 {enough} to i64")
            f.switch(
                moved,
                [
                    lambda: self.outputs(target, divisor, first, "0", 1, count),
                    lambda: self.outputs(target, divisor, first, f.sub(count, v.lanes), 1, None),
                ],
            )

    def outputs(
        self,
        target: dict[str, str],
        divisor: str,
        first: str,
        at: str,
        size: int,
        part: str | None,
    ) -> None:
        """``size`` vectors of outputs; ``part``: so many elements of one."""
        f, v, word = self.f, self.v, self.word
        start = f.mul(at, word["stride"])
        states = [self.fetch(f.add(start, f.mul(word["stride"], q * v.lanes))) for q in range(size)]
        if self.recipe.taps:
            for tap in range(1, self.recipe.taps):
                here = f.add(start, f.mul(word["dilation"], tap))
                states = [
                    self.both(s, self.fetch(self.after(here, q))) for q, s in enumerate(states)
                ]
        else:
            begin = [(v.type, one) for state in states for one in state]
            with f.loop(1, word["taps"], begin) as turn:
                here = f.add(start, f.mul(word["dilation"], turn.index))
                made = [
                    self.both(s, self.fetch(self.after(here, q)))
                    for q, s in enumerate(self.grouped(turn.values))
                ]
                turn.carry([one for state in made for one in state])
            states = self.grouped(turn.results)
        where = f.add(first, at)
        for q, state in enumerate(states):
            if self.recipe.kind == "mean":
                rows = v.spread(f.value(f"sitofp i64 {divisor} to {v.element}"))
                across = v.load(v.at(v.at(word["divisors"], where), q * v.lanes))
                state = [v.div(state[0], v.mul(rows, across))]
            for name, value in zip(("target", "index"), state, strict=False):
                to = v.at(v.at(target[name], where), q * v.lanes)
                if part is None:
                    v.store(value, to)
                else:
                    store_below(v, value, to, part)

    def after(self, start: str, q: int) -> str:
        return self.f.add(start, self.f.mul(self.word["stride"], q * self.v.lanes))

    def fetch(self, start: str) -> State:
        """What a tap reads for one vector of outputs."""
        return [self.strided(self.v.at(buffer, start)) for buffer in self.buffers]

    def strided(self, address: str) -> str:
        v = self.v
        if self.recipe.stride == 1:
            return v.load(address)
        if self.recipe.stride == 2:
            one, two = v.load(address), v.load(v.at(address, v.lanes))
            return v.shuffle(one, two, [2 * i for i in range(v.lanes)])
        return v.gather(address, self.word["stride"])


def store_below(v: Vectors, vector: str, address: str, count: str) -> None:
    """Store the first ``count`` lanes, fewer than all, in powers of two: without hardware lane
    masks a masked store takes as long as ten of these.
    """
    if v.machine.masks:
        v.store(vector, address, v.below(count))
        return

    def some(number: int) -> None:
        for size in (1 << bit for bit in reversed(range(number.bit_length()))):
            if number & size:
                done = number & -2 * size
                lanes = ", ".join(f"i32 {done + lane}" for lane in range(size))
                part = v.function.value(
                    f"shufflevector {v.type} {vector}, {v.type} {vector}, <{size} x i32> <{lanes}>"
                )
                kind = f"<{size} x {v.element}>"
                v.function.emit(f"store {kind} {part}, ptr {v.at(address, done)}, align {v.bytes}")

    cases = [lambda number=number: some(number) for number in range(1, v.lanes)]
    v.function.switch(v.function.sub(count, 1), cases)
