"""Sine, cosine, tangent and their inverses, for all numbers.

Arguments up to ``limit`` lose a multiple of pi/2 in parts whose products are exact (W. J. Cody and
W. Waite, *Software Manual for the Elementary Functions*, 1980). Larger ones are multiplied by as
many digits of 2/pi as they need (M. H. Payne and R. N. Hanek, "Radian Reduction for Trigonometric
Functions", SIGNUM Newsletter 18, 1983), one lane after the other, in integers. The inverse
functions are reduced as in fdlibm (Sun Microsystems, 1993). The coefficients are minimax.
"""

import math

from faltung.codegen.ir import Function
from faltung.codegen.math import magic, number_of, on_bits, polynomial
from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass


@dataclass(frozen=True)
class _Format:
    """Constants for one dtype.

    half_pi: in parts; those before the last are so short that a product with a multiple is exact.
    limit: arguments up to which that holds. half: pi/2, and what it lacks. sin,
    cos, atan, asin: coefficients of the square of the argument, as the functions use them.
    """

    half_pi: tuple[float, ...]
    limit: float
    half: tuple[float, float]
    sin: tuple[float, ...]
    cos: tuple[float, ...]
    atan: tuple[float, ...]
    asin: tuple[float, ...]


_FORMATS = {
    "float32": _Format(
        half_pi=(
            *(float.fromhex("0x1.92p+0"), float.fromhex("0x1.fb4p-12")),
            *(float.fromhex("0x1.444p-24"), 2.563344151594519e-12),
        ),
        limit=6000.0,
        half=(1.57079637050628662109375, -4.371139000186241e-08),
        sin=(-0.1666665487, 0.008332173545, -0.0001951665606),
        cos=(0.04166664675, -0.001388736145, 2.443773054e-5),
        atan=(-0.333333154, 0.1999848224, -0.1424370319, 0.1059486091, -0.06080412942),
        asin=(0.1666675413, 0.07495232677, 0.04547834202, 0.02414099387, 0.0422305399),
    ),
    "float64": _Format(
        half_pi=(
            *(float.fromhex("0x1.921fb544p+0"), float.fromhex("0x1.0b4611a6p-34")),
            *(float.fromhex("0x1.3198a2ep-69"), 8.4784276603689e-32),
        ),
        limit=800_000.0,
        half=(1.5707963267948966, 6.123233995736766e-17),
        sin=(
            *(-0.166666666666666317, 0.00833333333332231522, -0.000198412698297252626),
            *(2.75573136620780938e-6, -2.50507532677885928e-8, 1.58965051368939605e-10),
        ),
        cos=(
            *(0.0416666666666665987, -0.00138888888888739908, 0.00002480158728939495),
            *(-2.75573143260382332e-7, 2.08757195598074028e-9, -1.13594487408910158e-11),
        ),
        atan=(
            *(-0.333333333333333275, 0.199999999999976627, -0.142857142853871816),
            *(0.111111110881253212, -0.0909090814260745806, 0.0769228271468329387),
            *(-0.0666622610078352987, 0.0587701530300682688, -0.0521836217416009689),
            *(0.0450337616214718894, -0.0334703860454514093, 0.0151909813489899824),
        ),
        asin=(
            *(0.166666666666653756, 0.0750000000034482943, 0.0446428568219539275),
            *(0.0303819593962679301, 0.0223717519218237093, 0.0173597958458498592),
            *(0.0138843486931110649, 0.0121749529363880717, 0.00650347648571234482),
            *(0.0195944571179617677, -0.0163268700579572243, 0.0319818082473877641),
        ),
    ),
}
# pi/2 in units of 2**-63.
_HALF_PI = 0xC90FDAA22168C234
# The first 1280 binary digits of 2/pi, after 64 zeros.
_DIGITS = (
    0,
    *(0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041, 0xFE5163ABDEBBC561),
    *(0xB7246E3A424DD2E0, 0x6492EEA09D1921C, 0xFE1DEB1CB129A73E, 0xE88235F52EBB4484),
    *(0xE99C7026B45F7E41, 0x3991D639835339F4, 0x9C845F8BBDF9283B, 0x1FF897FFDE05980F),
    *(0xEF2F118B5A0A6D1F, 0x6D367ECF27CB09B7, 0x4F463F669E5FEA2D, 0x7527BAC7EBE5F17B),
    *(0x3D0739F78A5292EA, 0x6BFB5FB11F8D5D08, 0x56033046FC7B6BAB, 0xF0CFBC209AF4361D),
)


