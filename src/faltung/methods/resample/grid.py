"""Sampling at places that a grid names, and its gradients.

What it is.  ``out[p] = sum over the neighbours k of place p of weight[k] * x[k]``, for all channels
  at once: the places and weights of a position are computed as single numbers, then the channels
  go by in vectors. The gradient for the map adds to its neighbours; so that no two items meet and
  every sum has one order, an item is a block of channels of one sample and visits all positions.
  The gradient for the grid is the sum over channels of ``g * x``, by the slopes of the weights.
When it applies.  Linear and nearest to maps of one to three axes, cubic to one or two. Coordinates
  may be anything: what is not finite is far outside.
What it costs.  For each position some thirty operations for each axis, and a load for each
  neighbour and vector of channels.
"""

from collections.abc import Callable
from math import prod
from typing import ClassVar

from faltung.codegen.vectors import Vectors
from faltung.geometry.grid import Sampling
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import Argument, Matrix, Work
from faltung.methods.resample.places import Coordinates, Neighbour, count

# Cycles of an item, and of what is computed for a place along each axis.
ITEM_CYCLES, AXIS_CYCLES = 12_000, 25
# Vectors of channels in one block of the gradient for the map.
BLOCK_VECTORS = 4


@dataclass(frozen=True)
class GridKernel(Kernel):
    """What the three kernels share. Items are ``chunk`` positions of the grid of all samples."""

    pointers: ClassVar[tuple[str, ...]] = ("x", "grid", "out")
    numbers: ClassVar[tuple[str, ...]] = (
        "positions",
        "channels",
        "total",
        "chunk",
        "x_sample",
        "grid_sample",
        "grid_pitch",
    )

    dtype: str
    how: Sampling
    rank: int

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        along = (f"{name}{a}" for a in range(self.rank) for name in ("size", "stride"))
        return self.pointers, (*self.numbers, "out_pitch", *along)

    def coordinates(self, v: Vectors, given: Arguments) -> Coordinates:
        sizes, strides = (
            [given[f"{name}{a}"] for a in range(self.rank)] for name in ("size", "stride")
        )
        return Coordinates(v, self.how, sizes, strides)

    def body(self, v: Vectors, given: Arguments) -> None:
        f, places = v.function, self.coordinates(v, given)
        with f.loop("%begin", "%end") as item:
            first = f.mul(item.index, given["chunk"])
            stop = f.minimum(f.add(first, given["chunk"]), given["total"])
            with f.loop(f.opaque(first), stop) as row:
                sample, position = f.divmod(row.index, given["positions"])
                x = v.at(given["x"], f.mul(sample, given["x_sample"]))
                grid = v.at(given["grid"], f.mul(sample, given["grid_sample"]))
                grid = v.at(grid, f.mul(position, given["grid_pitch"]))
                self.place(v, given, places, x, grid, row.index)

    def place(
        self, v: Vectors, given: Arguments, places: Coordinates, x: str, grid: str, row: str
    ) -> None:
        """The code for one position."""
        raise NotImplementedError


def _channels(v: Vectors, channels: str, make: Callable[[str, str | None], None]) -> None:
    """Vector by vector; the last one masked."""
    f = v.function
    whole = f.opaque(v.whole(channels))
    with f.loop(0, whole, step=v.lanes) as c:
        make(c.index, None)
    rest = f.sub(channels, whole)
    with f.when(f.value(f"icmp sgt i64 {rest}, 0")):
        make(whole, v.below(rest))


def _read(v: Vectors, neighbour: Neighbour, address: str, mask: str | None) -> str:
    """A vector of a neighbour; zeros where it is outside."""
    got = v.load(address, mask)
    if not neighbour.inside:
        return got
    return v.function.value(f"select i1 {neighbour.inside}, {v.type} {got}, {v.type} {v.zero}")


