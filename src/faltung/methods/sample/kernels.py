"""The kernels of sampling at points: forward, and the gradients for the map and for the points."""

from collections.abc import Callable
from dataclasses import dataclass

from faltung.codegen.ir import Index
from faltung.codegen.vectors import Vectors
from faltung.methods.base.kernel import Arguments
from faltung.methods.sample.points import Points, PointsKernel, Tap

# Vectors of channels that an item of the gradient for the map owns.
OWN_VECTORS = 4


@dataclass(frozen=True)
class SampleKernel(PointsKernel):
    """Items are blocks of ``block`` windows, or points, of a sample."""

    name = "sample"
    numbers = ("block", "blocks")

    @property
    def arrays(self) -> tuple[str, ...]:
        return ("x", "zeros", "y")

    def body(self, v: Vectors, given: Arguments) -> None:
        f, points = v.function, Points(self, v, given)

        def point(sample: str, bases: list[str], row: str, tap: str, group: str) -> None:
            mask = points.mask(row, group)
            sources, weights = [], []
            for each in points.taps(sample, bases, row, tap, group):
                weight = each.weight if mask is None else points.mul(each.weight, mask)
                sources.append(_source(points, each, group))
                weights.append(v.spread(weight))
            target = v.at(given["y"], f.mul(row, given["y_pitch"]))
            target = v.at(target, f.mul(group, given["channels"]))

            def some(c: str, mask: str | None) -> None:
                total = v.mul(weights[0], v.load(v.at(sources[0], c), mask))
                for weight, source in zip(weights[1:], sources[1:], strict=True):
                    total = v.multiply_add(weight, v.load(v.at(source, c), mask), total)
                v.store(total, v.at(target, c), mask)

            along(v, given["channels"], some)

        over_blocks(points, point)


@dataclass(frozen=True)
class PointsGradKernel(PointsKernel):
    """The gradients for points and masks, sums over channels. Items as for ``SampleKernel``."""

    name = "sample_points_grad"
    numbers = ("block", "blocks")

    @property
    def arrays(self) -> tuple[str, ...]:
        return ("grad", "x", "zeros", "points_grad", *["mask_grad"] * self.masked)

    def body(self, v: Vectors, given: Arguments) -> None:
        f, points = v.function, Points(self, v, given)

        def point(sample: str, bases: list[str], row: str, tap: str, group: str) -> None:
            mask, rank = points.mask(row, group), self.rank
            taps = points.taps(sample, bases, row, tap, group)
            sources = [_source(points, each, group) for each in taps]
            factors = [
                [v.spread(n) for n in (*each.slopes, *[each.weight] * self.masked)] for each in taps
            ]
            grad = v.at(given["grad"], f.mul(row, given["grad_pitch"]))
            grad = v.at(grad, f.mul(group, given["channels"]))
            count = rank + self.masked

            def some(c: str, mask: str | None, values: list[str]) -> list[str]:
                g = v.load(v.at(grad, c), mask)
                for own, source in zip(factors, sources, strict=True):
                    product = v.mul(g, v.load(v.at(source, c), mask))
                    values = [
                        v.multiply_add(factor, product, value)
                        for factor, value in zip(own, values, strict=True)
                    ]
                return values

            whole = v.whole(given["channels"])
            with f.loop(0, whole, v.carried([v.zero] * count), step=v.lanes) as loop:
                loop.carry(some(loop.index, None, loop.values))
            rest = v.below(f.sub(given["channels"], whole))
            totals = [v.total(value) for value in some(whole, rest, loop.results)]
            target = v.at(given["points_grad"], f.mul(row, given["points_grad_pitch"]))
            target = v.at(target, f.mul(group, rank))
            for a in range(rank):
                value = totals[a] if mask is None else points.mul(totals[a], mask)
                v.store_one(value, v.at(target, rank - 1 - a if self.backwards else a))
            if self.masked:
                at = f.add(f.mul(row, given["mask_grad_pitch"]), group)
                v.store_one(totals[-1], v.at(given["mask_grad"], at))

        over_blocks(points, point)


