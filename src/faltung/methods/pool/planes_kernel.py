"""The kernels of pooling with channels first: columns of windows in a buffer, taps out of it.

And that of the gradient of maxima, which adds each output gradient where its index points.
"""

from collections.abc import Sequence

from faltung.codegen.copies import each_group
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.pool.columns import BUFFER_BYTES
from faltung.methods.pool.reductions import PlaneReduction, State

# Vectors of columns, or of outputs, that are computed at once.
VECTORS = 4


@dataclass(frozen=True)
class PlanesKernel(Kernel):
    """``kind``: max, max_index or mean; only max_index writes ``index``. ``stride``: 1, 2, or 0 for
    any. ``taps``: those of the last axis that are written out, 0 for a loop. ``spread``: columns
    stand so far apart in the buffer, with zeros between them, in the gradient of a mean; 0 for any
    distance.
    """

    pointers = ("source", "target", "index", "rows", "entries", "divisors")
    numbers = (
        *("row_count", "group", "groups", "source_pitch", "target_pitch", "index_pitch"),
        *("size", "outputs", "taps", "stride", "dilation", "lo", "segment", "spread"),
    )

    dtype: str
    kind: str
    stride: int
    taps: int
    spread: int = 1

    @property
    def symbol(self) -> str:
        return f"pool_planes_{self.kind}_{self.dtype}"

    def body(self, v: Vectors, given: Arguments) -> None:
        """Items -> (plane, group of rows) -> rows -> segments."""
        f, writer = v.function, _PlaneWriter(v, given, self)
        with f.loop("%begin", "%end") as item:
            plane, group = f.divmod(item.index, given["groups"])
            first = f.mul(group, given["group"])
            last = f.minimum(f.add(first, given["group"]), given["row_count"])
            source, *targets = (
                v.at(given[name], f.mul(plane, given[f"{name}_pitch"]))
                for name in ("source", "target", "index")
            )
            with f.loop(first, last) as row:
                here = f.at(given["rows"], f.mul(row.index, 6), "i64")
                origin, target, _, entry, stop, divisor = (f.word(here, i) for i in range(6))
                moved = [v.at(start, target) for start in targets]
                outputs = _Outputs(source, origin, moved, (entry, stop), divisor)
                with f.loop(0, given["outputs"], step=given["segment"]) as segment:
                    writer.segment(outputs, segment.index)


@dataclass(frozen=True, slots=True)
class _Outputs:
    """A row of outputs: the plane that it reads and where in it, where it is written, its entries
    of the table, and what its means are divided by.
    """

    plane: str
    origin: str
    targets: Sequence[str]
    entries: tuple[str, str]
    divisor: str