@dataclass(frozen=True)
class SampleKernel(GridKernel):
    """The map at the places."""

    name = "grid_sample"

    def place(
        self, v: Vectors, given: Arguments, places: Coordinates, x: str, grid: str, row: str
    ) -> None:
        f = v.function
        found = places.neighbours(grid)
        one = places.s.of(1.0)
        weights = [v.spread(places.weighted([each], [one])) for each in found]
        bases = [v.at(x, each.offset) for each in found]
        out = v.at(given["out"], f.mul(row, given["out_pitch"]))

        def vector(c: str, mask: str | None) -> None:
            total = ""
            for each, weight, base in zip(found, weights, bases, strict=True):
                got = _read(v, each, v.at(base, c), mask)
                if self.how.mode == "nearest":
                    total = got
                else:
                    total = v.multiply_add(weight, got, total) if total else v.mul(weight, got)
            v.store(total, v.at(out, c), mask)

        _channels(v, given["channels"], vector)


@dataclass(frozen=True)
class GridGradKernel(GridKernel):
    """The gradient for the coordinates, from that of the result."""

    name = "grid_sample_grid_grad"
    pointers = (*GridKernel.pointers, "g")
    numbers = (*GridKernel.numbers, "g_pitch")

    def place(
        self, v: Vectors, given: Arguments, places: Coordinates, x: str, grid: str, row: str
    ) -> None:
        f, s, rank = v.function, places.s, self.rank
        found = places.neighbours(grid, slopes=True)
        g = v.at(given["g"], f.mul(row, given["g_pitch"]))
        out = v.at(given["out"], f.mul(row, given["out_pitch"]))
        values = [
            self._product(v, given["channels"], each, v.at(x, each.offset), g) for each in found
        ]
        for a in range(rank):
            s.store(places.weighted(found, values, a), v.at(out, rank - 1 - a))

    def _product(self, v: Vectors, channels: str, each: Neighbour, base: str, g: str) -> str:
        """The sum over the channels of x times g."""
        f = v.function
        whole = f.opaque(v.whole(channels))

        def more(total: str, c: str, mask: str | None) -> str:
            got = _read(v, each, v.at(base, c), mask)
            return v.multiply_add(v.load(v.at(g, c), mask), got, total)

        with f.loop(0, whole, [(v.type, v.zero)], step=v.lanes) as c:
            c.carry([more(c.values[0], c.index, None)])
        with f.loop(whole, channels, v.carried(c.results), step=v.lanes) as c:
            c.carry([more(c.values[0], c.index, v.below(f.sub(channels, c.index)))])
        return v.total(c.results[0])


@dataclass(frozen=True)
class MapGradKernel(GridKernel):
    """The gradient for the map: ``x`` is the gradient of the result, ``out`` that of the map.

    Items are blocks of channels of a sample. ``entries``: positions of the map.
    """

    name = "grid_sample_map_grad"
    numbers = (
        *("positions", "channels", "blocks", "x_pitch", "grid_sample", "grid_pitch"),
        *("out_sample", "entries"),
    )

    def body(self, v: Vectors, given: Arguments) -> None:
        f, places = v.function, self.coordinates(v, given)
        size = BLOCK_VECTORS * v.lanes
        with f.loop("%begin", "%end") as item:
            sample, block = f.divmod(item.index, given["blocks"])
            first = f.mul(block, size)
            count = f.minimum(f.sub(given["channels"], first), size)
            out = v.at(v.at(given["out"], f.mul(sample, given["out_sample"])), first)
            with f.loop(0, given["entries"]) as entry:
                here = v.at(out, f.mul(entry.index, given["out_pitch"]))
                _channels(v, count, lambda c, mask: v.store(v.zero, v.at(here, c), mask))
            grid = v.at(given["grid"], f.mul(sample, given["grid_sample"]))
            rows = f.mul(sample, given["positions"])
            with f.loop(0, given["positions"]) as position:
                row = f.add(rows, position.index)
                g = v.at(v.at(given["x"], f.mul(row, given["x_pitch"])), first)
                place = v.at(grid, f.mul(position.index, given["grid_pitch"]))
                self._add(v, places, count, place, g, out)

    def _add(
        self, v: Vectors, places: Coordinates, count: str, place: str, g: str, out: str
    ) -> None:
        """Give each neighbour its part, one after the other: two may be the same entry."""
        f = v.function
        one = places.s.of(1.0)
        for each in places.neighbours(place):
            weight = v.spread(places.weighted([each], [one]))
            base = v.at(out, each.offset)

            def vector(c: str, mask: str | None, weight: str = weight, base: str = base) -> None:
                at = v.at(base, c)
                got = v.load(v.at(g, c), mask)
                v.store(v.multiply_add(weight, got, v.load(at, mask)), at, mask)

            if not each.inside:
                _channels(v, count, vector)
                continue
            with f.when(each.inside):
                _channels(v, count, vector)


