"""How values are combined at a tap: maxima, maxima with their taps, sums, and what was chosen.

With channels last (``REDUCTIONS``) taps come in their order. A step takes the state (the results so
far), what was read (the values, and the taps that were chosen, where these are read)
and the number of the tap in every lane, and gives the next state, several vectors at once.

With channels first (``PlaneReduction``) columns come before taps, so that the order is another. A
state is a vector of numbers and, where places are asked for, one of their places in the plane, as
bits.
"""

from collections.abc import Callable, Sequence
from math import inf

from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass

Rows = Sequence[Sequence[str]]
State = list[str]

# A place behind every other, by the bytes of its number.
LAST_PLACE = {4: 2**31 - 1, 8: 2**63 - 1}


# Channels last ------------------------------------------------------------------------------------


def larger(v: Vectors, best: str, read: str) -> str:
    """The larger one, the earlier one of equals; a NaN is larger than any number."""
    return v.select(v.compare("uno", read, read), read, v.max(best, read))


def _max(v: Vectors, state: Sequence[str], rows: Rows, number: str) -> list[str]:
    return [larger(v, best, read) for best, read in zip(state, rows[0], strict=True)]


def _max_index(v: Vectors, state: Sequence[str], rows: Rows, number: str) -> list[str]:
    """As ``_max``, and the number of the tap that it came from."""
    f, whole, count = v.function, v.integers, len(rows[0])
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
        same = v.function.value(f"icmp eq {v.integers} {v.bits(index)}, {number}")
        made.append(v.add(total, v.select(same, grad, v.zero)))
    return made


def _sum(v: Vectors, state: Sequence[str], rows: Rows, number: str) -> list[str]:
    return [v.add(total, read) for total, read in zip(state, rows[0], strict=True)]


@dataclass(frozen=True, slots=True)
class Reduction:
    """``vectors``: so many are combined at once, the most first. ``first``: where a reduction
    begins. ``index``: whether the array of taps is read with the "source", written with the
    "target", or not there. ``mean``: each entry of the table is summed for itself (sums of sums
    lose less), and the whole divided.
    """

    step: Callable[[Vectors, Sequence[str], Rows, str], list[str]]
    vectors: tuple[int, ...] = (4, 2, 1)
    first: float = 0.0
    index: str = ""
    mean: bool = False


REDUCTIONS = {
    "max": Reduction(_max, first=-inf),
    "max_index": Reduction(_max_index, first=-inf, index="target"),
    "chosen": Reduction(_chosen, index="source"),
    "mean": Reduction(_sum, (8, 4, 2, 1), mean=True),
}


# Channels first -----------------------------------------------------------------------------------


class PlaneReduction:
    """``kind``: max, max_index or mean. ``outside``: a state that never counts."""

    def __init__(self, v: Vectors, kind: str) -> None:
        self.v, self.f, self.kind = v, v.function, kind
        self.whole = v.integers
        self.mean = kind == "mean"
        rules: dict[str, Callable[[State, State], State]] = {
            "max": lambda a, b: [larger(v, a[0], b[0])],
            "max_index": self._larger_first,
            "mean": lambda a, b: [v.add(a[0], b[0])],
        }
        self.both = rules[kind]
        self.outside = [v.constant(0.0 if self.mean else -inf)]
        if kind == "max_index":
            last = v.splat(LAST_PLACE[v.bytes])
            self.outside.append(self.f.value(f"bitcast {self.whole} {last} to {v.type}"))

    @property
    def size(self) -> int:
        """Vectors in a state."""
        return 1 + (self.kind == "max_index")

    def grouped(self, values: Sequence[str]) -> list[State]:
        """States out of their vectors in a row."""
        return [list(values[i : i + self.size]) for i in range(0, len(values), self.size)]

    def state(self, values: str, first: str) -> State:
        """Numbers, the first of which stands at the place ``first``."""
        return [values, self._numbers(first)][: self.size]

    def _larger_first(self, a: State, b: State) -> State:
        """The larger one, of equals that with the smaller place, of NaNs that with the larger."""
        v, f = self.v, self.f
        before, behind = (
            f.value(f"icmp {sign} {self.whole} {v.bits(b[1])}, {v.bits(a[1])}")
            for sign in ("slt", "sgt")
        )
        same = f.value(f"and {v.flags} {v.compare('oeq', b[0], a[0])}, {before}")
        other = f.value(f"or {v.flags} {v.compare('ord', a[0], a[0])}, {behind}")
        nan = f.value(f"and {v.flags} {v.compare('uno', b[0], b[0])}, {other}")
        taken = f.value(f"or {v.flags} {v.compare('ogt', b[0], a[0])}, {same}")
        taken = f.value(f"or {v.flags} {taken}, {nan}")
        return [v.select(taken, new, old) for old, new in zip(a, b, strict=True)]

    def _numbers(self, first: str) -> str:
        """``first`` and the whole numbers after it, as bits."""
        if self.size == 1:
            return ""
        f, v, width = self.f, self.v, 8 * self.v.bytes
        narrow = first if width == 64 else f.value(f"trunc i64 {first} to i{width}")
        every = v.spread(narrow, f"i{width}")
        steps = ", ".join(f"i{width} {i}" for i in range(v.lanes))
        made = f.value(f"add {self.whole} {every}, <{steps}>")
        return f.value(f"bitcast {self.whole} {made} to {v.type}")
