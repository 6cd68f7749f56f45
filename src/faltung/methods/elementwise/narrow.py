"""The kernel of elementwise steps over rows of few channels: several rows fill a vector.

As many rows as a vector has lanes are as many vectors as there are channels. What has a number for
each channel repeats itself in them, and what has one for each row is the same in a few lanes: both
are loaded once and spread by shuffles.
"""

from collections.abc import Sequence

from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments
from faltung.methods.elementwise.kernel import Spot, whole
from faltung.methods.elementwise.rows import RowLoops, RowsKernel, Segment


@dataclass(frozen=True)
class NarrowKernel(RowsKernel):
    """Rows of ``channels``, fewer than lanes, all maps contiguous; no sums.

    gathered: the "column" inputs whose numbers do not follow each other.
    """

    name = "elementwise_narrow"

    channels: int = 1
    gathered: tuple[int, ...] = ()

    def body(self, v: Vectors, given: Arguments) -> None:
        _NarrowLoops(self, v, given).write()


class _NarrowLoops(RowLoops):
    kernel: NarrowKernel

    def segment(self, segment: Segment, partial: Sequence[str]) -> None:
        """Iterations of as many rows as a vector has lanes; the vectors of the last are masked."""
        f, v, channels = self.f, self.v, self.kernel.channels
        fixed = self.fixed(segment)
        repeated = {i: self._repeated(at) for i, at in segment.shared.items()}
        middle = whole(f, segment.first, segment.last, v.lanes)

        def iteration(row: str, left: str | None) -> None:
            columns = {i: self._column(segment, i, row, left) for i in self.kernel.of("column")}
            elements = None if left is None else f.mul(left, channels)
            for m in range(channels):
                at = m * v.lanes
                known = {i: each[m] for i, each in (*repeated.items(), *columns.items())}
                mask = None if elements is None else v.below(f.sub(elements, at))
                self.code.write([self._spot(segment, row, at, known)], fixed, mask)

        with f.loop(segment.first, middle, step=v.lanes) as row:
            iteration(row.index, None)
        with f.when(f.value(f"icmp slt i64 {middle}, {segment.last}")):
            iteration(middle, f.sub(segment.last, middle))

    def _spot(self, segment: Segment, row: str, at: int, known: dict[int, str]) -> Spot:
        """The vector ``at`` so many elements after the first one of a row."""
        f, v, kernel, channels = self.f, self.v, self.kernel, self.kernel.channels
        element = f.add(f.mul(f.add(segment.base, row), channels), at)
        inside = row if segment.begin == "0" else f.sub(row, segment.begin)
        within = f.add(f.mul(inside, channels), at)
        inputs = {i: v.at(self.given[f"in{i}"], element) for i in kernel.of("full")}
        inputs |= {i: v.at(segment.at[i], within) for i in kernel.of("map")}
        outputs = [v.at(self.given[f"out{i}"], element) for i in range(len(kernel.outputs))]
        return Spot(inputs, outputs, element, known)

    def _repeated(self, at: str) -> list[str]:
        """A number for each channel, in all vectors of an iteration."""
        v, channels = self.v, self.kernel.channels
        row = v.load(at, v.first(channels))
        return [
            v.shuffle(row, row, [(m * v.lanes + j) % channels for j in range(v.lanes)])
            for m in range(channels)
        ]

    def _column(self, segment: Segment, i: int, row: str, left: str | None) -> list[str]:
        """A number for each row, in all vectors of an iteration."""
        v, channels = self.v, self.kernel.channels
        (at,) = self._along(segment, i, row, 1)
        mask = None if left is None else v.below(left)
        apart = i in self.kernel.gathered
        each = v.gather(at, self.onward(i), mask) if apart else v.load(at, mask)
        return [
            v.shuffle(each, each, [(m * v.lanes + j) // channels for j in range(v.lanes)])
            for m in range(channels)
        ]
