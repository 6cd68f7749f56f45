"""Layer normalisation of rows: mean and variance of each, and what follows from them, in one visit.

What it is.  For each row x (the channels of a position) the mean m, the variance v = mean of (x -
  m)^2, r = 1 / sqrt(v + eps), and (x - m) r gain + shift (Ba et al., "Layer normalization", 2016);
  without the mean x / sqrt(mean of x^2 + eps) gain (Zhang and Sennrich, "Root mean square layer
  normalization", 2019).
When it applies.  The channels are contiguous, and few enough for the first cache.
What it costs.  One read and one write of the map: short rows stay in registers, longer ones in the
  first cache, while their sums are taken one after the other, so that nothing cancels.
"""

from collections.abc import Callable

from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass
from faltung.machine.table import Machine
from faltung.methods.base.kernel import Arguments, Kernel
from faltung.methods.base.step import Argument, Matrix, Operand, Work
from faltung.methods.elementwise.bands import MAP_ITEM_CYCLES, up
from faltung.methods.elementwise.totals import paired, scale_bits

# Bytes of the longest row: half of the smallest first cache.
MOST_BYTES = 1 << 14
# Vectors of long rows whose sums are under way at once.
CHAINS = 4
# Cycles for a vector of a row, and for a row beside its vectors.
VECTOR_CYCLES, ROW_CYCLES = 4.0, 60.0


def fits(channels: int, dtype: str) -> bool:
    """Whether rows of so many channels are short enough."""
    return channels * {"float32": 4, "float64": 8}[dtype] <= MOST_BYTES