class _PlaneWriter:
    """Writes a segment of a row of outputs; ``buffers``: one for each vector of a state."""

    def __init__(self, v: Vectors, given: Arguments, kernel: PlanesKernel) -> None:
        self.v, self.f, self.given, self.kernel = v, v.function, given, kernel
        self.buffers = [
            self.f.value(f"alloca [{BUFFER_BYTES // v.bytes} x {v.element}], align 64")
            for _ in range(1 + (kernel.kind == "max_index"))
        ]
        self.reduction = PlaneReduction(v, kernel.kind)

    def segment(self, row: _Outputs, first: str) -> None:
        """Outputs from ``first`` on: columns into the buffer, taps out of it."""
        f, given = self.f, self.given
        count = f.minimum(given["segment"], f.sub(given["outputs"], first))
        begin = f.sub(f.mul(first, given["stride"]), given["lo"])
        reach = f.mul(f.sub(given["taps"], 1), given["dilation"])
        length = f.add(f.add(f.mul(f.sub(count, 1), given["stride"]), reach), 1)
        low = f.maximum(begin, 0)
        high = f.maximum(f.minimum(f.add(begin, length), given["size"]), low)
        # Where all of it is border, the array begins behind the buffer.
        skipped = f.minimum(f.sub(low, begin), length)
        if self.kernel.spread == 1:
            inside = f.sub(high, low)
            self.border("0", skipped)
            self.columns(row, low, skipped, inside)
            self.border(f.add(skipped, inside), length)
        else:
            self.border("0", length)
            # From elements of the buffer to columns: those that begin in it.
            more = f.sub(given["spread"], 1)
            low, _ = f.divmod(f.add(low, more), given["spread"])
            high, _ = f.divmod(f.add(high, more), given["spread"])
            skipped = f.sub(f.mul(low, given["spread"]), begin)
            self.columns(row, low, skipped, f.sub(high, low))
        self.outputs(row, first, count)

    # Rows of windows combined into columns --------------------------------------------------------

    def border(self, start: str, stop: str) -> None:
        """Elements of the buffer that never count, in whole vectors: too many at the end."""
        with self.f.loop(start, stop, step=self.v.lanes) as at:
            for buffer, value in zip(self.buffers, self.reduction.outside, strict=True):
                self.v.store(value, self.v.at(buffer, at.index))

    def columns(self, row: _Outputs, low: str, skipped: str, inside: str) -> None:
        """``inside`` columns from ``low`` on: whole vectors, then what is left with a mask."""
        f, v = self.f, self.v
        source = f.add(row.origin, low)

        def column(at: str, count: int) -> None:
            self.column(row, f.add(source, at), at, skipped, count, None)

        done = each_group(v, inside, (VECTORS, 1), column)
        with f.when(f.value(f"icmp slt i64 {done}, {inside}")):
            mask = v.below(f.sub(inside, done))
            self.column(row, f.add(source, done), done, skipped, 1, mask)

    def column(
        self, row: _Outputs, source: str, at: str, skipped: str, count: int, mask: str | None
    ) -> None:
        """``count`` vectors of columns."""
        f, v, spread = self.f, self.v, self.kernel.spread

        def read(entry: str) -> list[State]:
            offset = f.word(f.at(self.given["entries"], f.mul(entry, 2), "i64"), 0)
            where = f.add(source, offset)
            made = []
            for q in range(count):
                values = v.load(v.at(v.at(row.plane, where), q * v.lanes), mask)
                made.append(self.reduction.state(values, f.add(where, q * v.lanes)))
            return made

        # A row of means may see nothing but padding, a maximum never does.
        empty = self.reduction.mean
        start = [[v.zero]] * count if empty else read(row.entries[0])
        first = f.add(row.entries[0], 0 if empty else 1)
        with f.loop(first, row.entries[1], v.carried(_flat(start))) as entry:
            old, new = self.reduction.grouped(entry.values), read(entry.index)
            entry.carry(_flat([self.reduction.both(a, b) for a, b in zip(old, new, strict=True)]))
        to = f.add(skipped, f.mul(self.given["spread"], at) if spread != 1 else at)
        for q, state in enumerate(self.reduction.grouped(entry.results)):
            if spread != 1:
                where = f.add(to, f.mul(self.given["spread"], q * v.lanes))
                self.spread(state[0], v.at(self.buffers[0], where))
                continue
            for buffer, value in zip(self.buffers, state, strict=True):
                v.store(value, v.at(v.at(buffer, to), q * v.lanes))

    def spread(self, vector: str, address: str) -> None:
        """Columns apart from each other, over zeros."""
        v, f = self.v, self.f
        if self.kernel.spread == 2:
            for half in range(2):
                lanes = [(half * v.lanes + i) // 2 + i % 2 * v.lanes for i in range(v.lanes)]
                v.store(v.shuffle(vector, v.zero, lanes), v.at(address, half * v.lanes))
            return
        for lane in range(v.lanes):
            one = f.value(f"extractelement {v.type} {vector}, i64 {lane}")
            v.store_one(one, v.at(address, f.mul(self.given["spread"], lane)))

    # Taps of the last axis combined out of the buffer ---------------------------------------------

    def outputs(self, row: _Outputs, first: str, count: str) -> None:
        """Vectors of outputs; the last one is moved back to end with them, or stored in part."""
        f, v = self.f, self.v
        groups = (1,) if self.reduction.size > 1 else (VECTORS, 1)
        done = each_group(v, count, groups, lambda at, n: self.output(row, first, at, n, None))
        with f.when(f.value(f"icmp slt i64 {done}, {count}")):
            enough = f.value(f"icmp sge i64 {count}, {v.lanes}")
            f.choose(
                enough,
                lambda: self.output(row, first, f.sub(count, v.lanes), 1, None),
                lambda: self.output(row, first, "0", 1, count),
            )

    def output(self, row: _Outputs, first: str, at: str, vectors: int, below: str | None) -> None:
        """``vectors`` vectors of outputs; of one, those ``below`` a number where that is given."""
        f, v, given, reduction = self.f, self.v, self.given, self.reduction
        start = f.mul(at, given["stride"])
        states = [self.read(start, q) for q in range(vectors)]

        def tap(number: str | int, states: Sequence[State]) -> list[State]:
            here = f.add(start, f.mul(given["dilation"], number))
            return [reduction.both(state, self.read(here, q)) for q, state in enumerate(states)]

        if self.kernel.taps:
            for number in range(1, self.kernel.taps):
                states = tap(number, states)
        else:
            with f.loop(1, given["taps"], v.carried(_flat(states))) as loop:
                loop.carry(_flat(tap(loop.index, reduction.grouped(loop.values))))
            states = reduction.grouped(loop.results)
        where = f.add(first, at)
        for q, state in enumerate(states):
            if reduction.mean:
                down = v.spread(f.value(f"sitofp i64 {row.divisor} to {v.element}"))
                across = v.load(v.at(v.at(given["divisors"], where), q * v.lanes))
                state = [v.div(state[0], v.mul(down, across))]
            for target, value in zip(row.targets, state, strict=False):
                to = v.at(v.at(target, where), q * v.lanes)
                if below is None:
                    v.store(value, to)
                else:
                    v.store_below(value, to, below)

    def read(self, start: str, q: int) -> State:
        """What a tap reads for vector ``q`` of outputs."""
        at = self.f.add(start, self.f.mul(self.given["stride"], q * self.v.lanes))
        return [self.strided(self.v.at(buffer, at)) for buffer in self.buffers]

    def strided(self, address: str) -> str:
        v = self.v
        if self.kernel.stride == 1:
            return v.load(address)
        if self.kernel.stride == 2:
            one, two = v.load(address), v.load(v.at(address, v.lanes))
            return v.shuffle(one, two, [2 * i for i in range(v.lanes)])
        return v.gather(address, self.given["stride"])


def _flat(states: Sequence[State]) -> list[str]:
    return [value for state in states for value in state]


@dataclass(frozen=True)
class ScatterKernel(Kernel):
    """The gradient of maxima: items are planes; indices are whole numbers as wide as the dtype."""

    name = "pool_scatter"
    pointers = ("grad", "index", "target")
    numbers = ("grad_pitch", "index_pitch", "target_pitch", "outputs", "size")

    dtype: str

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        with f.loop("%begin", "%end") as item:
            grads, indices, target = (
                v.at(given[name], f.mul(item.index, given[f"{name}_pitch"]))
                for name in self.pointers
            )
            with f.loop(0, f.sub(given["size"], v.lanes - 1), step=v.lanes) as zero:
                v.store(v.zero, v.at(target, zero.index))
            with f.loop(zero.index, given["size"]) as zero:
                v.store_one("0.0", v.at(target, zero.index))
            with f.loop(0, given["outputs"]) as o:
                place = f.at(indices, o.index, v.element)
                number = f.value(f"load i{8 * v.bytes}, ptr {place}, align {v.bytes}")
                if v.bytes < 8:
                    number = f.value(f"sext i32 {number} to i64")
                # Indices come from people: what points outside the plane goes nowhere.
                with f.when(f.value(f"icmp ult i64 {number}, {given['size']}")):
                    to = v.at(target, number)
                    old, more = v.load_one(to), v.load_one(v.at(grads, o.index))
                    v.store_one(f.value(f"fadd {v.element} {old}, {more}"), to)
