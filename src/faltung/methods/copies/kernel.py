"""The code of copies: contiguous segments, gathers, and blocks transposed in registers."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

from faltung.codegen.ir import Function
from faltung.codegen.narrow import memory
from faltung.codegen.vectors import Vectors
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import MISSING


@dataclass(frozen=True)
class Copy(Kernel):
    """A copy, in a ``mode`` of ``copy.py``.

    ``source``, ``target``: the dtypes in memory, where they are not ``dtype``.
    """

    pointers = ("src", "dst", "outer_table", "run_table")
    numbers = ("runs", "stride", "fill", "chunk")

    dtype: str
    mode: str
    source: str = ""
    target: str = ""

    @property
    def symbol(self) -> str:
        dtypes = (self.source or self.dtype, self.target or self.dtype)
        return f"copy_{self.mode}_{'_'.join(dict.fromkeys(dtypes))}"

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        read, write = memory(v, self.source), memory(v, self.target)
        more = f.add(given["runs"], f.sub(given["chunk"], 1))
        chunks = f.value(f"sdiv i64 {more}, {given['chunk']}")
        copies = {
            "runs": _runs,
            "gather": _runs,
            "transpose": _transpose,
            "untranspose": _untranspose,
        }
        with f.loop("%begin", "%end") as item:
            o, chunk = f.divmod(item.index, chunks)
            entry = f.at(given["outer_table"], f.mul(o, 2), "i64")
            src = read.at(given["src"], f.word(entry, 0))
            dst = write.at(given["dst"], f.word(entry, 1))
            first = f.mul(chunk, given["chunk"])
            last = f.minimum(f.add(first, given["chunk"]), given["runs"])
            sides = _Sides(v, read, write)
            copies[self.mode](sides, given, src, dst, first, last, self.mode)


@dataclass(frozen=True)
class _Sides:
    """Vectors, and the two memories of a copy."""

    v: Vectors
    read: Vectors
    write: Vectors


def _entry(f: Function, given: Arguments, j: str) -> tuple[str, str, str]:
    """Source offset, destination offset and length of run ``j``."""
    at = f.at(given["run_table"], f.mul(j, 3), "i64")
    return f.word(at, 0), f.word(at, 1), f.word(at, 2)


def _runs(
    sides: _Sides, given: Arguments, src: str, dst: str, first: str, last: str, mode: str
) -> None:
    v, source, target = sides.v, sides.read, sides.write
    f = v.function
    with f.loop(first, last) as j:
        run_src, run_dst, count = _entry(f, given, j.index)
        missing = f.value(f"icmp eq i64 {run_src}, {MISSING}")
        available = f.value(f"select i1 {missing}, i64 0, i64 {count}")
        offset = f.value(f"select i1 {missing}, i64 0, i64 {run_src}")
        read, write = source.at(src, offset), target.at(dst, run_dst)
        whole = v.whole(available)

        def fetch(a: str, mask: str | None, read: str = read) -> str:
            if mode == "runs":
                return source.load(source.at(read, a), mask)
            return source.gather(source.at(read, f.mul(a, given["stride"])), given["stride"], mask)

        with f.loop(0, whole, step=v.lanes) as a:
            target.store(fetch(a.index, None), target.at(write, a.index))
        length = f.maximum(count, given["fill"])
        with f.loop(whole, length, step=v.lanes) as a:
            got = fetch(a.index, v.below(f.sub(available, a.index)))
            target.store(got, target.at(write, a.index), v.below(f.sub(length, a.index)))


def _either(f: Function, flag: str, block: Callable[[bool], None]) -> None:
    """Write code for full blocks, without masks (slow on some machines), and for partial ones."""
    with f.when(flag):
        block(True)
    with f.when(f.value(f"xor i1 {flag}, true")):
        block(False)


def _whole(v: Vectors, rows: str, columns: str) -> str:
    """Whether enough rows and columns are left for a full block."""
    f = v.function
    return f.value(f"icmp sge i64 {f.minimum(rows, columns)}, {v.lanes}")


def _transpose(
    sides: _Sides, given: Arguments, src: str, dst: str, first: str, last: str, mode: str
) -> None:
    """From rows ``a`` of contiguous ``j`` to a run of contiguous ``a`` for each ``j``."""
    v = sides.v
    f, n = v.function, v.lanes
    origin, _, count = _entry(f, given, first)
    filled = f.maximum(count, given["fill"])
    with f.loop(0, count, step=n) as a, f.loop(first, last, step=n) as j:
        left, rows_left = f.sub(last, j.index), f.sub(count, a.index)
        along = f.add(origin, f.sub(j.index, first))
        corner = sides.read.at(src, f.add(f.mul(a.index, given["stride"]), along))
        at, room = (j.index, a.index), (left, rows_left, f.sub(filled, a.index))
        block = partial(_transposed, sides, given, corner, dst, at, room)
        _either(f, _whole(v, left, rows_left), block)


def _transposed(
    sides: _Sides,
    given: Arguments,
    corner: str,
    dst: str,
    at: tuple[str, str],
    room: tuple[str, str, str],
    whole: bool,
) -> None:
    """One block of ``_transpose``.

    ``at``: its ``j`` and ``a``. ``room``: how many ``j`` and ``a`` are left to read, and how many
    ``a`` to write.
    """
    v, source, target = sides.v, sides.read, sides.write
    f, (j, a), (left, rows_left, filled) = v.function, at, room
    columns = None if whole else v.below(left)
    rows = []
    for i in range(v.lanes):
        mask = columns
        if columns is not None:
            # Beyond the last row the mask is empty: the load touches no memory and returns zeros.
            inside = f.value(f"icmp sgt i64 {rows_left}, {i}")
            mask = f.value(f"select i1 {inside}, {v.flags} {columns}, {v.flags} zeroinitializer")
        rows.append(source.load(source.at(corner, f.mul(given["stride"], i)), mask))
    lanes = None if whole else v.below(filled)
    for i, row in enumerate(v.transpose(rows)):
        with nullcontext() if whole else f.when(f.value(f"icmp sgt i64 {left}, {i}")):
            _, run_dst, _ = _entry(f, given, f.add(j, i))
            target.store(row, target.at(dst, f.add(run_dst, a)), lanes)


def _untranspose(
    sides: _Sides, given: Arguments, src: str, dst: str, first: str, last: str, mode: str
) -> None:
    """From a run of contiguous ``a`` for each ``j`` to rows ``a`` of contiguous ``j``."""
    v = sides.v
    f, n = v.function, v.lanes
    _, origin, count = _entry(f, given, first)
    with f.loop(0, count, step=n) as a, f.loop(first, last, step=n) as j:
        left, rows_left = f.sub(last, j.index), f.sub(count, a.index)
        target = sides.write.at(dst, f.add(origin, f.sub(j.index, first)))
        at, room = (j.index, a.index, first), (left, rows_left)
        block = partial(_untransposed, sides, given, src, target, at, room)
        _either(f, _whole(v, left, rows_left), block)


def _untransposed(
    sides: _Sides,
    given: Arguments,
    src: str,
    column: str,
    at: tuple[str, str, str],
    room: tuple[str, str],
    whole: bool,
) -> None:
    """One block of ``_untranspose``.

    ``at``: its ``j`` and ``a``, and the first ``j`` of the copy. ``room``: how many ``j`` and ``a``
    are left.
    """
    v, source, target = sides.v, sides.read, sides.write
    f, (j, a, first), (left, rows_left) = v.function, at, room
    mask = None if whole else v.below(rows_left)
    rows = []
    for i in range(v.lanes):
        index, lanes = f.add(j, i), mask
        if mask is not None:
            # Beyond the last run there is no table entry: read the first one again, fully masked.
            inside = f.value(f"icmp sgt i64 {left}, {i}")
            index = f.value(f"select i1 {inside}, i64 {index}, i64 {first}")
            lanes = f.value(f"select i1 {inside}, {v.flags} {mask}, {v.flags} zeroinitializer")
        run_src, _, _ = _entry(f, given, index)
        rows.append(source.load(source.at(src, f.add(run_src, a)), lanes))
    columns = None if whole else v.below(left)
    for i, row in enumerate(v.transpose(rows)):
        with nullcontext() if whole else f.when(f.value(f"icmp sgt i64 {rows_left}, {i}")):
            offset = f.mul(f.add(a, i), given["stride"])
            target.store(row, target.at(column, offset), columns)
