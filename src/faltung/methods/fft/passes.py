"""A Fourier transform over vectors, as code: passes of radix 4 in place, no reordering.

A transform of ``n = lanes * size`` complex numbers lies in two planes, real and imaginary parts,
``plane`` elements apart. Vector ``m`` holds the numbers ``lanes * m`` to ``lanes * m + lanes - 1``.
Every lane is first transformed for itself, over ``m``: vectors meet vectors only, and a twiddle is
one number for all lanes. Then, ``lanes`` vectors at a time, the vectors are turned in registers and
the lanes are transformed. The spectrum comes out in the order in which decimation in frequency
leaves it, and the way back takes it in that order, so nothing is ever sorted: a product of two
spectra does not ask where a frequency lies.

W. M. Gentleman and G. Sande, *Fast Fourier transforms for fun and profit*, 1966 (decimation in
frequency forward; J. W. Cooley and J. W. Tukey, 1965, is the way back). The way down is recursive,
so that parts that fit into a cache are finished there (R. C. Singleton, 1967).
"""

from collections.abc import Sequence
from math import cos, pi, sin, sqrt

from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.machine.table import Machine

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
    """The transform of two or four numbers, with the twiddles at ``w``: those of one turn of a
    pass.
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


def write_passes(module: Module, machine: Machine, dtype: str, *, inverse: bool) -> None:
    """Functions ``forward`` or ``inverse`` of (x, plane, size, twiddles): every lane transformed
    over ``size`` vectors, a power of four from ``LEAF`` on; and ``..._twice``: of twice a power of
    four.
    """
    name = "inverse" if inverse else "forward"
    f = module.function(name, ARGUMENTS)
    v = Vectors(f, machine, dtype)
    small = f.value(f"icmp eq i64 %size, {LEAF}")
    leaf = f.value(f"zext i1 {small} to i64")
    f.switch(leaf, [lambda: _pass4(v, name, inverse), lambda: _leaf(v, inverse)])
    _twice(module, machine, dtype, inverse)


def _pass4(v: Vectors, name: str, inverse: bool) -> None:
    """A pass over four parts, and each of them for itself: forward before, inverse after."""
    f = v.function
    quarter = f.value("lshr i64 %size, 2")
    step = f.mul(quarter, v.lanes)
    offsets = ["0", step, f.mul(step, 2), f.mul(step, 3)]
    following = v.at("%twiddles", f.mul(quarter, 6))

    def parts() -> None:
        for offset in offsets:
            given = [v.at("%x", offset), "%plane", quarter, following]
            f.call(name, [(kind, g) for (kind, _), g in zip(ARGUMENTS, given, strict=True)])

    if inverse:
        parts()
    with f.loop(0, quarter, [("ptr", "%x"), ("ptr", "%twiddles")], runs=True) as turn:
        x, w = turn.values
        at = [v.at(x, offset) for offset in offsets]
        made = butterfly(v, [load(v, place, "%plane") for place in at], w, inverse=inverse)
        for z, place in zip(made, at, strict=True):
            store(v, z, place, "%plane")
        turn.carry([v.at(x, v.lanes), v.at(w, 6)])
    if not inverse:
        parts()


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


def _twice(module: Module, machine: Machine, dtype: str, inverse: bool) -> None:
    name = "inverse" if inverse else "forward"
    f = module.function(f"{name}_twice", ARGUMENTS)
    v = Vectors(f, machine, dtype)
    half = f.value("lshr i64 %size, 1")
    step = f.mul(half, v.lanes)
    following = v.at("%twiddles", f.mul(half, 2))

    def parts() -> None:
        for x in ("%x", v.at("%x", step)):
            given = [x, "%plane", half, following]
            f.call(name, [(kind, g) for (kind, _), g in zip(ARGUMENTS, given, strict=True)])

    if inverse:
        parts()
    with f.loop(0, half, [("ptr", "%x"), ("ptr", "%twiddles")], runs=True) as turn:
        x, w = turn.values
        at = x, v.at(x, step)
        made = butterfly(v, [load(v, place, "%plane") for place in at], w, inverse=inverse)
        for z, place in zip(made, at, strict=True):
            store(v, z, place, "%plane")
        turn.carry([v.at(x, v.lanes), v.at(w, 2)])
    if not inverse:
        parts()


# Across the lanes ---------------------------------------------------------------------------------


def write_lanes(module: Module, machine: Machine, dtype: str) -> None:
    """``lanes`` (x, plane, groups, twiddles): the last part of the way forward, in place."""
    f = module.function(
        "lanes", [("ptr", "x"), ("i64", "plane"), ("i64", "groups"), ("ptr", "twiddles")]
    )
    v = Vectors(f, machine, dtype)
    n = v.lanes
    with f.loop(0, "%groups", [("ptr", "%x"), ("ptr", "%twiddles")], runs=True) as turn:
        x, w = turn.values
        rows = [times(v, load(v, v.at(x, i * n), "%plane"), _vector(v, w, i)) for i in range(n)]
        for i, z in enumerate(dif(v, _turned(v, rows))):
            store(v, z, v.at(x, i * n), "%plane")
        turn.carry([v.at(x, n * n), v.at(w, 2 * n * n)])


def lanes_back(v: Vectors, rows: Sequence[Complex], x: str, plane: str, w: str) -> None:
    """The first part of the way back of ``lanes`` vectors of a spectrum, stored at ``x``."""
    turned = _turned(v, dit(v, rows))
    for i, z in enumerate(turned):
        made = times(v, z, _vector(v, w, i), conjugate=True)
        store(v, made, v.at(x, i * v.lanes), plane)


def _vector(v: Vectors, w: str, i: int) -> Complex:
    at = v.at(w, 2 * i * v.lanes)
    return v.load(at), v.load(v.at(at, v.lanes))


def _turned(v: Vectors, rows: Sequence[Complex]) -> list[Complex]:
    real = v.transpose([z[0] for z in rows])
    imaginary = v.transpose([z[1] for z in rows])
    return list(zip(real, imaginary, strict=True))