# Steps --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """samples: of the result. space: of the map; output: of the grid. x_alone, grid_alone: there is
    one for all samples.
    """

    how: Sampling
    dtype: str
    samples: int
    channels: int
    space: tuple[int, ...]
    output: tuple[int, ...]
    x_alone: bool = False
    grid_alone: bool = False

    def along(self, pitch: int) -> dict[str, Argument]:
        """Sizes and strides of the axes of the map."""
        found: dict[str, Argument] = {}
        for a, size in enumerate(self.space):
            found[f"size{a}"] = size
            found[f"stride{a}"] = pitch * prod(self.space[a + 1 :])
        return found

    def grid(self, grid: Matrix) -> dict[str, Argument]:
        sample = 0 if self.grid_alone else grid.pitch * prod(self.output)
        return {"grid": grid.array, "grid_pitch": grid.pitch, "grid_sample": sample}

    def rows(self, x: Matrix, machine: Machine) -> dict[str, Argument]:
        """Arguments of kernels whose items are positions."""
        rank, total = len(self.space), self.samples * prod(self.output)
        vectors = -(-self.channels // machine.lanes(self.dtype))
        cycles = AXIS_CYCLES * rank + vectors * (count(self.how, rank) + 2)
        return {
            "x": x.array,
            "x_sample": 0 if self.x_alone else x.pitch * prod(self.space),
            "positions": prod(self.output),
            "channels": self.channels,
            "total": total,
            "chunk": max(1, ITEM_CYCLES // cycles),
        }


def sample(p: Problem, work: Work, x: Matrix, grid: Matrix, out: Matrix, machine: Machine) -> None:
    """The map at the places."""
    kernel = SampleKernel(p.dtype, p.how, len(p.space))
    _rows(kernel, work, "grid sample", p, p.rows(x, machine) | p.grid(grid), x, out, {})


def grid_grad(
    p: Problem, work: Work, x: Matrix, grid: Matrix, g: Matrix, out: Matrix, machine: Machine
) -> None:
    """The gradient for the grid."""
    kernel = GridGradKernel(p.dtype, p.how, len(p.space))
    given = p.rows(x, machine) | p.grid(grid)
    more: dict[str, Argument] = {"g": g.array, "g_pitch": g.pitch}
    _rows(kernel, work, "grid gradient", p, given, x, out, more)


def _rows(
    kernel: GridKernel,
    work: Work,
    title: str,
    p: Problem,
    given: dict[str, Argument],
    x: Matrix,
    out: Matrix,
    more: dict[str, Argument],
) -> None:
    total, chunk = given["total"], given["chunk"]
    assert isinstance(total, int) and isinstance(chunk, int)
    target: dict[str, Argument] = {"out": out.array, "out_pitch": out.pitch}
    arguments = given | target | p.along(x.pitch) | more
    work.steps.append(kernel.step(-(-total // chunk), title, barrier=False, **arguments))


def map_grad(
    p: Problem, work: Work, g: Matrix, grid: Matrix, out: Matrix, machine: Machine
) -> None:
    """The gradient for the map."""
    blocks = -(-p.channels // (BLOCK_VECTORS * machine.lanes(p.dtype)))
    step = MapGradKernel(p.dtype, p.how, len(p.space)).step(
        p.samples * blocks,
        "grid sample gradient",
        barrier=False,
        x=g.array,
        x_pitch=g.pitch,
        out=out.array,
        out_pitch=out.pitch,
        out_sample=out.pitch * prod(p.space),
        positions=prod(p.output),
        channels=p.channels,
        blocks=blocks,
        entries=prod(p.space),
        **p.grid(grid),
        **p.along(out.pitch),
    )
    work.steps.append(step)
