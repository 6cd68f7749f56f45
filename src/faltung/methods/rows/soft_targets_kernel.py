"""The code of cross-entropy with a probability for each channel as target.

As in ``softmax_kernel.py`` short rows have a lane each, and long ones fill the vectors.
"""

from collections.abc import Sequence
from functools import reduce

from faltung.codegen import math
from faltung.codegen.copies import load_columns
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.rows.softmax_kernel import Row, store_columns


@dataclass(frozen=True)
class SoftTargetsKernel(Kernel):
    """``channels``: those of short rows; 0 for rows one by one, of any length."""

    pointers = ("x", "targets", "out", "scale", "losses")
    numbers = ("x_pitch", "targets_pitch", "out_pitch", "rows", "channels")

    dtype: str
    channels: int

    @property
    def symbol(self) -> str:
        return f"soft_cross_entropy_{self.dtype}"

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.pointers, self.numbers

    def body(self, v: Vectors, given: Arguments) -> None:
        if self.channels:
            _narrow(v, given, self.channels)
        else:
            _wide(v, given)


def _term(v: Vectors, target: str, away: str) -> str:
    """``t * away``; what has no weight does not count, be it infinite."""
    return v.select(v.compare("oeq", target, v.zero), v.zero, v.mul(target, away))


def _narrow(v: Vectors, given: Arguments, channels: int) -> None:
    """Items are groups of as many rows as there are lanes."""
    f, rows = v.function, given["rows"]
    last, scale = f.sub(rows, 1), v.broadcast(given["scale"])
    with f.loop("%begin", "%end") as item:
        first = f.mul(item.index, v.lanes)
        row = [f.minimum(f.add(first, i), last) for i in range(v.lanes)]

        def places(name: str, row: Sequence[str] = row) -> list[str]:
            return [v.at(given[name], f.mul(r, given[f"{name}_pitch"])) for r in row]

        columns = load_columns(v, places("x"), channels)
        targets = load_columns(v, places("targets"), channels)
        top = reduce(v.max, columns[1:], columns[0])
        away = [v.sub(column, top) for column in columns]
        powers = [math.exp_down(v, a) for a in away]
        total, whole = reduce(v.add, powers), reduce(v.add, targets)
        counts = v.compare("une", whole, v.zero)
        cross = reduce(v.add, map(_term, [v] * channels, targets, away))
        loss = v.sub(v.mul(whole, math.log(v, total)), cross)
        inverse = v.div(whole, total)
        made = [
            v.mul(scale, v.sub(v.mul(power, inverse), target))
            for power, target in zip(powers, targets, strict=True)
        ]
        made = [v.select(counts, one, v.zero) for one in made]
        store_columns(v, made, places("out"))
        place, loss = v.at(given["losses"], first), v.select(counts, loss, v.zero)
        left = f.sub(rows, first)
        short = f.value(f"icmp slt i64 {left}, {v.lanes}")

        def store(mask: str | None, loss: str = loss, place: str = place) -> None:
            v.store(loss, place, mask)

        f.choose(short, lambda: store(v.below(left)), lambda: store(None))


def _wide(v: Vectors, given: Arguments) -> None:
    """Items are rows."""
    f = v.function
    row, scale = Row(v, given["channels"]), v.broadcast(given["scale"])
    with f.loop("%begin", "%end") as item:
        src, targets, dst = (
            v.at(given[name], f.mul(item.index, given[f"{name}_pitch"]))
            for name in ("x", "targets", "out")
        )
        place = v.at(given["losses"], item.index)
        whole = row.total(targets)

        def ignored(dst: str = dst, src: str = src, place: str = place) -> None:
            row.each(src, dst, lambda entry: v.zero)
            v.store_first(v.zero, place, 1)

        def counts(
            dst: str = dst,
            src: str = src,
            targets: str = targets,
            place: str = place,
            whole: str = whole,
        ) -> None:
            top = row.largest(src, row.channels)
            total, cross = row.powers(src, dst, top, targets)
            inverse = v.div(whole, total)
            row.each_weighted(dst, targets, lambda p, t: v.mul(scale, v.sub(v.mul(p, inverse), t)))
            v.store_first(v.sub(v.mul(whole, math.log(v, total)), cross), place, 1)

        some = f.value(f"extractelement {v.flags} {v.compare('une', whole, v.zero)}, i64 0")
        f.choose(some, counts, ignored)
