"""The code of copies: contiguous segments, gathers, and blocks transposed in registers."""

from collections.abc import Callable

from faltung.codegen.copies import RowMask, interleaved, parted, transpose_square
from faltung.codegen.narrow import memory
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import MISSING


@dataclass(frozen=True)
class Copy(Kernel):
    """A copy, in a ``mode`` of ``copy.py``.

    ``source``, ``target``: the dtypes in memory, where they are not ``dtype``. ``rows``: how many
    are interleaved, or parted.
    """

    pointers = ("src", "dst", "outer_table", "run_table")
    numbers = ("runs", "stride", "fill", "chunk")

    dtype: str
    mode: str
    source: str = ""
    target: str = ""
    rows: int = 0

    @property
    def symbol(self) -> str:
        dtypes = (self.source or self.dtype, self.target or self.dtype)
        return f"copy_{self.mode}{self.rows or ''}_{'_'.join(dict.fromkeys(dtypes))}"

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        read, write = memory(v, self.source), memory(v, self.target)
        more = f.add(given["runs"], f.sub(given["chunk"], 1))
        chunks = f.value(f"sdiv i64 {more}, {given['chunk']}")
        with f.loop("%begin", "%end") as item:
            o, chunk = f.divmod(item.index, chunks)
            entry = f.at(given["outer_table"], f.mul(o, 2), "i64")
            src = read.at(given["src"], f.word(entry, 0))
            dst = write.at(given["dst"], f.word(entry, 1))
            first = f.mul(chunk, given["chunk"])
            last = f.minimum(f.add(first, given["chunk"]), given["runs"])
            runs = _Runs(v, read, write, given, src, dst, first, last)
            if self.mode == "transpose":
                runs.transpose()
            elif self.mode == "untranspose":
                runs.untranspose()
            elif self.mode == "interleave":
                runs.interleave(self.rows)
            elif self.mode == "part":
                runs.part(self.rows)
            else:
                runs.copy(contiguous=self.mode == "runs")


