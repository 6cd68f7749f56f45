"""Rows of a few channels side by side: each row a lane, each channel a vector.

A group of rows is loaded, turned in registers (Eklundh's transposition), and turned back before it
is stored. What belongs to a row, its sum, logarithm and loss, is then a vector of its own and costs
no more than for one row. In the last group absent rows are the last row once more: they read what
is there, and write what it writes.
"""

from functools import reduce

from faltung.codegen import math
from faltung.codegen.vectors import Vectors
from faltung.methods.rows.softmax_loss import Targets, loss


def write(v: Vectors, kind: str, channels: int) -> None:
    """The body of the kernel. Words: x, out, x pitch, out pitch, rows, channels; for cross-entropy
    also labels, scale, smoothing, losses, correct.
    """
    f = v.function
    x, out = f.pointer("%words", 0), f.pointer("%words", 1)
    x_pitch, out_pitch, rows = (f.word("%words", i) for i in (2, 3, 4))
    last = f.sub(rows, 1)
    targets, absent = None, ""
    if kind == "cross_entropy":
        targets = Targets(v, v.constant(channels))
        absent = v.spread(f.word(f.pointer("%words", 6), last), "i64")
    with f.loop("%begin", "%end") as item:
        first = f.mul(item.index, v.lanes)
        row = [f.minimum(f.add(first, i), last) for i in range(v.lanes)]
        columns = _turned_in(v, [v.at(x, f.mul(r, x_pitch)) for r in row], channels)
        top = reduce(v.max, columns[1:], columns[0])
        away = [v.sub(column, top) for column in columns]
        powers = [math.exp(v, a) for a in away]
        total = reduce(v.add, powers)
        if targets is not None:
            label = _labels(v, first, f.sub(rows, first), absent, channels)
            found = _cross_entropy(v, targets, label, columns, away, powers, total)
            losses, correct, made = found
            _store_numbers(v, (losses, correct), first, f.sub(rows, first))
        elif kind == "softmax":
            share = v.div(v.constant(1.0), total)
            made = [v.mul(power, share) for power in powers]
        else:
            log_total = math.log(v, total)
            made = [v.sub(a, log_total) for a in away]
        _turned_out(v, made, [v.at(out, f.mul(r, out_pitch)) for r in row])


def _turned_in(v: Vectors, rows: list[str], channels: int) -> list[str]:
    """A vector for each channel."""
    columns: list[str] = []
    for start in range(0, channels, v.lanes):
        mask = v.first(channels - start)
        block = v.transpose([v.load(v.at(row, start), mask) for row in rows])
        columns += block[: channels - start]
    return columns


def _turned_out(v: Vectors, columns: list[str], rows: list[str]) -> None:
    for start in range(0, len(columns), v.lanes):
        block = columns[start : start + v.lanes]
        turned = v.transpose(block + [v.zero] * (v.lanes - len(block)))
        for row, value in zip(rows, turned, strict=True):
            v.store_first(value, v.at(row, start), len(block))


def _integers(v: Vectors) -> str:
    return f"<{v.lanes} x i{8 * v.bytes}>"


def _every(v: Vectors, number: int) -> str:
    return f"splat (i{8 * v.bytes} {number})"


def _labels(v: Vectors, first: str, count: str, absent: str, channels: int) -> str:
    """The labels of a group, as wide as the elements, -1 for those that are no channel.

    absent: that of the last row, which stands in for absent ones.
    """
    f = v.function
    wide = f"<{v.lanes} x i64>"
    callee = f.module.declare(
        f"llvm.masked.load.v{v.lanes}i64.p0", wide, "ptr", "i32", v.flags, wide
    )
    address = f.at(f.pointer("%words", 6), first, "i64")
    found = f.value(
        f"call {wide} {callee}(ptr {address}, i32 8, {v.flags} {v.below(count)}, {wide} {absent})"
    )
    inside = f.value(f"icmp ult {wide} {found}, splat (i64 {channels})")
    none = f"{wide} splat (i64 -1)"
    found = f.value(f"select {v.flags} {inside}, {wide} {found}, {none}")
    return found if v.bytes == 8 else f.value(f"trunc {wide} {found} to {_integers(v)}")


def _cross_entropy(
    v: Vectors,
    targets: Targets,
    label: str,
    columns: list[str],
    away: list[str],
    powers: list[str],
    total: str,
) -> tuple[str, str, list[str]]:
    """Losses, whether each is right, and the gradient by channel."""
    f, kind = v.function, _integers(v)
    here = [f.value(f"icmp eq {kind} {label}, {_every(v, c)}") for c in range(len(columns))]
    counts = f.value(f"icmp ne {kind} {label}, {_every(v, -1)}")
    chosen, best, first_best = v.zero, columns[0], here[0]
    for c, column in enumerate(columns):
        chosen = v.select(here[c], away[c], chosen)
        if c:
            # The first of the largest is that of the label: handed on until a larger one comes.
            larger = v.compare("ogt", column, best)
            best = v.select(larger, column, best)
            first_best = f.value(
                f"select {v.flags} {larger}, {v.flags} {here[c]}, {v.flags} {first_best}"
            )
    share = v.div(v.constant(1.0), total)
    gradient = [
        v.mul(
            targets.scale,
            v.multiply_add(
                power, share, v.select(here[c], targets.minus_label, targets.minus_rest)
            ),
        )
        for c, power in enumerate(powers)
    ]
    value = loss(v, targets, total, chosen, reduce(v.add, away))
    right = f.value(f"and {v.flags} {first_best}, {v.compare('ord', total, total)}")
    correct = v.select(right, v.constant(1.0), v.zero)
    value, *gradient = (v.select(counts, part, v.zero) for part in (value, *gradient))
    return value, correct, gradient


def _store_numbers(v: Vectors, numbers: tuple[str, str], first: str, count: str) -> None:
    """A number for each row of the group, in arrays beside each other."""
    f = v.function
    places = [v.at(f.pointer("%words", i), first) for i in (9, 10)]

    def store(mask: str | None) -> None:
        for number, place in zip(numbers, places, strict=True):
            v.store(number, place, mask)

    short = f.value(f"zext i1 {f.value(f'icmp slt i64 {count}, {v.lanes}')} to i64")
    f.switch(short, [lambda: store(None), lambda: store(v.below(count))])
