"""Pooling of planes, second part: the taps of the last axis combined out of the buffer."""

from collections.abc import Mapping, Sequence

from faltung.codegen.vectors import Vectors
from faltung.methods.pool.kinds import store_below
from faltung.methods.pool.planes_rules import Rule, State

# Vectors of outputs side by side.
WIDE = 4


class Taps:
    """``stride``: 1, 2, or 0 for any; ``unrolled``: so many taps are written out, of 0 a loop."""

    def __init__(
        self,
        v: Vectors,
        rule: Rule,
        stride: int,
        unrolled: int,
        word: Mapping[str, str],
        buffers: Sequence[str],
    ) -> None:
        self.v, self.f, self.rule = v, v.function, rule
        self.stride, self.unrolled = stride, unrolled
        self.word, self.buffers = word, buffers

    def taps(self, target: dict[str, str], divisor: str, first: str, count: str) -> None:
        """Vectors of outputs out of the buffer; the last one is moved back, or stored in part."""
        f, v = self.f, self.v
        done = "0"
        wide = 1 if self.rule.size > 1 else WIDE
        for size in dict.fromkeys((wide, 1)):
            with f.loop(done, f.sub(count, size * v.lanes - 1), step=size * v.lanes) as at:
                self.outputs(target, divisor, first, at.index, size, None)
            done = at.index
        with f.when(f.value(f"icmp slt i64 {done}, {count}")):
            enough = f.value(f"icmp sge i64 {count}, {v.lanes}")
            moved = f.value(f"zext i1 {enough} to i64")
            f.switch(
                moved,
                [
                    lambda: self.outputs(target, divisor, first, "0", 1, count),
                    lambda: self.outputs(target, divisor, first, f.sub(count, v.lanes), 1, None),
                ],
            )

    def outputs(
        self,
        target: dict[str, str],
        divisor: str,
        first: str,
        at: str,
        size: int,
        part: str | None,
    ) -> None:
        """``size`` vectors of outputs; ``part``: so many elements of one."""
        f, v, word = self.f, self.v, self.word
        start = f.mul(at, word["stride"])
        states = [self.fetch(f.add(start, f.mul(word["stride"], q * v.lanes))) for q in range(size)]
        if self.unrolled:
            for tap in range(1, self.unrolled):
                here = f.add(start, f.mul(word["dilation"], tap))
                states = [
                    self.rule.both(s, self.fetch(self.barrier(here, q)))
                    for q, s in enumerate(states)
                ]
        else:
            begin = [(v.type, one) for state in states for one in state]
            with f.loop(1, word["taps"], begin) as turn:
                here = f.add(start, f.mul(word["dilation"], turn.index))
                made = [
                    self.rule.both(s, self.fetch(self.barrier(here, q)))
                    for q, s in enumerate(self.rule.grouped(turn.values))
                ]
                turn.carry([one for state in made for one in state])
            states = self.rule.grouped(turn.results)
        where = f.add(first, at)
        for q, state in enumerate(states):
            if self.rule.mean:
                rows = v.spread(f.value(f"sitofp i64 {divisor} to {v.element}"))
                across = v.load(v.at(v.at(word["divisors"], where), q * v.lanes))
                state = [v.div(state[0], v.mul(rows, across))]
            for name, value in zip(("target", "index"), state, strict=False):
                to = v.at(v.at(target[name], where), q * v.lanes)
                if part is None:
                    v.store(value, to)
                else:
                    store_below(v, value, to, part)

    def barrier(self, start: str, q: int) -> str:
        return self.f.add(start, self.f.mul(self.word["stride"], q * self.v.lanes))

    def fetch(self, start: str) -> State:
        """What a tap reads for one vector of outputs."""
        return [self.strided(self.v.at(buffer, start)) for buffer in self.buffers]

    def strided(self, address: str) -> str:
        v = self.v
        if self.stride == 1:
            return v.load(address)
        if self.stride == 2:
            one, two = v.load(address), v.load(v.at(address, v.lanes))
            return v.shuffle(one, two, [2 * i for i in range(v.lanes)])
        return v.gather(address, self.word["stride"])