@dataclass(frozen=True)
class _Runs:
    """The runs ``first`` to ``last`` of an item, and how both memories are accessed."""

    v: Vectors
    read: Vectors
    write: Vectors
    given: Arguments
    src: str
    dst: str
    first: str
    last: str

    def entry(self, j: str) -> tuple[str, str, str]:
        """Source offset, destination offset and length of run ``j``."""
        f = self.v.function
        at = f.at(self.given["run_table"], f.mul(j, 3), "i64")
        return f.word(at, 0), f.word(at, 1), f.word(at, 2)

    def copy(self, *, contiguous: bool) -> None:
        """Run by run; their elements are ``contiguous`` in the source, or gathered."""
        v, f, stride = self.v, self.v.function, self.given["stride"]
        source, target = self.read, self.write
        with f.loop(self.first, self.last) as j:
            run_src, run_dst, count = self.entry(j.index)
            missing = f.value(f"icmp eq i64 {run_src}, {MISSING}")
            available = f.value(f"select i1 {missing}, i64 0, i64 {count}")
            offset = f.value(f"select i1 {missing}, i64 0, i64 {run_src}")
            read, write = source.at(self.src, offset), target.at(self.dst, run_dst)
            whole = v.whole(available)

            def fetch(a: str, mask: str | None) -> str:
                if contiguous:
                    return source.load(source.at(read, a), mask)
                return source.gather(source.at(read, f.mul(a, stride)), stride, mask)

            with f.loop(0, whole, step=v.lanes) as a:
                target.store(fetch(a.index, None), target.at(write, a.index))
            length = f.maximum(count, self.given["fill"])
            with f.loop(whole, length, step=v.lanes) as a:
                got = fetch(a.index, v.below(f.sub(available, a.index)))
                target.store(got, target.at(write, a.index), v.below(f.sub(length, a.index)))

    def transpose(self) -> None:
        """From rows ``a`` of contiguous ``j`` to a run of contiguous ``a`` for each ``j``."""
        v, f, stride = self.v, self.v.function, self.given["stride"]
        origin, _, count = self.entry(self.first)
        filled = f.maximum(count, self.given["fill"])
        with (
            f.loop(0, count, step=v.lanes) as a,
            f.loop(self.first, self.last, step=v.lanes) as j,
        ):
            left, rows_left = f.sub(self.last, j.index), f.sub(count, a.index)
            along = f.add(origin, f.sub(j.index, self.first))
            corner = self.read.at(self.src, f.add(f.mul(a.index, stride), along))
            room = f.sub(filled, a.index)

            def row(i: int, mask: str | None) -> str:
                return self.read.load(self.read.at(corner, f.mul(stride, i)), mask)

            def read(mask: RowMask) -> list[str]:
                return [row(i, mask(i)) for i in range(v.lanes)]

            def store(i: int, run: str, lanes: str | None) -> None:
                _, run_dst, _ = self.entry(f.add(j.index, i))
                self.write.store(run, self.write.at(self.dst, f.add(run_dst, a.index)), lanes)

            least = f.minimum(left, rows_left)
            transpose_square(v, least, left, read, store, rows=rows_left, stored=room)

    def untranspose(self) -> None:
        """From a run of contiguous ``a`` for each ``j`` to rows ``a`` of contiguous ``j``."""
        v, f, stride = self.v, self.v.function, self.given["stride"]
        _, origin, count = self.entry(self.first)
        with (
            f.loop(0, count, step=v.lanes) as a,
            f.loop(self.first, self.last, step=v.lanes) as j,
        ):
            left, rows_left = f.sub(self.last, j.index), f.sub(count, a.index)
            column = self.write.at(self.dst, f.add(origin, f.sub(j.index, self.first)))

            def run(i: int, mask: str | None) -> str:
                index = f.add(j.index, i)
                if mask is not None:
                    # Beyond the last run there is no table entry: read the first one again, fully
                    # masked.
                    inside = f.value(f"icmp sgt i64 {left}, {i}")
                    index = f.value(f"select i1 {inside}, i64 {index}, i64 {self.first}")
                    mask = v.kept(inside, mask)
                run_src, _, _ = self.entry(index)
                return self.read.load(self.read.at(self.src, f.add(run_src, a.index)), mask)

            def read(mask: RowMask) -> list[str]:
                return [run(i, mask(i)) for i in range(v.lanes)]

            def store(i: int, row: str, columns: str | None) -> None:
                offset = f.mul(f.add(a.index, i), stride)
                self.write.store(row, self.write.at(column, offset), columns)

            least = f.minimum(left, rows_left)
            transpose_square(v, least, rows_left, read, store, stored=left)

    def interleave(self, rows: int) -> None:
        """From rows ``stride`` apart to one row of their first elements, then their second, ..."""
        v, f = self.v, self.v.function
        origin, to, _ = self.entry(self.first)
        starts = [f.add(origin, f.mul(self.given["stride"], i)) for i in range(rows)]

        def block(at: str, mask: str | None = None, left: str = "") -> None:
            sources = [self.read.at(self.src, f.add(start, at)) for start in starts]
            made = interleaved(v, [self.read.load(source, mask) for source in sources])
            target = self.write.at(self.dst, f.add(to, f.mul(at, rows)))
            for i, vector in enumerate(made):
                some = v.below(f.sub(f.mul(left, rows), i * v.lanes)) if left else None
                self.write.store(vector, self.write.at(target, i * v.lanes), some)

        self._blocks(f.sub(self.last, self.first), block)

    def part(self, rows: int) -> None:
        """From one row to its first, second, ... elements of every ``rows``, each a row."""
        v, f = self.v, self.v.function
        origin, _, count = self.entry(self.first)
        targets = [self.entry(f.add(self.first, i))[1] for i in range(rows)]

        def block(at: str, mask: str | None = None, left: str = "") -> None:
            source = self.read.at(self.src, f.add(origin, f.mul(at, rows)))
            loaded = []
            for i in range(rows):
                some = v.below(f.sub(f.mul(left, rows), i * v.lanes)) if left else None
                loaded.append(self.read.load(self.read.at(source, i * v.lanes), some))
            for target, vector in zip(targets, parted(v, loaded), strict=True):
                self.write.store(vector, self.write.at(self.dst, f.add(target, at)), mask)

        self._blocks(count, block)

    def _blocks(self, count: str, block: Callable[..., None]) -> None:
        """``block`` for every vector of ``count`` elements; the last is moved back to be whole, or
        masked where there are less.
        """
        v, f = self.v, self.v.function
        whole = v.whole(count)
        with f.loop(0, whole, step=v.lanes) as at:
            block(at.index)
        with f.when(f.value(f"icmp slt i64 {whole}, {count}")):
            enough = f.value(f"icmp sge i64 {count}, {v.lanes}")
            last = f.sub(count, v.lanes)
            f.choose(enough, lambda: block(last), lambda: block("0", v.below(count), count))
