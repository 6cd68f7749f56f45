"""Rows of any length one by one, vectors along the channels.

The first pass finds the largest entry, the second leaves the powers in the output, the third
scales them; by then the row is in the first-level cache.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from math import inf

from faltung.codegen import math
from faltung.codegen.vectors import Vectors
from faltung.methods.rows.softmax_loss import Targets, loss

# Vectors that look for the largest entry side by side: a single one would wait for itself.
SIDE = 4


def write(v: Vectors, kind: str) -> None:
    """The body of the kernel; its words as in `softmax_narrow`."""
    f = v.function
    x, out = f.pointer("%words", 0), f.pointer("%words", 1)
    x_pitch, out_pitch = f.word("%words", 2), f.word("%words", 3)
    row = _Row(v, f.word("%words", 5))
    count = v.spread(f.value(f"sitofp i64 {row.channels} to {v.element}"))
    targets = Targets(v, count) if kind == "cross_entropy" else None
    with f.loop("%begin", "%end") as item:
        src = v.at(x, f.mul(item.index, x_pitch))
        dst = v.at(out, f.mul(item.index, out_pitch))
        if targets is not None:
            _cross_entropy(v, row, targets, src, dst, item.index)
        elif kind == "softmax":
            total, _ = row.powers(src, dst, row.largest(src, row.channels))
            share = v.div(v.constant(1.0), total)
            row.each(dst, dst, lambda power: v.mul(power, share))
        else:
            top = row.largest(src, row.channels)
            total, _ = row.powers(src, None, top)
            log_total = math.log(v, total)
            row.each(src, dst, lambda entry: v.sub(v.sub(entry, top), log_total))


class _Row:
    """Loops over the channels of a row: whole vectors, then what is left of one."""

    def __init__(self, v: Vectors, channels: str) -> None:
        self.v = v
        self.channels = channels
        self.whole = self._whole(channels)
        self.mask = v.below(v.function.sub(channels, self.whole))

    def _whole(self, count: str, vectors: int = 1) -> str:
        f, size = self.v.function, vectors * self.v.lanes
        return f.mul(f.value(f"sdiv i64 {count}, {size}"), size)

    def largest(self, src: str, count: str) -> str:
        """The largest of the first ``count`` entries in every lane, NaN left out; -inf for none."""
        v, f = self.v, self.v.function
        low = v.constant(-inf)
        many, whole = self._whole(count, SIDE), self._whole(count)
        with f.loop(0, many, [(v.type, low)] * SIDE, step=SIDE * v.lanes) as turn:
            places = [v.at(src, f.add(turn.index, k * v.lanes)) for k in range(SIDE)]
            turn.carry(
                [v.max(best, v.load(at)) for best, at in zip(turn.values, places, strict=True)]
            )
        best = reduce(v.max, turn.results)
        with f.loop(many, whole, [(v.type, best)], step=v.lanes) as turn:
            turn.carry([v.max(turn.values[0], v.load(v.at(src, turn.index)))])
        with f.loop(whole, count, turn_of(v, turn.results), step=v.lanes) as turn:
            mask = v.below(f.sub(count, turn.index))
            entry = v.select(mask, v.load(v.at(src, turn.index), mask), low)
            turn.carry([v.max(turn.values[0], entry)])
        best, half = turn.results[0], v.lanes // 2
        while half:
            best = v.max(best, v.shuffle(best, best, [i ^ half for i in range(v.lanes)]))
            half //= 2
        return best

    def powers(self, src: str, dst: str | None, top: str) -> tuple[str, str]:
        """``e**(x - top)`` to ``dst``; their sum and that of ``x - top``, in every lane."""
        v = self.v

        def add(at: str, mask: str | None, sums: Sequence[str]) -> list[str]:
            away = v.sub(v.load(v.at(src, at), mask), top)
            power = math.exp(v, away)
            if dst is not None:
                v.store(power, v.at(dst, at), mask)
            if mask is not None:
                away, power = (v.select(mask, part, v.zero) for part in (away, power))
            return [v.add(total, part) for total, part in zip(sums, (power, away), strict=True)]

        powers, away = self._over(add, [v.zero, v.zero])
        return v.spread(v.total(powers)), v.spread(v.total(away))

    def each(self, src: str, dst: str, formula: Callable[[str], str]) -> None:
        """``dst = formula(src)``."""
        v = self.v

        def one(at: str, mask: str | None, sums: Sequence[str]) -> list[str]:
            v.store(formula(v.load(v.at(src, at), mask)), v.at(dst, at), mask)
            return []

        self._over(one, [])

    def _over(
        self,
        body: Callable[[str, str | None, Sequence[str]], list[str]],
        carried: list[str],
    ) -> list[str]:
        v, f = self.v, self.v.function
        with f.loop(0, self.whole, turn_of(v, carried), step=v.lanes) as turn:
            turn.carry(body(turn.index, None, turn.values))
        # No turn, or one: a mask of no lanes would cost as much as another.
        with f.loop(self.whole, self.channels, turn_of(v, turn.results), step=v.lanes) as turn:
            turn.carry(body(turn.index, self.mask, turn.values))
        return turn.results


def turn_of(v: Vectors, values: Sequence[str]) -> list[tuple[str, str]]:
    """Vectors as a loop carries them."""
    return [(v.type, value) for value in values]


def _cross_entropy(v: Vectors, row: _Row, targets: Targets, src: str, dst: str, index: str) -> None:
    f = v.function
    label = f.word(f.pointer("%words", 6), index)
    losses, correct = (v.at(f.pointer("%words", i), index) for i in (9, 10))

    def ignored() -> None:
        row.each(src, dst, lambda entry: v.zero)
        for place in (losses, correct):
            v.store_first(v.zero, place, 1)

    def counts() -> None:
        top = row.largest(src, row.channels)
        chosen = v.broadcast(v.at(src, label))
        likely = v.compare("oeq", chosen, top)
        # Right, unless another entry before it is as large: looked for only where it may matter.
        found = f.value(f"extractelement {v.flags} {likely}, i64 0")
        earlier = row.largest(src, f.value(f"select i1 {found}, i64 {label}, i64 0"))
        total, away = row.powers(src, dst, top)
        value = loss(v, targets, total, v.sub(chosen, top), away)
        share, own = v.div(v.constant(1.0), total), v.broadcast(v.at(dst, label))

        def gradient(power: str, minus_target: str = targets.minus_rest) -> str:
            return v.mul(targets.scale, v.multiply_add(power, share, minus_target))

        row.each(dst, dst, gradient)
        v.store_first(gradient(own, targets.minus_label), v.at(dst, label), 1)
        right = v.select(v.compare("olt", earlier, top), v.constant(1.0), v.zero)
        for condition in (likely, v.compare("ord", total, total)):
            right = v.select(condition, right, v.zero)
        v.store_first(value, losses, 1)
        v.store_first(right, correct, 1)

    inside = f.value(f"icmp ult i64 {label}, {row.channels}")
    f.switch(f.value(f"zext i1 {inside} to i64"), [ignored, counts])