def sin(v: Vectors, x: str) -> str:
    """The sine; NaN for infinities."""
    rest, quadrant = _quadrants(v, x)
    sine, cosine = _both(v, rest)
    odd = _has(v, quadrant, 1)
    made = v.select(odd, cosine, sine)
    made = _negated(v, made, quadrant)
    return v.select(v.compare("oeq", x, v.zero), x, made)


def cos(v: Vectors, x: str) -> str:
    """The cosine; NaN for infinities."""
    rest, quadrant = _quadrants(v, x)
    sine, cosine = _both(v, rest)
    made = v.select(_has(v, quadrant, 1), sine, cosine)
    return _negated(v, made, on_bits(v, "add", quadrant, 1))


def tan(v: Vectors, x: str) -> str:
    """The tangent; NaN for infinities."""
    rest, quadrant = _quadrants(v, x)
    sine, cosine = _both(v, rest)
    odd = _has(v, quadrant, 1)
    made = v.div(v.select(odd, v.neg(cosine), sine), v.select(odd, sine, cosine))
    return v.select(v.compare("oeq", x, v.zero), x, made)


def _has(v: Vectors, bits: str, one: int) -> str:
    """Whether a bit is set, lane by lane."""
    kind = v.integers
    return v.function.value(f"icmp ne {kind} {on_bits(v, 'and', bits, one)}, zeroinitializer")


def _negated(v: Vectors, x: str, quadrant: str) -> str:
    """With the other sign in the second half of the circle."""
    flip = on_bits(v, "shl", on_bits(v, "and", quadrant, 2), 8 * v.bytes - 2)
    return number_of(v, v.function.value(f"xor {v.integers} {v.bits(x)}, {flip}"))


def _both(v: Vectors, r: str) -> tuple[str, str]:
    """Sine and cosine of numbers up to pi/4."""
    form = _FORMATS[v.dtype]
    z = v.mul(r, r)
    sine = v.multiply_add(v.mul(r, z), polynomial(v, z, form.sin), r)
    half = v.mul(z, v.constant(0.5))
    one = v.constant(1.0)
    head = v.sub(one, half)
    lost = v.sub(v.sub(one, head), half)
    tail = v.multiply_add(v.mul(z, z), polynomial(v, z, form.cos), lost)
    return sine, v.add(head, tail)


# Multiples of pi/2 --------------------------------------------------------------------------------


def _quadrants(v: Vectors, x: str) -> tuple[str, str]:
    """What is left of x without the nearest multiple of pi/2, and which multiple, modulo 4."""
    form, f = _FORMATS[v.dtype], v.function
    large = v.constant(magic(v))
    shifted = v.add(v.mul(x, v.constant(2 / math.pi)), large)
    n = v.sub(shifted, large)
    rest = x
    *parts, short, last = (v.constant(-part) for part in form.half_pi)
    for part in parts:
        rest = v.multiply_add(n, part, rest)
    # What this rounds goes into the last part: the result is rounded once.
    near = v.multiply_add(n, short, rest)
    lost = v.multiply_add(n, short, v.sub(rest, near))
    rest = v.add(near, v.multiply_add(n, last, lost))
    quadrant = v.bits(shifted)
    # Infinities stay: they are NaN by now.
    size = v.abs(x)
    beyond = f.value(
        f"and {v.flags} {v.compare('ogt', size, v.constant(form.limit))}, "
        f"{v.compare('olt', size, v.constant(math.inf))}"
    )
    far = v.select(beyond, x, v.constant(form.limit))
    carried = [(v.type, rest), (v.integers, quadrant)]
    with f.loop(0, _lanes_if_any(v, beyond), carried) as lane:
        made, which = lane.values
        at = f"i64 {lane.index}"
        number, turns = _turned(v, f, lane.index, far)
        made = f.value(f"insertelement {v.type} {made}, {v.element} {number}, {at}")
        which = f.value(f"insertelement {v.integers} {which}, {v.integer} {turns}, {at}")
        lane.carry([made, which])
    made, which = lane.results
    rest = v.select(beyond, made, rest)
    kind = v.integers
    return rest, f.value(f"select {v.flags} {beyond}, {kind} {which}, {kind} {quadrant}")


