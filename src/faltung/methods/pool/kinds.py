"""What each kind of pooling does at a tap, with several vectors at once.

A step takes the state (the results so far), what was read (the values, and beside them the taps
that were chosen, where these are read) and the number of the tap in every lane, and gives the next
state.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from faltung.codegen.vectors import Vectors

Rows = Sequence[Sequence[str]]


def integers(v: Vectors) -> str:
    """The type of a vector of taps: whole numbers as wide as the values."""
    return f"<{v.lanes} x i{8 * v.bytes}>"


def every(v: Vectors, number: str) -> str:
    """A whole number (an ``i64``) in every lane."""
    bits = 8 * v.bytes
    if bits < 64:
        number = v.function.value(f"trunc i64 {number} to i{bits}")
    return _whole(v, v.spread(v.function.value(f"bitcast i{bits} {number} to {v.element}")))


def _whole(v: Vectors, vector: str) -> str:
    """The bits of a vector as whole numbers."""
    return v.function.value(f"bitcast {v.type} {vector} to {integers(v)}")


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


def larger(v: Vectors, best: str, read: str) -> str:
    """The larger one, the earlier one of equals; a NaN is larger than any number."""
    return v.select(v.compare("uno", read, read), read, v.max(best, read))


def _max(v: Vectors, state: Sequence[str], rows: Rows, number: str) -> list[str]:
    return [larger(v, best, read) for best, read in zip(state, rows[0], strict=True)]


def _max_index(v: Vectors, state: Sequence[str], rows: Rows, number: str) -> list[str]:
    """As ``_max``, and the number of the tap that it came from."""
    f, whole, count = v.function, integers(v), len(rows[0])
    values, taps = [], []
    for read, best, tap in zip(rows[0], state[:count], state[count:], strict=True):
        larger, nan = v.compare("ogt", read, best), v.compare("uno", read, read)
        taken = f.value(f"or {v.flags} {larger}, {nan}")
        values.append(v.select(taken, read, best))
        taps.append(f.value(f"select {v.flags} {taken}, {whole} {number}, {whole} {tap}"))
    return [*values, *taps]


def _chosen(v: Vectors, state: Sequence[str], rows: Rows, number: str) -> list[str]:
    """The sum of what was chosen at this tap."""
    made = []
    for total, grad, index in zip(state, *rows, strict=True):
        same = v.function.value(f"icmp eq {integers(v)} {_whole(v, index)}, {number}")
        made.append(v.add(total, v.select(same, grad, v.zero)))
    return made


def _sum(v: Vectors, state: Sequence[str], rows: Rows, number: str) -> list[str]:
    return [v.add(total, read) for total, read in zip(state, rows[0], strict=True)]


@dataclass(frozen=True, slots=True)
class Kind:
    """``columns``: vectors that are done side by side, the most first. ``first``: where a
    reduction begins. ``index``: whether the array of taps is read beside the "source", written
    beside the "target", or not there. ``mean``: each entry of the table is summed for itself (sums
    of sums lose less), and the whole divided.
    """

    step: Callable[[Vectors, Sequence[str], Rows, str], list[str]]
    columns: tuple[int, ...] = (4, 2, 1)
    first: float = 0.0
    index: str = ""
    mean: bool = False


KINDS = {
    "max": Kind(_max, first=-inf),
    "max_index": Kind(_max_index, first=-inf, index="target"),
    "chosen": Kind(_chosen, index="source"),
    "mean": Kind(_sum, (8, 4, 2, 1), mean=True),
}
