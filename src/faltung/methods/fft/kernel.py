"""What the kernels with Fourier transforms share, and the one that transforms the weights."""

from collections.abc import Callable, Sequence

from faltung.codegen.copies import write_fill
from faltung.codegen.ir import Index
from faltung.codegen.vectors import Functions, Vectors
from faltung.geometry.record import dataclass
from faltung.machine.costs import PREFETCH_DISTANCE_COPIED_ROWS
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.fft.passes import write_lanes, write_passes

# Columns of the tables: of blocks (first segment in, how many, whether they fill it, first segment
# out, how many), of segments in (source, place, entries, times), of segments out (place, entries,
# times, target, those of aux). A segment of several ``times`` goes on a row further on each time.
BLOCK, IN, OUT = 5, 4, 4
# In place of "whether they fill it": 0 not, 1 they do, 2 they are its rows as they are in memory.
AS_IS = 2
# Of taps: source, its step, place, its step, entries.
TAPS = 5


class FftKernel(Kernel):
    """A kernel that transforms; its arguments are followed by ``tables.Transform.arguments``."""

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        pointers, numbers = super().declared()
        more = "plane", "size", "twice", "lane_groups", "buffer"
        return (*pointers, "passes", "lanes"), (*numbers, *more)


@dataclass(frozen=True)
class Code:
    """The code of a transform under construction."""

    v: Vectors
    given: Arguments

    def call(self, name: str, addresses: Sequence[str], numbers: Sequence[Index] = ()) -> None:
        """Call an inner function that takes addresses, then numbers."""
        given = [*(("ptr", at) for at in addresses), *(("i64", number) for number in numbers)]
        self.v.function.call(name, given)

    def planes(self, x: str) -> tuple[str, str]:
        """Where the real and the imaginary parts of a buffer begin."""
        return x, self.v.at(x, self.given["plane"])

    def transform(self, name: str, x: str) -> None:
        """``forward`` or ``inverse`` over the vectors at ``x``."""
        f, given = self.v.function, self.given
        arguments = [("ptr", x), ("i64", given["plane"]), ("i64", given["size"])]
        arguments.append(("ptr", given["passes"]))
        f.call_one(given["twice"], [name, f"{name}_twice"], arguments)

    def lanes(self, x: str) -> None:
        """The last part of the way forward."""
        given = self.given
        numbers = [("i64", given["plane"]), ("i64", given["lane_groups"])]
        self.v.function.call("lanes", [("ptr", x), *numbers, ("ptr", given["lanes"])])

    def blocks(self, pair: str) -> list[str]:
        """The table entries of a pair of blocks."""
        f = self.v.function
        numbers = (f.add(f.mul(pair, 2), i) for i in range(2))
        return [f.at(self.given["blocks"], f.mul(number, BLOCK), "i64") for number in numbers]

    def array(self, name: str, batch: str, group: str) -> str:
        """Where a group of a sample begins in an array."""
        return self.v.at(self.given[name], self.given.offset(name, batch=batch, group=group))

    def segments(
        self, name: str, columns: int, first: str, count: str, each: Callable[[str], None]
    ) -> None:
        """``each`` of ``count`` rows of the table ``name``."""
        f = self.v.function
        with f.loop(0, count) as segment:
            each(f.at(self.given[name], f.mul(f.add(first, segment.index), columns), "i64"))

    def load_block(self, x: str, to: str, block: str) -> None:
        """One plane of a block."""
        v, f, given = self.v, self.v.function, self.given
        gaps = f.value(f"icmp eq i64 {f.word(block, 2)}, 0")
        with f.when(gaps):
            self.call("blank", [to], [given["plane"]])

        def each(segment: str) -> None:
            source, place = v.at(x, f.word(segment, 0)), v.at(to, f.word(segment, 1))
            count, times = f.word(segment, 2), f.word(segment, 3)
            ahead = f.mul(given["x_row"], PREFETCH_DISTANCE_COPIED_ROWS)
            moving = [(source, given["x_row"]), (place, given["row_in"])]
            with v.walk(0, times, moving) as row:
                source, place = row.values
                self.call("fill", [place, source], [count, given["x_position"], ahead])

        self.segments("ins", IN, f.word(block, 0), f.word(block, 1), each)

    def scale_taps(self, w: str, buffer: str, scale: str, *, back: bool = False) -> None:
        """The taps of a filter times a number, from ``w`` to their places in a buffer, or back."""
        v, f = self.v, self.v.function

        def each(taps: str) -> None:
            ends = [(v.at(w, f.word(taps, 0)), 1), (v.at(buffer, f.word(taps, 2)), 3)]
            with f.loop(0, f.word(taps, 4)) as tap:
                source, target = (
                    v.at(base, f.mul(tap.index, f.word(taps, step)))
                    for base, step in (reversed(ends) if back else ends)
                )
                scaled = f.value(f"fmul {v.element} {v.load_one(source)}, {scale}")
                v.store_one(scaled, target)

        self.segments("taps", TAPS, "0", self.given["segments"], each)


@dataclass(frozen=True)
class FftFilters(FftKernel):
    """Items are filters: (group, output channel, input channel). Each becomes a spectrum, divided
    by the length of the transform.
    """

    name = "fft_filters"
    pointers = ("w", "spectra", "taps", "scale")
    numbers = ("channels_in", "channels_out", "w_group", "w_out", "w_in", "segments")

    dtype: str

    def functions(self, code: Functions) -> None:
        write_fill(code, True)
        write_passes(code, inverse=False)
        write_lanes(code)

    def body(self, v: Vectors, given: Arguments) -> None:
        f, code = v.function, Code(v, given)
        scale = v.load_one(given["scale"])
        with f.loop("%begin", "%end") as item:
            rest, ci = f.divmod(item.index, given["channels_in"])
            g, co = f.divmod(rest, given["channels_out"])
            at = f.add(f.mul(g, given["w_group"]), f.mul(co, given["w_out"]))
            w = v.at(given["w"], f.add(at, f.mul(ci, given["w_in"])))
            to = v.at(given["spectra"], f.mul(item.index, given["buffer"]))
            code.call("blank", [to], [given["buffer"]])
            code.scale_taps(w, to, scale)
            code.transform("forward", to)
            code.lanes(to)