def _lanes_if_any(v: Vectors, flags: str) -> str:
    """The number of lanes if a flag is set, else 0."""
    f = v.function
    bits = f.value(f"bitcast {v.flags} {flags} to i{v.lanes}")
    some = f.value(f"icmp ne i{v.lanes} {bits}, 0")
    return f.value(f"select i1 {some}, i64 {v.lanes}, i64 0")


def _turned(v: Vectors, f: Function, lane: str, x: str) -> tuple[str, str]:
    """One lane of x without the nearest multiple of pi/2, and which it is; above 2**-11, finite.

    x is M 2**E with an integer M. Of 2/pi the digits count from that on whose product with x is
    below 4: 192 of them times M, modulo 2**192, of which the upper 128 bits are kept.
    """
    one = f.value(f"extractelement {v.type} {x}, i64 {lane}")
    wide = one if v.dtype == "float64" else f.value(f"fpext float {one} to double")
    bits = f.value(f"bitcast double {wide} to i64")
    field = f.value(f"and i64 {f.value(f'lshr i64 {bits}, 52')}, 2047")
    mantissa = f.value(f"or i64 {f.value(f'and i64 {bits}, {(1 << 52) - 1}')}, {1 << 52}")
    high, low = _product(f, mantissa, f.sub(field, 1075 - 62))
    # The upper two bits are the quadrant, and half a quadrant more is the next one with a negative
    # rest.
    quadrant = f.value(f"lshr i64 {high}, 62")
    fraction = _pair(f, high, low)
    fraction = f.value(f"shl i128 {fraction}, 2")
    negative = f.value(f"icmp slt i128 {fraction}, 0")
    quadrant = f.add(quadrant, f.value(f"zext i1 {negative} to i64"))
    opposite = f.value(f"sub i128 0, {fraction}")
    size = f.value(f"select i1 {negative}, i128 {opposite}, i128 {fraction}")
    rest = _radians(f, size)
    # The sign of x turns everything round.
    minus = f.value(f"icmp slt i64 {bits}, 0")
    quadrant = f.value(f"select i1 {minus}, i64 {f.sub(0, quadrant)}, i64 {quadrant}")
    other = f.value(f"xor i1 {minus}, {negative}")
    rest = f.value(f"select i1 {other}, double {f.value(f'fneg double {rest}')}, double {rest}")
    if v.dtype == "float64":
        return rest, quadrant
    short = f.value(f"fptrunc double {rest} to float")
    return short, f.value(f"trunc i64 {quadrant} to i32")


def _product(f: Function, mantissa: str, place: str) -> tuple[str, str]:
    """The upper 128 of the lower 192 bits of the product with the digits from ``place`` on."""
    table = f.module.words("two_over_pi", [*_DIGITS])
    start, shift = f.value(f"lshr i64 {place}, 6"), f.value(f"and i64 {place}, 63")
    words = [f.word(table, f.add(start, i)) for i in range(4)]
    callee = f.module.declare("llvm.fshl.i64", "i64", "i64", "i64", "i64")
    w = [
        f.value(f"call i64 {callee}(i64 {words[i]}, i64 {words[i + 1]}, i64 {shift})")
        for i in range(3)
    ]
    m = f.value(f"zext i64 {mantissa} to i128")
    wide = [f.value(f"zext i64 {word} to i128") for word in w[1:]]
    below = f.value(f"lshr i128 {f.value(f'mul i128 {m}, {wide[1]}')}, 64")
    middle = f.value(f"add i128 {f.value(f'mul i128 {m}, {wide[0]}')}, {below}")
    low = f.value(f"trunc i128 {middle} to i64")
    carry = f.value(f"trunc i128 {f.value(f'lshr i128 {middle}, 64')} to i64")
    return f.add(f.mul(mantissa, w[0]), carry), low


