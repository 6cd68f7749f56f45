"""The kernel of elementwise steps over rows of channels.

Items are bands of rows by blocks of channels; partial sums lie in memory, a row for each band, and
stay in the first cache. An iteration takes a vector of each of several rows at once, so that
several loads are under way, and operands that the rows share are loaded once.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments
from faltung.methods.elementwise.kernel import (
    SPREAD,
    ElementwiseKernel,
    Iterations,
    Lanes,
    Spot,
    whole,
)


@dataclass(frozen=True)
class RowsKernel(ElementwiseKernel):
    """Rows of channels, ``tail`` of them beyond the last whole vector.

    sample_axes, row_axes: into how many axes the samples and the positions of each are split, for
    operands that are ``SPREAD``. The last of these axes is the run.
    """

    name = "elementwise_rows"
    numbers = (
        *("samples", "positions", "channels", "step", "bands", "band", "blocks", "block"),
        "pitch",
    )

    tail: int = 0
    sample_axes: int = 0
    row_axes: int = 0

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        arrays, numbers = super().declared()
        inputs = (f"in{i}" for i in self.of("full", "sample"))
        outputs = (f"out{i}" for i in range(len(self.outputs)))
        axes = range(self.sample_axes + self.row_axes)
        sizes = (f"size{k}" for k in axes)
        strides = (f"in{i}_axis{k}" for i in self.of(*SPREAD) for k in axes)
        pitches = (f"{name}_pitch" for name in (*inputs, *outputs))
        return arrays, (*numbers, *pitches, *sizes, *strides)

    def body(self, v: Vectors, given: Arguments) -> None:
        RowLoops(self, v, given).write()


@dataclass(frozen=True)
class Segment:
    """Rows ``first`` to ``last`` of a sample, in one run, which began at row ``begin``.

    base: the number of the sample's first row. at: the addresses of inputs that are ``SPREAD``,
    where the run began. shared: of inputs that are the same in all of its rows.
    """

    first: str
    last: str
    begin: str
    base: str
    at: Mapping[int, str]
    shared: Mapping[int, str]


class RowLoops:
    """Items are bands of rows by blocks of channels.

    A band is ``step`` whole samples, or one of the ``bands`` of ``band`` rows of a sample.
    """

    def __init__(self, kernel: RowsKernel, v: Vectors, given: Arguments) -> None:
        self.f, self.v, self.kernel, self.given = v.function, v, kernel, given
        self.code = Iterations(kernel, v, given)
        self.spread = kernel.of(*SPREAD)

    def write(self) -> None:
        f, given, code = self.f, self.given, self.code
        with f.loop("%begin", "%end") as item:
            rest, block = f.divmod(item.index, given["blocks"])
            group, band = f.divmod(rest, given["bands"])
            self.first, self.last = self._range(block, "block", "channels")
            self.whole = whole(f, self.first, self.last, self.v.lanes)
            rows = self._range(band, "band", "positions")
            sums = {"channel": rest, "scalar": item.index}
            self._clear(sums)
            with f.loop(*self._range(group, "step", "samples")) as sample:
                sums["sample"] = f.add(f.mul(sample.index, given["bands"]), band)
                self._clear({"sample": sums["sample"]})
                partial = [self._partial(i, sums) for i in range(len(code.sums))]
                with self._segments(sample.index, rows) as segment:
                    self.segment(segment, partial)
                code.finish("sample", sample.index, self.first, self.last)
            code.finish("channel", "0", self.first, self.last)
            code.finish("scalar", "0", "0", "1")

    def _range(self, number: str, size: str, limit: str) -> tuple[str, str]:
        first = self.f.mul(number, self.given[size])
        return first, self.f.minimum(self.f.add(first, self.given[size]), self.given[limit])

    # Runs of rows ---------------------------------------------------------------------------------

    @contextmanager
    def _segments(self, sample: str, rows: tuple[str, str]) -> Iterator[Segment]:
        """The rows of a band in one sample, run by run."""
        f, v, kernel, given = self.f, self.v, self.kernel, self.given
        (first, last), base = rows, f.mul(sample, given["positions"])
        shared = {i: self.code.inputs[i] for i in kernel.of("channel")}
        for i in kernel.of("sample"):
            shared[i] = v.at(self.code.inputs[i], f.mul(sample, given[f"in{i}_pitch"]))
        at = {i: self.code.inputs[i] for i in self.spread}
        at = self._moved(at, sample, range(kernel.sample_axes))
        if kernel.row_axes < 2:
            yield Segment(first, last, "0", base, at, self._shared(shared, at))
            return
        axes = range(kernel.sample_axes, kernel.sample_axes + kernel.row_axes - 1)
        run = given[f"size{axes.stop}"]
        past = f.divmod(f.add(last, f.sub(run, 1)), run)[0]
        with f.loop(f.divmod(first, run)[0], past) as number:
            begin = f.mul(number.index, run)
            start = f.maximum(first, begin)
            stop = f.minimum(last, f.add(begin, run))
            here = self._moved(at, number.index, axes)
            yield Segment(start, stop, begin, base, here, self._shared(shared, here))

    def _moved(self, at: Mapping[int, str], number: str, axes: range) -> dict[int, str]:
        """The addresses at element ``number`` of these axes."""
        f, found = self.f, dict(at)
        for k in reversed(axes):
            index = number
            if k > axes.start:
                number, index = f.divmod(number, self.given[f"size{k}"])
            for i in found:
                found[i] = self.v.at(found[i], f.mul(index, self.given[f"in{i}_axis{k}"]))
        return found

    def _shared(self, shared: Mapping[int, str], at: Mapping[int, str]) -> dict[int, str]:
        return {**shared, **{i: at[i] for i in self.kernel.of("row")}}

    def onward(self, i: int) -> str:
        """Elements of input ``i`` from row to row of a run."""
        return self.given[f"in{i}_axis{self.kernel.sample_axes + self.kernel.row_axes - 1}"]

    def fixed(self, segment: Segment) -> dict[int, str]:
        """The vectors of the inputs that are one number in all of a run."""
        return {i: self.v.broadcast(segment.at[i]) for i in self.kernel.of("one")}

    # Sums -----------------------------------------------------------------------------------------

    def _partial(self, i: int, sums: Mapping[str, str]) -> str:
        """The row of partial sums that sum ``i`` adds to."""
        kind = self.kernel.sums[i][0]
        pitch = self.code.pitch if kind == "scalar" else self.given["pitch"]
        return self.v.at(self.code.sums[i], self.f.mul(sums[kind], pitch))

    def _clear(self, sums: Mapping[str, str]) -> None:
        """Zeros in the block's partial sums of these kinds."""
        v, kinds = self.v, [kind for kind, _ in self.kernel.sums]
        rows = {i: self._partial(i, sums) for i, kind in enumerate(kinds) if kind in sums}
        for i, row in rows.items():
            if kinds[i] == "scalar":
                v.store(v.zero, row)
        if any(kinds[i] != "scalar" for i in rows):
            with self.f.loop(self.first, self.last, step=v.lanes) as c:
                for i, row in rows.items():
                    if kinds[i] != "scalar":
                        v.store(v.zero, v.at(row, c.index))

    # Rows -----------------------------------------------------------------------------------------

    def segment(self, segment: Segment, partial: Sequence[str]) -> None:
        """The rows of a segment: iterations of several rows, then single ones."""
        f, count = self.f, self.kernel.unroll
        middle = whole(f, segment.first, segment.last, count)
        parts = [(segment.first, middle, count), (middle, segment.last, 1)]
        fixed = self.fixed(segment)
        for start, stop, size in parts[: min(count, 2)]:
            with f.loop(start, stop, step=size) as row:
                self._columns(segment, row.index, size, fixed, partial)

    def _columns(
        self,
        segment: Segment,
        row: str,
        count: int,
        fixed: Mapping[int, str],
        partial: Sequence[str],
    ) -> None:
        """All channels of the block, of ``count`` rows at once."""
        f, v, code, kernel = self.f, self.v, self.code, self.kernel
        number = f.add(segment.base, row)
        inputs = {i: self._rows(f"in{i}", number, count) for i in kernel.of("full")}
        inputs |= {i: self._along(segment, i, row, count) for i in kernel.of("map")}
        outputs = [self._rows(f"out{i}", number, count) for i in range(len(kernel.outputs))]
        columns = {i: self._along(segment, i, row, count) for i in kernel.of("column")}
        spread = {i: list(map(v.broadcast, each)) for i, each in columns.items()}
        # The numbers of elements, where somebody asks for them.
        keyed = range(count if kernel.of("key") else 0)
        elements = [f.mul(f.add(number, r), self.given["channels"]) for r in keyed]

        def iteration(c: str, lanes: Lanes) -> None:
            spots = [
                Spot(
                    {i: v.at(rows[r], c) for i, rows in inputs.items()},
                    [v.at(rows[r], c) for rows in outputs],
                    f.add(elements[r], c) if elements else None,
                    {i: each[r] for i, each in spread.items()},
                )
                for r in range(count)
            ]
            loaded = {i: code.load(v.at(at, c), lanes) for i, at in segment.shared.items()}
            self._add(code.write(spots, {**fixed, **loaded}, lanes), partial, c, lanes)

        with f.loop(self.first, self.whole, step=v.lanes) as column:
            iteration(column.index, None)
        if kernel.tail:
            with f.when(f.value(f"icmp slt i64 {self.whole}, {self.last}")):
                iteration(self.whole, kernel.tail)

    def _rows(self, name: str, row: str, count: int) -> list[str]:
        """The addresses of ``count`` rows of a map."""
        pitch = self.given[f"{name}_pitch"]
        return self._apart(self.v.at(self.given[name], self.f.mul(row, pitch)), pitch, count)

    def _along(self, segment: Segment, i: int, row: str, count: int) -> list[str]:
        """The addresses of an input that is spread, for ``count`` rows."""
        inside = row if segment.begin == "0" else self.f.sub(row, segment.begin)
        onward = self.onward(i)
        return self._apart(self.v.at(segment.at[i], self.f.mul(inside, onward)), onward, count)

    def _apart(self, first: str, onward: str, count: int) -> list[str]:
        found = [first]
        for _ in range(count - 1):
            found.append(self.v.at(found[-1], onward))
        return found

    def _add(self, found: Sequence[str], partial: Sequence[str], c: str, lanes: Lanes) -> None:
        """Add what an iteration has found to the partial sums.

        Lanes beyond the channels have sums of their own, which nobody reads; in a scalar they
        would meet the others.
        """
        v = self.v
        for (kind, _), value, row in zip(self.kernel.sums, found, partial, strict=True):
            scalar = kind == "scalar"
            at = row if scalar else v.at(row, c)
            v.store(v.add(v.load(at), self.code.alone(value, lanes) if scalar else value), at)
