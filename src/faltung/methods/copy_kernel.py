"""The code of copies: runs, gathers, and blocks transposed in registers (``copy.py``)."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

from faltung.codegen.ir import Function, Module
from faltung.codegen.narrow import memory
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine
from faltung.methods.step import MISSING

WORDS = ("src", "dst", "outer", "runs", "outer_table", "run_table", "stride", "fill", "chunk")


@dataclass(frozen=True)
class Copy:
    """The recipe of a copy; ``mode`` as in ``copy.py``. ``source``, ``target``: what the
    two memories hold, where that is not ``dtype``.
    """

    dtype: str
    mode: str
    source: str = ""
    target: str = ""

    @property
    def symbol(self) -> str:
        dtypes = (self.source or self.dtype, self.target or self.dtype)
        return f"copy_{self.mode}_{'_'.join(dict.fromkeys(dtypes))}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        f = module.function(
            self.symbol, [("ptr", "words"), ("i64", "begin"), ("i64", "end")], public=True
        )
        v = Vectors(f, machine, self.dtype)
        read, write = memory(v, self.source), memory(v, self.target)
        word = {name: f.word("%words", i) for i, name in enumerate(WORDS) if i in (2, 3, 6, 7, 8)}
        for i, name in enumerate(WORDS):
            if name not in word:
                word[name] = f.pointer("%words", i)
        more = f.add(word["runs"], f.sub(word["chunk"], 1))
        pieces = f.value(f"sdiv i64 {more}, {word['chunk']}")
        with f.loop("%begin", "%end") as item:
            o, piece = f.divmod(item.index, pieces)
            entry = f.at(word["outer_table"], f.mul(o, 2), "i64")
            src = read.at(word["src"], f.word(entry, 0))
            dst = write.at(word["dst"], f.word(entry, 1))
            first = f.mul(piece, word["chunk"])
            last = f.minimum(f.add(first, word["chunk"]), word["runs"])
            body = {
                "runs": _runs,
                "gather": _runs,
                "transpose": _transpose,
                "untranspose": _untranspose,
            }
            body[self.mode](_Sides(v, read, write), word, src, dst, first, last, self.mode)
        return str(module)


@dataclass(frozen=True)
class _Sides:
    """Vectors, and the memories that they come from and go to."""

    v: Vectors
    read: Vectors
    write: Vectors


def _entry(f: Function, word: dict[str, str], j: str) -> tuple[str, str, str]:
    """Source offset, destination offset and length of run ``j``."""
    at = f.at(word["run_table"], f.mul(j, 3), "i64")
    return f.word(at, 0), f.word(at, 1), f.word(at, 2)


def _runs(
    sides: _Sides, word: dict[str, str], src: str, dst: str, first: str, last: str, mode: str
) -> None:
    v, source, target = sides.v, sides.read, sides.write
    f = v.function
    with f.loop(first, last) as j:
        run_src, run_dst, count = _entry(f, word, j.index)
        missing = f.value(f"icmp eq i64 {run_src}, {MISSING}")
        available = f.value(f"select i1 {missing}, i64 0, i64 {count}")
        offset = f.value(f"select i1 {missing}, i64 0, i64 {run_src}")
        read, write = source.at(src, offset), target.at(dst, run_dst)
        whole = f.mul(f.value(f"sdiv i64 {available}, {v.lanes}"), v.lanes)

        def fetch(a: str, mask: str | None, read: str = read) -> str:
            if mode == "runs":
                return source.load(source.at(read, a), mask)
            return source.gather(source.at(read, f.mul(a, word["stride"])), word["stride"], mask)

        with f.loop(0, whole, step=v.lanes) as a:
            target.store(fetch(a.index, None), target.at(write, a.index))
        length = f.value(
            f"call i64 {f.module.declare('llvm.smax.i64', 'i64', 'i64', 'i64')}"
            f"(i64 {count}, i64 {word['fill']})"
        )
        with f.loop(whole, length, step=v.lanes) as a:
            got = fetch(a.index, v.below(f.sub(available, a.index)))
            target.store(got, target.at(write, a.index), v.below(f.sub(length, a.index)))


def _either(f: Function, flag: str, block: Callable[[bool], None]) -> None:
    """A block that is whole, without masks, which are slow where the machine has none; or a part
    of one.
    """
    with f.when(flag):
        block(True)
    with f.when(f.value(f"xor i1 {flag}, true")):
        block(False)


def _whole(v: Vectors, rows: str, columns: str) -> str:
    """Whether there are as many rows and columns left as a block has."""
    f = v.function
    return f.value(f"icmp sge i64 {f.minimum(rows, columns)}, {v.lanes}")


def _transpose(
    sides: _Sides, word: dict[str, str], src: str, dst: str, first: str, last: str, mode: str
) -> None:
    """Rows ``a`` of neighbouring ``j`` -> for each ``j`` a run of neighbouring ``a``."""
    v = sides.v
    f, n = v.function, v.lanes
    origin, _, count = _entry(f, word, first)
    filled = f.value(
        f"call i64 {f.module.declare('llvm.smax.i64', 'i64', 'i64', 'i64')}"
        f"(i64 {count}, i64 {word['fill']})"
    )
    with f.loop(0, count, step=n) as a, f.loop(first, last, step=n) as j:
        left, rows_left = f.sub(last, j.index), f.sub(count, a.index)
        along = f.add(origin, f.sub(j.index, first))
        corner = sides.read.at(src, f.add(f.mul(a.index, word["stride"]), along))
        at, room = (j.index, a.index), (left, rows_left, f.sub(filled, a.index))
        block = partial(_turned, sides, word, corner, dst, at, room)
        _either(f, _whole(v, left, rows_left), block)


def _turned(
    sides: _Sides,
    word: dict[str, str],
    corner: str,
    dst: str,
    at: tuple[str, str],
    room: tuple[str, str, str],
    whole: bool,
) -> None:
    """One block of ``_transpose``. ``at``: its ``j`` and ``a``; ``room``: how many ``j`` and ``a``
    are left, and how many ``a`` are written.
    """
    v, source, target = sides.v, sides.read, sides.write
    f, (j, a), (left, rows_left, filled) = v.function, at, room
    columns = None if whole else v.below(left)
    rows = []
    for i in range(v.lanes):
        mask = columns
        if columns is not None:
            # Past the last row the mask is empty: the load touches nothing and gives zeros.
            inside = f.value(f"icmp sgt i64 {rows_left}, {i}")
            mask = f.value(f"select i1 {inside}, {v.flags} {columns}, {v.flags} zeroinitializer")
        rows.append(source.load(source.at(corner, f.mul(word["stride"], i)), mask))
    lanes = None if whole else v.below(filled)
    for i, row in enumerate(v.transpose(rows)):
        with nullcontext() if whole else f.when(f.value(f"icmp sgt i64 {left}, {i}")):
            _, run_dst, _ = _entry(f, word, f.add(j, i))
            target.store(row, target.at(dst, f.add(run_dst, a)), lanes)


def _untranspose(
    sides: _Sides, word: dict[str, str], src: str, dst: str, first: str, last: str, mode: str
) -> None:
    """For each ``j`` a run of neighbouring ``a`` -> rows ``a`` of neighbouring ``j``."""
    v = sides.v
    f, n = v.function, v.lanes
    _, origin, count = _entry(f, word, first)
    with f.loop(0, count, step=n) as a, f.loop(first, last, step=n) as j:
        left, rows_left = f.sub(last, j.index), f.sub(count, a.index)
        target = sides.write.at(dst, f.add(origin, f.sub(j.index, first)))
        at, room = (j.index, a.index, first), (left, rows_left)
        block = partial(_turned_back, sides, word, src, target, at, room)
        _either(f, _whole(v, left, rows_left), block)


def _turned_back(
    sides: _Sides,
    word: dict[str, str],
    src: str,
    column: str,
    at: tuple[str, str, str],
    room: tuple[str, str],
    whole: bool,
) -> None:
    """One block of ``_untranspose``. ``at``: its ``j`` and ``a``, and the first ``j`` of all;
    ``room``: how many ``j`` and ``a`` are left.
    """
    v, source, target = sides.v, sides.read, sides.write
    f, (j, a, first), (left, rows_left) = v.function, at, room
    mask = None if whole else v.below(rows_left)
    rows = []
    for i in range(v.lanes):
        index, lanes = f.add(j, i), mask
        if mask is not None:
            # Past the last run its table entry is not read: the first one is read again and masked
            # away.
            inside = f.value(f"icmp sgt i64 {left}, {i}")
            index = f.value(f"select i1 {inside}, i64 {index}, i64 {first}")
            lanes = f.value(f"select i1 {inside}, {v.flags} {mask}, {v.flags} zeroinitializer")
        run_src, _, _ = _entry(f, word, index)
        rows.append(source.load(source.at(src, f.add(run_src, a)), lanes))
    columns = None if whole else v.below(left)
    for i, row in enumerate(v.transpose(rows)):
        with nullcontext() if whole else f.when(f.value(f"icmp sgt i64 {rows_left}, {i}")):
            offset = f.mul(f.add(a, i), word["stride"])
            target.store(row, target.at(column, offset), columns)