def _pair(f: Function, high: str, low: str) -> str:
    upper = f.value(f"shl i128 {f.value(f'zext i64 {high} to i128')}, 64")
    return f.value(f"or i128 {upper}, {f.value(f'zext i64 {low} to i128')}")


def _radians(f: Function, size: str) -> str:
    """A fraction of pi/2, in units of 2**-128, as a double."""
    callee = f.module.declare("llvm.ctlz.i128", "i128", "i128", "i1")
    zeros = f.value(f"call i128 {callee}(i128 {size}, i1 false)")
    shift = f.value(f"and i128 {zeros}, 127")
    top = f.value(f"lshr i128 {f.value(f'shl i128 {size}, {shift}')}, 64")
    turned = f.value(f"lshr i128 {f.value(f'mul i128 {top}, {_HALF_PI}')}, 65")
    number = f.value(f"sitofp i64 {f.value(f'trunc i128 {turned} to i64')} to double")
    lead = f.value(f"trunc i128 {shift} to i64")
    power = f.value(f"shl i64 {f.sub(1023 - 62, lead)}, 52")
    return f.value(f"fmul double {number}, {f.value(f'bitcast i64 {power} to double')}")


# Inverse functions --------------------------------------------------------------------------------


def atan(v: Vectors, x: str) -> str:
    """The arc tangent: of (x - 1) / (x + 1) and pi/4 above tan(pi/8), of -1/x and pi/2 above
    tan(3 pi/8).
    """
    form = _FORMATS[v.dtype]
    size, one = v.abs(x), v.constant(1.0)
    near = v.compare("ogt", size, v.constant(math.tan(math.pi / 8)))
    far = v.compare("ogt", size, v.constant(math.tan(3 * math.pi / 8)))
    above = v.select(far, v.constant(-1.0), v.select(near, v.sub(size, one), size))
    below = v.select(far, size, v.select(near, v.add(size, one), one))
    t = v.div(above, below)
    z = v.mul(t, t)
    series = v.mul(v.mul(t, z), polynomial(v, z, form.atan))
    base, lack = (
        v.select(far, v.constant(part), v.select(near, v.constant(part / 2), v.zero))
        for part in form.half
    )
    return v.copysign(v.add(base, v.add(t, v.add(series, lack))), x)


def _arc(v: Vectors, x: str) -> tuple[str, str, str, str]:
    """Whether |x| is below 1/2; what asin takes there, and else the root of (1 - |x|) / 2; what the
    series adds to it.
    """
    size = v.abs(x)
    small = v.compare("olt", size, v.constant(0.5))
    rest = v.mul(v.sub(v.constant(1.0), size), v.constant(0.5))
    z = v.select(small, v.mul(x, x), rest)
    s = v.select(small, size, v.sqrt(z))
    return small, size, s, v.mul(v.mul(s, z), polynomial(v, z, _FORMATS[v.dtype].asin))


def asin(v: Vectors, x: str) -> str:
    """The arc sine; NaN beyond 1. From 1/2 on pi/2 - 2 asin(sqrt((1 - x) / 2))."""
    small, _, s, series = _arc(v, x)
    half, lack = map(v.constant, _FORMATS[v.dtype].half)
    core = v.add(s, series)
    far = v.sub(half, v.sub(v.add(core, core), lack))
    return v.copysign(v.select(small, core, far), x)


def acos(v: Vectors, x: str) -> str:
    """The arc cosine; NaN beyond 1. From 1/2 on 2 asin(sqrt((1 - x) / 2)), else pi less."""
    small, _, s, series = _arc(v, x)
    half, lack = _FORMATS[v.dtype].half
    core = v.add(s, series)
    twice = v.add(core, core)
    left = v.sub(v.constant(2 * half), v.sub(twice, v.constant(2 * lack)))
    negative = v.compare("olt", x, v.zero)
    far = v.select(negative, left, twice)
    near = v.sub(v.constant(half), v.sub(x, v.sub(v.constant(lack), v.copysign(series, x))))
    return v.select(small, near, far)