@dataclass(frozen=True)
class NormaliseKernel(Kernel):
    """Items are groups of rows. ``held``: vectors of a row that stay in registers, 0 for longer
    rows; ``tail``: channels in the last of them, 0 if it is whole. ``centred``: less their mean.
    gain, shift: whether there are some; ``stored``: the mean, if any, and r of each row are kept.
    """

    name = "normalise"

    dtype: str
    held: int
    tail: int
    centred: bool
    gain: bool
    shift: bool
    stored: bool

    def declared(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        kept = ("mean", "rstd")[not self.centred :] if self.stored else ()
        vectors = ("gain",) * self.gain + ("shift",) * self.shift
        numbers = ("x_pitch", "out_pitch", "rows", "item_rows", "channels", "count", "eps")
        return ("x", "out", *vectors, *kept), (*numbers, *(f"{name}_pitch" for name in kept))

    def body(self, v: Vectors, given: Arguments) -> None:
        f = v.function
        count, eps = (v.broadcast(given.address(name)) for name in ("count", "eps"))
        first = f.mul("%begin", given["item_rows"])
        last = f.minimum(f.mul("%end", given["item_rows"]), given["rows"])
        with f.loop(first, last) as index:
            x = v.at(given["x"], f.mul(index.index, given["x_pitch"]))
            out = v.at(given["out"], f.mul(index.index, given["out_pitch"]))
            row = _Held(self, v, given, x) if self.held else _Long(self, v, given, x)
            mean = v.div(row.sum(), count) if self.centred else v.zero
            variance = v.div(row.squares(mean), count)
            rstd = v.div(v.constant(1.0), v.sqrt(v.add(variance, eps)))
            row.write(out, mean, rstd)
            for name, value in (("mean", mean), ("rstd", rstd)):
                if name in given:
                    at = v.at(given[name], f.mul(index.index, given[f"{name}_pitch"]))
                    v.store_first(value, at, 1)

    def away(self, v: Vectors, x: str, mean: str) -> str:
        return v.sub(x, mean) if self.centred else x

    def scaled(
        self, v: Vectors, given: Arguments, away: str, rstd: str, at: str | int, mask: str | None
    ) -> str:
        """What is stored at a place of the row, from the distance to the mean."""
        made = v.mul(away, rstd)
        if self.gain and self.shift:
            gain, shift = (v.load(v.at(given[name], at), mask) for name in ("gain", "shift"))
            return v.multiply_add(made, gain, shift)
        if self.gain:
            return v.mul(made, v.load(v.at(given["gain"], at), mask))
        return v.add(made, v.load(v.at(given["shift"], at), mask)) if self.shift else made


class _Held:
    """A row in registers. Lanes beyond its end are zero in all sums."""

    def __init__(self, kernel: NormaliseKernel, v: Vectors, given: Arguments, x: str) -> None:
        self.kernel, self.v, self.given = kernel, v, given
        tail = v.first(kernel.tail) if kernel.tail else None
        self.masks = [*[None] * (kernel.held - 1), tail]
        self.read = [v.load(v.at(x, i * v.lanes), mask) for i, mask in enumerate(self.masks)]

    def sum(self) -> str:
        return self.v.spread(self.v.total(paired(self.v, self.read)))

    def squares(self, mean: str) -> str:
        v = self.v
        self.read = [self.kernel.away(v, one, mean) for one in self.read]
        alone = [
            one if mask is None else v.select(mask, one, v.zero)
            for one, mask in zip(self.read, self.masks, strict=True)
        ]
        return v.spread(v.total(paired(v, [v.mul(one, one) for one in alone])))

    def write(self, out: str, mean: str, rstd: str) -> None:
        v, kernel = self.v, self.kernel
        for i, (one, mask) in enumerate(zip(self.read, self.masks, strict=True)):
            made = kernel.scaled(v, self.given, one, rstd, i * v.lanes, mask)
            at = v.at(out, i * v.lanes)
            if mask is None:
                v.store(made, at)
            else:
                v.store_first(made, at, kernel.tail)


class _Long:
    """A row in the first cache, read once for each sum."""

    def __init__(self, kernel: NormaliseKernel, v: Vectors, given: Arguments, x: str) -> None:
        self.kernel, self.v, self.given, self.x = kernel, v, given, x
        self.channels = given["channels"]
        self.many = v.function.opaque(v.whole(self.channels, CHAINS))
        self.whole = v.function.opaque(v.whole(self.channels))

    def sum(self) -> str:
        return self._over(lambda total, one: self.v.add(total, one), None)

    def squares(self, mean: str) -> str:
        return self._over(lambda total, one: self.v.multiply_add(one, one, total), mean)

    def _over(self, add: Callable[[str, str], str], mean: str | None) -> str:
        """A sum over the row, or over its distances from the mean, in every lane."""
        v, f = self.v, self.v.function

        def read(at: str, mask: str | None = None) -> str:
            one = v.load(v.at(self.x, at), mask)
            if mean is None:
                return one
            one = self.kernel.away(v, one, mean)
            return one if mask is None else v.select(mask, one, v.zero)

        zeros = [(v.type, v.zero)] * CHAINS
        with f.loop(0, self.many, zeros, step=CHAINS * v.lanes) as c:
            places = [f.add(c.index, i * v.lanes) for i in range(CHAINS)]
            c.carry([add(a, read(at)) for a, at in zip(c.values, places, strict=True)])
        with f.loop(self.many, self.whole, [(v.type, paired(v, c.results))], step=v.lanes) as c:
            c.carry([add(c.values[0], read(c.index))])
        with f.loop(self.whole, self.channels, v.carried(c.results), step=v.lanes) as c:
            c.carry([add(c.values[0], read(c.index, self._mask()))])
        return v.spread(v.total(c.results[0]))

    def _mask(self) -> str:
        return self.v.below(self.v.function.sub(self.channels, self.whole))

    def write(self, out: str, mean: str, rstd: str) -> None:
        v, f, kernel = self.v, self.v.function, self.kernel
        for start, stop, masked in ((0, self.whole, False), (self.whole, self.channels, True)):
            with f.loop(start, stop, step=v.lanes) as c:
                mask = self._mask() if masked else None
                away = kernel.away(v, v.load(v.at(self.x, c.index), mask), mean)
                made = kernel.scaled(v, self.given, away, rstd, c.index, mask)
                v.store(made, v.at(out, c.index), mask)


def normalise(
    work: Work,
    dtype: str,
    machine: Machine,
    *,
    rows: int,
    channels: int,
    x: Matrix,
    out: Matrix,
    eps: float,
    gain: Operand | None = None,
    shift: Operand | None = None,
    mean: Matrix | None = None,
    rstd: Matrix | None = None,
    centred: bool = True,
    title: str,
) -> None:
    """Add the step over ``rows`` rows; ``channels``: so many that it ``fits``.

    gain, shift: (channels,). mean, rstd: (rows, 1), where they are kept, the former if ``centred``.
    ``out`` may be ``x``.
    """
    lanes = machine.lanes(dtype)
    vectors = up(channels, lanes)
    held = vectors if vectors <= machine.registers // 2 else 0
    kernel = NormaliseKernel(
        dtype,
        held,
        channels % lanes if held else 0,
        centred,
        gain is not None,
        shift is not None,
        rstd is not None,
    )
    item_rows = max(1, int(MAP_ITEM_CYCLES / (vectors * VECTOR_CYCLES + ROW_CYCLES)))
    more: dict[str, Argument] = {}
    for name, vector in (("gain", gain), ("shift", shift)):
        more |= {} if vector is None else {name: vector}
    for name, matrix in (("mean", mean), ("rstd", rstd)):
        more |= {} if matrix is None else matrix.arguments(name)
    step = kernel.step(
        up(rows, item_rows),
        title,
        barrier=False,
        **x.arguments("x"),
        **out.arguments("out"),
        rows=rows,
        item_rows=item_rows,
        channels=channels,
        count=scale_bits(dtype, channels),
        eps=scale_bits(dtype, eps),
        **more,
    )
    work.steps.append(step)