@dataclass(frozen=True)
class InputGradKernel(PointsKernel):
    """The gradient for the map. Items are ``OWN_VECTORS`` vectors of channels of a group of a
    sample: each goes through all points in order, and adds to what it owns.
    """

    name = "sample_input_grad"
    numbers = ("blocks",)

    @property
    def arrays(self) -> tuple[str, ...]:
        return ("grad", "x_grad")

    def body(self, v: Vectors, given: Arguments) -> None:
        f, points = v.function, Points(self, v, given)
        width = OWN_VECTORS * v.lanes
        with f.loop("%begin", "%end") as item:
            rest, block = f.divmod(item.index, given["blocks"])
            sample, group = f.divmod(rest, given["groups"])
            first = f.mul(block, width)
            count = f.minimum(f.sub(given["channels"], first), width)
            offset = f.add(f.mul(group, given["channels"]), first)
            self._clear(v, given, points, sample, offset, count)
            with f.loop(0, given["positions"]) as position:
                bases = points.bases(position.index)
                at = f.add(f.mul(sample, given["positions"]), position.index)
                with f.loop(0, given["count"]) as tap:
                    row = f.add(f.mul(at, given["count"]), tap.index)
                    taps = points.taps(sample, bases, row, tap.index, group)
                    mask = points.mask(row, group)
                    grad = v.at(given["grad"], f.add(f.mul(row, given["grad_pitch"]), offset))
                    for each in taps:
                        weight = each.weight if mask is None else points.mul(each.weight, mask)
                        self._add(v, given, each, v.spread(weight), grad, offset, count)

    def _clear(
        self, v: Vectors, given: Arguments, points: Points, sample: str, offset: str, count: str
    ) -> None:
        f = v.function
        rows = f.mul(given["size0"], given["step0"])
        start = f.mul(sample, rows)
        with f.loop(0, rows) as row:
            at = f.add(f.mul(f.add(start, row.index), given["x_grad_pitch"]), offset)
            target = v.at(given["x_grad"], at)
            along(v, count, lambda c, mask: v.store(v.zero, v.at(target, c), mask))

    def _add(
        self,
        v: Vectors,
        given: Arguments,
        tap: Tap,
        weight: str,
        grad: str,
        offset: str,
        count: str,
    ) -> None:
        f = v.function
        target = v.at(given["x_grad"], f.add(f.mul(tap.row, given["x_grad_pitch"]), offset))

        def some(c: str, mask: str | None) -> None:
            at = v.at(target, c)
            known = v.load(at, mask)
            v.store(v.multiply_add(weight, v.load(v.at(grad, c), mask), known), at, mask)

        if tap.there is None:
            along(v, count, some)
            return
        with f.when(tap.there):
            along(v, count, some)


def over_blocks(points: Points, point: Callable[[str, list[str], str, str, str], None]) -> None:
    """Loops over the points of all items: sample, places of the window, row, tap, group."""
    f, given = points.f, points.given
    with f.loop("%begin", "%end") as item:
        sample, block = f.divmod(item.index, given["blocks"])
        first = f.mul(block, given["block"])
        stop = f.minimum(f.add(first, given["block"]), given["positions"])
        with f.loop(first, stop) as position:
            bases = points.bases(position.index)
            at = f.add(f.mul(sample, given["positions"]), position.index)
            with f.loop(0, given["count"]) as tap:
                row = f.add(f.mul(at, given["count"]), tap.index)
                with f.loop(0, given["groups"]) as group:
                    point(sample, bases, row, tap.index, group.index)


def along(v: Vectors, channels: Index, some: Callable[[str, str | None], None]) -> None:
    """Whole vectors of channels, then what is left of one."""
    f = v.function
    whole = v.whole(channels)
    with f.loop(0, whole, step=v.lanes) as c:
        some(c.index, None)
    rest = f.sub(channels, whole)
    with f.when(f.value(f"icmp ne i64 {rest}, 0")):
        some(whole, v.below(rest))


def _source(points: Points, tap: Tap, group: str) -> str:
    """The channels of a group at an entry, or zeros."""
    f, v, given = points.f, points.v, points.given
    at = f.add(f.mul(tap.row, given["x_pitch"]), f.mul(group, given["channels"]))
    found = v.at(given["x"], at)
    if tap.there is None:
        return found
    return f.value(f"select i1 {tap.there}, ptr {found}, ptr {given['zeros']}")
