"""The code of a Fourier transform over vectors: passes of radix 4 in place, no reordering.

A transform of ``n = lanes * size`` complex numbers lies in two planes, real and imaginary parts,
``plane`` elements apart. Vector ``m`` holds the numbers ``lanes * m`` to ``lanes * m + lanes - 1``.
Every lane is first transformed for itself, over ``m``: vectors meet vectors only, and a twiddle is
one number for all lanes. Then, ``lanes`` vectors at a time, the vectors are transposed in registers
and the lanes are transformed. The spectrum comes out in the order in which decimation in frequency
leaves it, and the way back takes it in that order, so nothing is ever sorted: a product of two
spectra does not ask where a frequency lies.

W. M. Gentleman and G. Sande, *Fast Fourier transforms for fun and profit*, 1966 (decimation in
frequency forward; J. W. Cooley and J. W. Tukey, 1965, is the way back). The way down is recursive,
so that parts that fit into a cache are finished there (R. C. Singleton, 1967).
"""

from collections.abc import Iterable, Sequence
from math import cos, pi, sin, sqrt

from faltung.codegen.vectors import Functions, Vectors
from faltung.machine.costs import LINE_BYTES, PREFETCH_DISTANCE_PASS_ROWS

Complex = tuple[str, str]

# Vectors of the smallest transform over vectors: two passes written out.
LEAF = 16
ARGUMENTS = [("ptr", "x"), ("i64", "plane"), ("i64", "size"), ("ptr", "twiddles")]


# Numbers ------------------------------------------------------------------------------------------


def add(v: Vectors, a: Complex, b: Complex) -> Complex:
    return v.add(a[0], b[0]), v.add(a[1], b[1])


def sub(v: Vectors, a: Complex, b: Complex) -> Complex:
    return v.sub(a[0], b[0]), v.sub(a[1], b[1])


def times(v: Vectors, a: Complex, b: Complex, *, conjugate: bool = False) -> Complex:
    """``a * b``, or ``a`` times the conjugate of ``b``."""
    if conjugate:
        real = v.multiply_add(a[1], b[1], v.mul(a[0], b[0]))
        return real, v.multiply_add(a[1], b[0], v.neg(v.mul(a[0], b[1])))
    real = v.multiply_add(a[0], b[0], v.neg(v.mul(a[1], b[1])))
    return real, v.multiply_add(a[0], b[1], v.mul(a[1], b[0]))


