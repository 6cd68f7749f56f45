"""What is done with two values in pooling of planes.

A state is a vector of numbers, and beside it, where places are asked for, one of their places in
the plane, as bits.
"""

from collections.abc import Callable, Sequence
from math import inf

from faltung.codegen.vectors import Vectors
from faltung.methods.pool.kinds import integers, larger

# A place behind every other.
NOWHERE = {4: 2**31 - 1, 8: 2**63 - 1}

State = list[str]


class Rule:
    """``kind``: max, max_index or mean. ``outside``: a state that never counts."""

    def __init__(self, v: Vectors, kind: str) -> None:
        self.v, self.f, self.kind = v, v.function, kind
        self.whole = integers(v)
        self.mean = kind == "mean"
        rules: dict[str, Callable[[State, State], State]] = {
            "max": lambda a, b: [larger(v, a[0], b[0])],
            "max_index": self._larger_first,
            "mean": lambda a, b: [v.add(a[0], b[0])],
        }
        self.both = rules[kind]
        self.outside = [v.constant(0.0 if self.mean else -inf)]
        if kind == "max_index":
            every = f"splat (i{8 * v.bytes} {NOWHERE[v.bytes]})"
            self.outside.append(self.f.value(f"bitcast {self.whole} {every} to {v.type}"))

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
        before = f.value(f"icmp slt {self.whole} {self._bits(b[1])}, {self._bits(a[1])}")
        behind = f.value(f"icmp sgt {self.whole} {self._bits(b[1])}, {self._bits(a[1])}")
        same = f.value(f"and {v.flags} {v.compare('oeq', b[0], a[0])}, {before}")
        other = f.value(f"or {v.flags} {v.compare('ord', a[0], a[0])}, {behind}")
        nan = f.value(f"and {v.flags} {v.compare('uno', b[0], b[0])}, {other}")
        taken = f.value(f"or {v.flags} {v.compare('ogt', b[0], a[0])}, {same}")
        taken = f.value(f"or {v.flags} {taken}, {nan}")
        return [v.select(taken, new, old) for old, new in zip(a, b, strict=True)]

    def _bits(self, vector: str) -> str:
        return self.f.value(f"bitcast {self.v.type} {vector} to {self.whole}")

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
