"""The code of softmax and cross-entropy: short rows with a lane each, long ones one by one.

Short rows: a group of them is loaded, transposed in registers (Eklundh's method), and transposed
again before it is stored, so that each row is a lane and each channel a vector. What belongs to a
row, its sum, logarithm and loss, is then computed for all lanes at the cost of one. Rows that the
last group lacks are the last row once more: they read what is there, and write what it writes.

Long rows: the first pass finds the largest entry, the second leaves the powers in the output, the
third scales them; by then the row is in the first-level cache.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from math import inf

from faltung.codegen import math
from faltung.codegen.copies import load_columns
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.methods.base.kernel import Arguments, Kernel

# Vectors that look for the largest entry at once: a single one would wait for itself.
MAXIMUM_VECTORS = 4


@dataclass(frozen=True)
class SoftmaxKernel(Kernel):
    """``channels``: those of short rows; 0 for rows one by one, of any length. ``loss``: the loss
    and its gradient instead of probabilities; ``weighted``: with a weight for each channel.
    ``log``: the logarithms of probabilities.
    """

    pointers = ("x", "out")
    numbers = ("x_pitch", "out_pitch", "rows", "channels")

    dtype: str
    channels: int
    loss: bool
    weighted: bool = False
    log: bool = False

    @property
    def symbol(self) -> str:
        kind = "log_" * self.log + ("cross_entropy" if self.loss else "softmax")
        kind = "weighted_" * self.weighted + kind
        return f"{kind}_{self.dtype}"

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        more = ("labels", "scale", "smoothing", "losses", "correct")
        return (*self.pointers, *more * self.loss, *("weights",) * self.weighted), self.numbers

    def body(self, v: Vectors, given: Arguments) -> None:
        if self.channels:
            _narrow(v, given, self)
        else:
            _wide(v, given, self)


# The loss ----------------------------------------------------------------------------------------


class _TargetWeights:
    """The numbers of a call in every lane; ``channels`` is their number, as a vector.

    scale: of the gradient. keep and rest: what the target gives the label beyond the others, and
    what it gives each. minus_label, minus_rest: the whole targets, negative.
    """

    def __init__(self, v: Vectors, given: Arguments, channels: str) -> None:
        self.scale = v.broadcast(given["scale"])
        smoothing = v.broadcast(given["smoothing"])
        self.keep = v.sub(v.constant(1.0), smoothing)
        self.rest = v.div(smoothing, channels)
        self.minus_rest = v.neg(self.rest)
        self.minus_label = v.sub(self.minus_rest, self.keep)


def _loss(
    v: Vectors,
    targets: _TargetWeights,
    total: str,
    chosen: str,
    away: str,
    keep: str | None = None,
    whole: str | None = None,
) -> str:
    """``- sum t log p``; ``chosen``: the logit of the label less the largest, ``away``: the sum of
    all, each less the largest.

    ``log p_c = away_c - log total``, and the targets add up to 1. With weights of the channels
    ``away`` is weighted, ``keep`` what the target gives the label, and ``whole`` the sum of all.
    """
    value = math.log(v, total)
    if whole is not None:
        # What has no weight does not count, be it infinite.
        value = v.select(v.compare("oeq", whole, v.zero), v.zero, v.mul(whole, value))
    for weight, distance in ((keep or targets.keep, chosen), (targets.rest, away)):
        # What has no weight does not count, be it infinite.
        term = v.select(v.compare("oeq", weight, v.zero), v.zero, v.mul(weight, distance))
        value = v.sub(value, term)
    return value


# Short rows --------------------------------------------------------------------------------------


class _ChannelWeights:
    """The weights of the channels, each in every lane, and their sum."""

    def __init__(self, v: Vectors, given: Arguments, channels: int) -> None:
        self.each = [v.broadcast(v.at(given["weights"], c)) for c in range(channels)]
        self.total = reduce(v.add, self.each)


def _narrow(v: Vectors, given: Arguments, kernel: SoftmaxKernel) -> None:
    """Items are groups of as many rows as there are lanes."""
    f, rows, channels = v.function, given["rows"], kernel.channels
    last = f.sub(rows, 1)
    targets, absent = None, ""
    weights = _ChannelWeights(v, given, channels) if kernel.weighted else None
    if kernel.loss:
        targets = _TargetWeights(v, given, v.constant(channels))
        absent = v.spread(f.word(given["labels"], last), "i64")
    with f.loop("%begin", "%end") as item:
        first = f.mul(item.index, v.lanes)
        row = [f.minimum(f.add(first, i), last) for i in range(v.lanes)]
        sources = [v.at(given["x"], f.mul(r, given["x_pitch"])) for r in row]
        columns = load_columns(v, sources, channels)
        top = reduce(v.max, columns[1:], columns[0])
        away = [v.sub(column, top) for column in columns]
        powers = [math.exp_down(v, a) for a in away]
        total = reduce(v.add, powers)
        if targets is not None:
            label = _labels(v, given, first, f.sub(rows, first), absent, channels)
            losses, correct, made = _narrow_losses(
                v, targets, label, columns, away, powers, total, weights
            )
            _store_per_row(v, given, (losses, correct), first, f.sub(rows, first))
        elif kernel.log:
            log = math.log(v, total)
            made = [v.sub(a, log) for a in away]
        else:
            inverse = v.div(v.constant(1.0), total)
            made = [v.mul(power, inverse) for power in powers]
        store_columns(v, made, [v.at(given["out"], f.mul(r, given["out_pitch"])) for r in row])


def store_columns(v: Vectors, columns: list[str], rows: list[str]) -> None:
    for start in range(0, len(columns), v.lanes):
        block = columns[start : start + v.lanes]
        for row, value in zip(rows, v.transpose(block), strict=True):
            v.store_first(value, v.at(row, start), len(block))


def _labels(
    v: Vectors, given: Arguments, first: str, count: str, absent: str, channels: int
) -> str:
    """The labels of a group, as wide as the elements, -1 for those that are no channel.

    absent: that of the last row, which stands in for absent ones.
    """
    f = v.function
    wide = f"<{v.lanes} x i64>"
    callee = f.module.declare(
        f"llvm.masked.load.v{v.lanes}i64.p0", wide, "ptr", "i32", v.flags, wide
    )
    address = f.at(given["labels"], first, "i64")
    found = f.value(
        f"call {wide} {callee}(ptr {address}, i32 8, {v.flags} {v.below(count)}, {wide} {absent})"
    )
    inside = f.value(f"icmp ult {wide} {found}, splat (i64 {channels})")
    none = f"{wide} splat (i64 -1)"
    found = f.value(f"select {v.flags} {inside}, {wide} {found}, {none}")
    return found if v.bytes == 8 else f.value(f"trunc {wide} {found} to {v.integers}")


def _narrow_losses(
    v: Vectors,
    targets: _TargetWeights,
    label: str,
    columns: list[str],
    away: list[str],
    powers: list[str],
    total: str,
    weights: "_ChannelWeights | None",
) -> tuple[str, str, list[str]]:
    """Losses, whether each row is right, and the gradient by channel."""
    f, kind = v.function, v.integers
    here = [f.value(f"icmp eq {kind} {label}, {v.splat(c)}") for c in range(len(columns))]
    counts = f.value(f"icmp ne {kind} {label}, {v.splat(-1)}")
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
    inverse = v.div(v.constant(1.0), total)
    gradient = []
    if weights is None:
        for c, power in enumerate(powers):
            minus_target = v.select(here[c], targets.minus_label, targets.minus_rest)
            gradient.append(v.mul(targets.scale, v.multiply_add(power, inverse, minus_target)))
        value = _loss(v, targets, total, chosen, reduce(v.add, away))
    else:
        own = v.zero
        for c, weight in enumerate(weights.each):
            own = v.select(here[c], weight, own)
        keep = v.mul(targets.keep, own)
        whole = v.multiply_add(targets.rest, weights.total, keep)
        inverse = v.mul(inverse, whole)
        for c, (power, weight) in enumerate(zip(powers, weights.each, strict=True)):
            share = v.select(here[c], targets.minus_label, targets.minus_rest)
            minus_target = v.mul(share, weight)
            gradient.append(v.mul(targets.scale, v.multiply_add(power, inverse, minus_target)))
        weighted = [v.mul(a, weight) for a, weight in zip(away, weights.each, strict=True)]
        value = _loss(v, targets, total, chosen, reduce(v.add, weighted), keep, whole)
    right = f.value(f"and {v.flags} {first_best}, {v.compare('ord', total, total)}")
    correct = v.select(right, v.constant(1.0), v.zero)
    value, *gradient = (v.select(counts, one, v.zero) for one in (value, *gradient))
    return value, correct, gradient


def _store_per_row(
    v: Vectors, given: Arguments, numbers: tuple[str, str], first: str, count: str
) -> None:
    """A loss and whether it is right for each row of the group."""
    f = v.function
    places = [v.at(given[name], first) for name in ("losses", "correct")]

    def store(mask: str | None) -> None:
        for number, place in zip(numbers, places, strict=True):
            v.store(number, place, mask)

    short = f.value(f"icmp slt i64 {count}, {v.lanes}")
    f.choose(short, lambda: store(v.below(count)), lambda: store(None))


# Long rows ---------------------------------------------------------------------------------------


def _wide(v: Vectors, given: Arguments, kernel: SoftmaxKernel) -> None:
    """Items are rows."""
    f = v.function
    row = Row(v, given["channels"])
    count = v.spread(f.value(f"sitofp i64 {row.channels} to {v.element}"))
    targets = _TargetWeights(v, given, count) if kernel.loss else None
    every = row.total(given["weights"]) if kernel.weighted else None
    with f.loop("%begin", "%end") as item:
        src = v.at(given["x"], f.mul(item.index, given["x_pitch"]))
        dst = v.at(given["out"], f.mul(item.index, given["out_pitch"]))
        if targets is not None:
            _wide_loss(v, given, row, targets, src, dst, item.index, every)
        elif kernel.log:
            top = row.largest(src, row.channels)
            log = math.log(v, row.sum_of_powers(src, top))
            row.each(src, dst, lambda entry, top=top, log=log: v.sub(v.sub(entry, top), log))  # type: ignore[misc]
        else:
            total, _ = row.powers(src, dst, row.largest(src, row.channels))
            inverse = v.div(v.constant(1.0), total)
            row.each(dst, dst, lambda power: v.mul(power, inverse))


class Row:
    """Loops over the channels of a row: whole vectors, then what is left of one."""

    def __init__(self, v: Vectors, channels: str) -> None:
        self.v = v
        self.channels = channels
        self.whole = v.whole(channels)
        self.mask = v.below(v.function.sub(channels, self.whole))

    def largest(self, src: str, count: str) -> str:
        """The largest of the first ``count`` entries in every lane, NaN left out; -inf for none."""
        v, f, lanes = self.v, self.v.function, self.v.lanes
        low = v.constant(-inf)
        many, whole = v.whole(count, MAXIMUM_VECTORS), v.whole(count)
        begin = [(v.type, low)] * MAXIMUM_VECTORS
        with f.loop(0, many, begin, step=MAXIMUM_VECTORS * lanes) as loop:
            places = [v.at(src, f.add(loop.index, k * lanes)) for k in range(MAXIMUM_VECTORS)]
            loop.carry(
                [v.max(best, v.load(at)) for best, at in zip(loop.values, places, strict=True)]
            )
        best = reduce(v.max, loop.results)
        with f.loop(many, whole, [(v.type, best)], step=lanes) as loop:
            loop.carry([v.max(loop.values[0], v.load(v.at(src, loop.index)))])
        with f.loop(whole, count, v.carried(loop.results), step=lanes) as loop:
            mask = v.below(f.sub(count, loop.index))
            entry = v.select(mask, v.load(v.at(src, loop.index), mask), low)
            loop.carry([v.max(loop.values[0], entry)])
        best, half = loop.results[0], lanes // 2
        while half:
            best = v.max(best, v.shuffle(best, best, [i ^ half for i in range(lanes)]))
            half //= 2
        return best

    def powers(self, src: str, dst: str, top: str, weights: str | None = None) -> tuple[str, str]:
        """``e**(x - top)`` to ``dst``; their sum and that of ``x - top``, in every lane, the latter
        weighted.
        """
        v = self.v

        def add(at: str, mask: str | None, sums: Sequence[str]) -> list[str]:
            away = v.sub(v.load(v.at(src, at), mask), top)
            power = math.exp_down(v, away)
            v.store(power, v.at(dst, at), mask)
            if weights is not None:
                weight = v.load(v.at(weights, at), mask)
                none = v.compare("oeq", weight, v.zero)  # does not count, be it infinite
                away = v.select(none, v.zero, v.mul(away, weight))
            if mask is not None:
                away, power = (v.select(mask, term, v.zero) for term in (away, power))
            return [v.add(total, term) for total, term in zip(sums, (power, away), strict=True)]

        powers, away = self._over(add, [v.zero, v.zero])
        return v.spread(v.total(powers)), v.spread(v.total(away))

    def sum_of_powers(self, src: str, top: str) -> str:
        """The sum of ``e**(x - top)``, in every lane."""
        v = self.v

        def add(at: str, mask: str | None, sums: Sequence[str]) -> list[str]:
            power = math.exp(v, v.sub(v.load(v.at(src, at), mask), top))
            return [v.add(sums[0], power if mask is None else v.select(mask, power, v.zero))]

        (found,) = self._over(add, [v.zero])
        return v.spread(v.total(found))

    def each(self, src: str, dst: str, formula: Callable[[str], str]) -> None:
        """``dst = formula(src)``."""
        v = self.v

        def one(at: str, mask: str | None, sums: Sequence[str]) -> list[str]:
            v.store(formula(v.load(v.at(src, at), mask)), v.at(dst, at), mask)
            return []

        self._over(one, [])

    def each_weighted(self, dst: str, weights: str, formula: Callable[[str, str], str]) -> None:
        """``dst = formula(dst, weight)``."""
        v = self.v

        def one(at: str, mask: str | None, sums: Sequence[str]) -> list[str]:
            entry, weight = (v.load(v.at(place, at), mask) for place in (dst, weights))
            v.store(formula(entry, weight), v.at(dst, at), mask)
            return []

        self._over(one, [])

    def total(self, src: str) -> str:
        """The sum of all entries, in every lane."""
        v = self.v

        def add(at: str, mask: str | None, sums: Sequence[str]) -> list[str]:
            entry = v.load(v.at(src, at), mask)
            if mask is not None:
                entry = v.select(mask, entry, v.zero)
            return [v.add(sums[0], entry)]

        (found,) = self._over(add, [v.zero])
        return v.spread(v.total(found))

    def _over(
        self, body: Callable[[str, str | None, Sequence[str]], list[str]], carried: list[str]
    ) -> list[str]:
        v, f = self.v, self.v.function
        # The rest is no iteration, or one: a mask of no lanes would cost as much as another.
        for start, stop, mask in (("0", self.whole, None), (self.whole, self.channels, self.mask)):
            with f.loop(start, stop, v.carried(carried), step=v.lanes) as loop:
                loop.carry(body(loop.index, mask, loop.values))
            carried = loop.results
        return carried


def _wide_loss(
    v: Vectors,
    given: Arguments,
    row: Row,
    targets: _TargetWeights,
    src: str,
    dst: str,
    index: str,
    every: str | None,
) -> None:
    """``every``: the sum of the weights of the channels, where they have any."""
    f = v.function
    label = f.word(given["labels"], index)
    losses, correct = (v.at(given[name], index) for name in ("losses", "correct"))

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
        weights = None if every is None else given["weights"]
        total, away = row.powers(src, dst, top, weights)
        if every is None or weights is None:
            value = _loss(v, targets, total, v.sub(chosen, top), away)
            inverse, own = v.div(v.constant(1.0), total), v.broadcast(v.at(dst, label))

            def gradient(power: str, minus_target: str = targets.minus_rest) -> str:
                return v.mul(targets.scale, v.multiply_add(power, inverse, minus_target))

            row.each(dst, dst, gradient)
            v.store_first(gradient(own, targets.minus_label), v.at(dst, label), 1)
        else:
            value = _weighted_row(
                v, targets, row, dst, label, weights, every, total, away, v.sub(chosen, top)
            )
        right = v.select(v.compare("olt", earlier, top), v.constant(1.0), v.zero)
        for condition in (likely, v.compare("ord", total, total)):
            right = v.select(condition, right, v.zero)
        v.store_first(value, losses, 1)
        v.store_first(right, correct, 1)

    inside = f.value(f"icmp ult i64 {label}, {row.channels}")
    f.choose(inside, counts, ignored)


def _weighted_row(
    v: Vectors,
    targets: _TargetWeights,
    row: Row,
    dst: str,
    label: str,
    weights: str,
    every: str,
    total: str,
    away: str,
    chosen: str,
) -> str:
    """The loss of a row of powers, which become its gradient."""
    weight, own = (v.broadcast(v.at(place, label)) for place in (weights, dst))
    keep = v.mul(targets.keep, weight)
    whole = v.multiply_add(targets.rest, every, keep)
    inverse = v.div(whole, total)

    def gradient(power: str, weight: str, minus_share: str = targets.minus_rest) -> str:
        minus_target = v.mul(minus_share, weight)
        return v.mul(targets.scale, v.multiply_add(power, inverse, minus_target))

    row.each_weighted(dst, weights, gradient)
    v.store_first(gradient(own, weight, targets.minus_label), v.at(dst, label), 1)
    return _loss(v, targets, total, chosen, away, keep, whole)