def by_root(v: Vectors, a: Complex, k: int, n: int, *, inverse: bool) -> Complex:
    """``a * exp(-2 pi i k / n)``, or its conjugate's product; quarters and eighths of a turn are
    cheap.
    """
    eighths, rest = divmod(8 * (k % n), n)
    if rest:
        angle = 2 * pi * k / n
        return times(v, a, (v.constant(cos(angle)), v.constant(-sin(angle))), conjugate=inverse)
    if inverse:
        eighths = -eighths % 8
    if eighths % 2:  # times (1 - i) / sqrt(2) first
        scaled = v.constant(sqrt(0.5))
        a = v.mul(v.add(a[0], a[1]), scaled), v.mul(v.sub(a[1], a[0]), scaled)
    for _ in range(eighths // 2):
        a = a[1], v.neg(a[0])
    return a


def radix4(v: Vectors, a: Sequence[Complex], *, inverse: bool) -> list[Complex]:
    """The transform of four numbers, in order."""
    even, odd = add(v, a[0], a[2]), add(v, a[1], a[3])
    s, t = sub(v, a[0], a[2]), sub(v, a[1], a[3])
    down = v.add(s[0], t[1]), v.sub(s[1], t[0])  # s - i t
    up = v.sub(s[0], t[1]), v.add(s[1], t[0])
    first, third = (up, down) if inverse else (down, up)
    return [add(v, even, odd), first, sub(v, even, odd), third]


def dif(v: Vectors, a: Sequence[Complex]) -> list[Complex]:
    """The transform of a power of two of numbers, its frequencies in bit-reversed order."""
    n, half = len(a), len(a) // 2
    if n == 1:
        return list(a)
    low = [add(v, a[i], a[i + half]) for i in range(half)]
    high = [by_root(v, sub(v, a[i], a[i + half]), i, n, inverse=False) for i in range(half)]
    return dif(v, low) + dif(v, high)


def dit(v: Vectors, a: Sequence[Complex]) -> list[Complex]:
    """The way back from ``dif``, not divided by the length."""
    n, half = len(a), len(a) // 2
    if n == 1:
        return list(a)
    low = dit(v, a[:half])
    high = [by_root(v, z, i, n, inverse=True) for i, z in enumerate(dit(v, a[half:]))]
    pairs = list(zip(low, high, strict=True))
    return [add(v, x, y) for x, y in pairs] + [sub(v, x, y) for x, y in pairs]


def butterfly(v: Vectors, a: Sequence[Complex], w: str, *, inverse: bool) -> list[Complex]:
    """The transform of two or four numbers, with the twiddles at ``w``: those of one
    iteration of a pass.
    """
    a = list(a)
    numbers = [v.broadcast(v.at(w, i)) for i in range(2 * len(a) - 2)]
    roots = list(zip(numbers[::2], numbers[1::2], strict=True))
    if inverse:
        a[1:] = [times(v, z, r, conjugate=True) for z, r in zip(a[1:], roots, strict=True)]
    y = radix4(v, a, inverse=inverse) if len(a) == 4 else [add(v, *a), sub(v, *a)]
    if not inverse:
        y[1:] = [times(v, z, r) for z, r in zip(y[1:], roots, strict=True)]
    return y


# Memory -------------------------------------------------------------------------------------------


def load(v: Vectors, at: str, plane: str) -> Complex:
    return v.load(at), v.load(v.at(at, plane))


def store(v: Vectors, z: Complex, at: str, plane: str) -> None:
    v.store(z[0], at)
    v.store(z[1], v.at(at, plane))


# Passes over vectors ------------------------------------------------------------------------------


def write_passes(code: Functions, *, inverse: bool) -> None:
    """Functions ``forward`` or ``inverse`` of (x, plane, size, twiddles): every lane transformed
    over ``size`` vectors, a power of four from ``LEAF`` on; and ``..._twice``: of twice a power of
    four.
    """
    name = "inverse" if inverse else "forward"
    v = code.open(name, ARGUMENTS)
    f = v.function
    small = f.value(f"icmp eq i64 %size, {LEAF}")
    f.choose(small, lambda: _leaf(v, inverse), lambda: _pass(v, name, inverse))
    _write_twice(code, name, inverse)


def _pass(v: Vectors, name: str, inverse: bool) -> None:
    """A pass over four parts, and each of them for itself: forward before, inverse after."""
    f = v.function
    quarter = f.value("lshr i64 %size, 2")
    step = f.mul(quarter, v.lanes)
    offsets = ["0", step, f.mul(step, 2), f.mul(step, 3)]
    following = v.at("%twiddles", f.mul(quarter, 6))
    if inverse:
        _parts(v, name, (v.at("%x", offset) for offset in offsets), quarter, following)
    _butterflies(v, quarter, offsets, inverse)
    if not inverse:
        _parts(v, name, (v.at("%x", offset) for offset in offsets), quarter, following)


def _write_twice(code: Functions, name: str, inverse: bool) -> None:
    """The same over two parts."""
    v = code.open(f"{name}_twice", ARGUMENTS)
    f = v.function
    half = f.value("lshr i64 %size, 1")
    step = f.mul(half, v.lanes)
    following = v.at("%twiddles", f.mul(half, 2))
    if inverse:
        _parts(v, name, ["%x", v.at("%x", step)], half, following)
    _butterflies(v, half, ["0", step], inverse)
    if not inverse:
        _parts(v, name, ["%x", v.at("%x", step)], half, following)


def _parts(v: Vectors, name: str, parts: Iterable[str], size: str, twiddles: str) -> None:
    """``name`` of each part."""
    for part in parts:
        given = [part, "%plane", size, twiddles]
        arguments = [(kind, g) for (kind, _), g in zip(ARGUMENTS, given, strict=True)]
        v.function.call(name, arguments)


def _butterflies(v: Vectors, size: str, offsets: Sequence[str], inverse: bool) -> None:
    """One vector of each part with those of the others, for all ``size`` vectors of a part."""
    moving = [("%x", v.lanes), ("%twiddles", 2 * len(offsets) - 2)]
    with v.walk(0, size, moving, runs=True) as vector:
        x, w = vector.values
        at = [v.at(x, offset) for offset in offsets]
        made = butterfly(v, [load(v, place, "%plane") for place in at], w, inverse=inverse)
        for z, place in zip(made, at, strict=True):
            store(v, z, place, "%plane")


def _leaf(v: Vectors, inverse: bool) -> None:
    """Sixteen vectors: two passes with the twiddles as constants."""

    def at(i: int) -> str:
        return v.at("%x", i * v.lanes)

    def columns() -> None:
        for j in range(4):
            places = [at(j + 4 * p) for p in range(4)]
            a = [load(v, place, "%plane") for place in places]
            if inverse:
                a = [by_root(v, z, p * j, LEAF, inverse=True) for p, z in enumerate(a)]
            y = radix4(v, a, inverse=inverse)
            if not inverse:
                y = [by_root(v, z, p * j, LEAF, inverse=False) for p, z in enumerate(y)]
            for z, place in zip(y, places, strict=True):
                store(v, z, place, "%plane")

    def rows() -> None:
        for p in range(4):
            places = [at(4 * p + q) for q in range(4)]
            y = radix4(v, [load(v, place, "%plane") for place in places], inverse=inverse)
            for z, place in zip(y, places, strict=True):
                store(v, z, place, "%plane")

    for work in (rows, columns) if inverse else (columns, rows):
        work()


# Passes over rows of an array ---------------------------------------------------------------------

# A block of ``rows`` rows of ``width`` entries, both powers of two: a pass of four (or two) over it
# takes entry ``c`` of four rows, ``rows / 4`` apart. So the way forward can read the rows where
# they are, and nothing is copied into the block first; and the way back has four rows done after
# each iteration, which are stored while they are in the first-level cache.


def write_first(code: Functions, radix: int) -> None:
    """``first`` (x, plane, rows, width, twiddles, real, imag, real_row, imag_row): the first pass
    of the way forward. ``real``, ``imag``: where the rows of both planes are, ``real_row``,
    ``imag_row``: elements from one to the next.
    """
    sizes = [("i64", "rows"), ("i64", "width"), ("ptr", "twiddles")]
    sources = [("ptr", "real"), ("ptr", "imag"), ("i64", "real_row"), ("i64", "imag_row")]
    v = code.open("first", [("ptr", "x"), ("i64", "plane"), *sizes, *sources])
    f = v.function
    count = f.divmod("%rows", radix)[0]
    part = f.mul(count, "%width")
    parts = [v.at("%x", f.mul(part, p)) for p in range(radix)]
    steps = ["%real_row", "%imag_row"]
    ahead = [f.mul(step, PREFETCH_DISTANCE_PASS_ROWS) for step in steps]
    carried = [("ptr", at) for at in ("%twiddles", *parts, "%real", "%imag")]
    with f.loop(0, count, carried, runs=True) as row:
        w, *to, real, imag = row.values
        planes = [
            [v.at(base, f.mul(f.mul(count, step), p)) for p in range(radix)]
            for base, step in zip((real, imag), steps, strict=True)
        ]
        per_line = max(1, LINE_BYTES // v.machine.vector_bytes)
        with f.loop(0, "%width", [("ptr", w)], step=v.lanes * per_line, runs=True) as vector:
            (w,) = vector.values
            for i in range(per_line):
                at = f.add(vector.index, i * v.lanes)
                here = [[v.at(base, at) for base in bases] for bases in planes]
                if i == 0:
                    for bases, more in zip(here, ahead, strict=True):
                        for base in bases:
                            f.prefetch(v.at(base, more))
                a = [(v.load(re), v.load(im)) for re, im in zip(*here, strict=True)]
                for z, base in zip(butterfly(v, a, w, inverse=False), to, strict=True):
                    store(v, z, v.at(base, at), "%plane")
                w = v.at(w, 2 * (radix - 1))
            vector.carry([w])
        onward = [*(v.at(base, "%width") for base in to), v.at(real, "%real_row")]
        row.carry([vector.results[0], *onward, v.at(imag, "%imag_row")])


def write_last(code: Functions, radix: int) -> None:
    """``last`` (x, plane, part, width, twiddles): the last pass of the way back, of the rows at
    ``x`` and at every ``part`` elements from there.
    """
    sizes = [("i64", "part"), ("i64", "width"), ("ptr", "twiddles")]
    v = code.open("last", [("ptr", "x"), ("i64", "plane"), *sizes])
    f = v.function
    offsets = [f.mul("%part", p) for p in range(radix)]
    moving = [("%twiddles", 2 * (radix - 1))]
    with v.walk(0, "%width", moving, step=v.lanes, runs=True) as vector:
        (w,) = vector.values
        at = [v.at("%x", f.add(vector.index, offset)) for offset in offsets]
        a = [(v.load(place), v.load(v.at(place, "%plane"))) for place in at]
        for z, place in zip(butterfly(v, a, w, inverse=True), at, strict=True):
            store(v, z, place, "%plane")


# Across the lanes ---------------------------------------------------------------------------------


def write_lanes(code: Functions) -> None:
    """``lanes`` (x, plane, lane_groups, twiddles): the last part of the way forward, in place."""
    v = code.open(
        "lanes", [("ptr", "x"), ("i64", "plane"), ("i64", "lane_groups"), ("ptr", "twiddles")]
    )
    n = v.lanes
    with v.walk(0, "%lane_groups", [("%x", n * n), ("%twiddles", 2 * n * n)], runs=True) as group:
        x, w = group.values
        rows = [times(v, load(v, v.at(x, i * n), "%plane"), _vector(v, w, i)) for i in range(n)]
        for i, z in enumerate(dif(v, _transposed(v, rows))):
            store(v, z, v.at(x, i * n), "%plane")


def lanes_back(v: Vectors, rows: Sequence[Complex], x: str, plane: str, w: str) -> None:
    """The first part of the way back of ``lanes`` vectors of a spectrum, stored at ``x``."""
    rows = _transposed(v, dit(v, rows))
    for i, z in enumerate(rows):
        made = times(v, z, _vector(v, w, i), conjugate=True)
        store(v, made, v.at(x, i * v.lanes), plane)


def _vector(v: Vectors, w: str, i: int) -> Complex:
    at = v.at(w, 2 * i * v.lanes)
    return v.load(at), v.load(v.at(at, v.lanes))


def _transposed(v: Vectors, rows: Sequence[Complex]) -> list[Complex]:
    real = v.transpose([z[0] for z in rows])
    imaginary = v.transpose([z[1] for z in rows])
    return list(zip(real, imaginary, strict=True))
