"""Vectorised elementary functions, exp to erf, as polynomials in registers.

Every function takes and returns the name of a vector, calls no library, and treats all lanes alike.
Arguments are reduced as in W. J. Cody and W. Waite, *Software Manual for the Elementary Functions*,
Prentice-Hall, 1980; the series of log is that of fdlibm (Sun Microsystems, 1993). The coefficients
are minimax (Remez exchange with 60 digits; those for float32 were rounded one by one, and the rest
fitted again).

The errors are listed in docs/accuracy.md. NaN gives NaN; infinities and zeros of both signs are
exact; results too small for a normal number lose bits gradually.
"""

import math
import struct
from collections.abc import Sequence

from faltung.codegen.vectors import Vectors
from faltung.geometry.record import dataclass


@dataclass(frozen=True)
class Format:
    """Constants for one dtype.

    digits: stored bits of the significand. bias: of the exponent. ln2: in two parts, the first
    short enough that its product with any exponent is exact. exp_range: arguments beyond it give 0
    and infinity. expm1_range: the same for -1 and infinity. one, erf_one: arguments from which tanh
    and erf round to 1. normal_zero: one from which the tail of the normal distribution rounds to 0.
    sigmoid_shift, tail_shift: powers of two that keep quotients from overflow and underflow. head:
    stored bits of the significand of a number whose square is exact. exp, log, erf, erfc, tail
    (above and below the line): coefficients, constant term first, as the functions use them.
    """

    digits: int
    bias: int
    ln2: tuple[float, float]
    exp_range: tuple[float, float]
    expm1_range: tuple[float, float]
    one: float
    erf_one: float
    normal_zero: float
    sigmoid_shift: int
    tail_shift: int
    head: int
    exp: tuple[float, ...]
    log: tuple[float, ...]
    erf: tuple[float, ...]
    erfc: tuple[float, ...]
    tail: tuple[tuple[float, ...], tuple[float, ...]]


FORMATS = {
    "float32": Format(
        digits=23,
        bias=127,
        ln2=(float.fromhex("0x1.62e4p-1"), float.fromhex("0x1.7f7d1cp-20")),
        exp_range=(-105.0, 90.0),
        expm1_range=(-20.0, 89.0),
        one=10.0,
        erf_one=4.0,
        normal_zero=14.5,
        sigmoid_shift=30,
        tail_shift=40,
        head=11,
        exp=(0.5, 0.16666539, 0.041666396, 0.00836702436, 0.00139469793),
        log=(0.666666627, 0.400009722, 0.284987956, 0.24278678),
        erf=(
            *(0.128379166, -0.37612626, 0.112835787, -0.0268533472),
            *(0.0051871622, -0.00079978531, 7.80690389e-5),
        ),
        erfc=(
            *(-0.000353719108, -1.12704003, -0.638225675, -0.10303735),
            *(0.021805305, -0.00293960283, 0.00018557343),
        ),
        tail=(
            (3.5, 1.6019078, 0.40108082, 0.042062264, 4.3075165e-06),
            (1.75, 1.5979544, 0.689227, 0.15850711, 0.01685842),
        ),
    ),
    "float64": Format(
        digits=52,
        bias=1023,
        ln2=(float.fromhex("0x1.62e42fefap-1"), float.fromhex("0x1.cf79abc9e3b3ap-40")),
        exp_range=(-746.0, 710.0),
        expm1_range=(-40.0, 710.0),
        one=20.0,
        erf_one=6.0,
        normal_zero=39.0,
        sigmoid_shift=60,
        tail_shift=128,
        head=25,
        exp=(
            *(0.5, 0.16666666666666669, 0.04166666666665135, 0.008333333333327966),
            *(0.0013888888905882633, 0.00019841269871777596, 2.48015363868833e-5),
            *(2.7557256842949387e-6, 2.761380774304254e-7, 2.5105219406848383e-8),
        ),
        log=(
            *(0.66666666666667351, 0.39999999999408753, 0.2857142874396259),
            *(0.22222198387332676, 0.18183575354829382, 0.1531372937718491),
            0.14799586426666914,
        ),
        erf=(
            *(0.12837916709551256, -0.37612638903183521, 0.11283791670944186),
            *(-0.026866170643111652, 0.0052239776061199245, -0.00085483259293800515),
            *(0.00012055293578739574, -1.492471233506079e-5, 1.6447131952536898e-6),
            *(-1.6206316489635374e-7, 1.3710991461964517e-8, -7.7794878641354191e-10),
        ),
        erfc=(
            *(-1.0818484309890142e-6, -1.1283685483593355, -0.63666825853426912),
            *(-0.10263591951286066, 0.018862360368646965, 0.00058791144505496227),
            *(-0.0021024616606157751, 0.00092265700299966054, -0.00023219858591354677),
            *(2.8687803967440691e-5, 3.3731189513951411e-6, -2.6101139846263865e-6),
            *(6.7525733947451215e-7, -1.0641574053988914e-7, 1.072450067234781e-8),
            *(-6.4095821007982936e-10, 1.7399997343823006e-11),
        ),
        tail=(
            (
                *(0.7978845608028654, 0.9880845653955582, 0.6257194534818072),
                *(0.25723201193787554, 0.07455641998043744, 0.01568267595918017),
                *(0.0023875763033858357, 0.0002539950951815746, 1.7226474528983986e-05),
                5.74262865996538e-07,
            ),
            (
                *(1.0, 1.6938099311861292, 1.4190144043275148, 0.7612196721884201),
                *(0.28709820541266934, 0.07922817840425189, 0.016187221944710502),
                *(0.002422029213601405, 0.00025514362166159193, 1.722647452030919e-05),
                5.742628660416909e-07,
            ),
        ),
    ),
}

# Of the normal distribution at 0.
DENSITY = 1 / math.sqrt(2 * math.pi)


def polynomial(v: Vectors, x: str, coefficients: Sequence[float]) -> str:
    """``coefficients[0] + coefficients[1] * x + ...``, by Horner's rule."""
    *rest, last = coefficients
    value = v.constant(last)
    for coefficient in reversed(rest):
        value = v.multiply_add(value, x, v.constant(coefficient))
    return value


def paired(v: Vectors, x: str, square: str, coefficients: Sequence[float]) -> str:
    """The same from pairs of coefficients, with the square of x: as many operations, but only half
    of them wait for one another.
    """
    pairs = [coefficients[i : i + 2] for i in range(0, len(coefficients), 2)]
    terms = [polynomial(v, x, pair) for pair in pairs]
    value = terms.pop()
    while terms:
        value = v.multiply_add(value, square, terms.pop())
    return value


def exp(v: Vectors, x: str) -> str:
    """e**x = 2**n (1 + p), where n is the integer nearest to x / ln 2."""
    low, high = FORMATS[v.dtype].exp_range
    # The argument comes first, so that NaN is kept.
    return scaled(v, *reduced(v, v.min(v.max(x, v.constant(low)), v.constant(high))))


def exp_down(v: Vectors, x: str) -> str:
    """``exp`` for x up to 0, with fewer instructions."""
    low, _ = FORMATS[v.dtype].exp_range
    return scaled_down(v, *reduced(v, v.max(x, v.constant(low))))


def reduced(v: Vectors, x: str, low: str | None = None, by: float = 1.0) -> tuple[str, str]:
    """n, and p = e**r - 1 with r = ``by`` x - n ln 2, accurate also where it is small.

    n is the integer nearest to ``by`` x / ln 2, as the last bits of the first vector (see
    ``power_of_two``). low: a small number to add to x, which is not rounded before. by: 1 or -1.
    """
    form = FORMATS[v.dtype]
    whole = x if low is None else v.add(x, low)
    large = v.constant(magic(v))
    count = v.multiply_add(whole, v.constant(by * math.log2(math.e)), large)
    n = v.sub(count, large)
    r = v.multiply_add(n, v.constant(-by * form.ln2[0]), x)
    r = v.multiply_add(n, v.constant(-by * form.ln2[1]), r)
    r = r if low is None else v.add(r, low)
    return count, exp_of_rest(v, r, by)


def rest(v: Vectors, x: str, by: float = 1.0) -> tuple[str, str]:
    """n as in ``reduced``, and r = x - n ln 2 / ``by``, where n is small, or what becomes of r:
    a fused multiply-add leaves an error of n times a quarter of a unit in the last place.
    """
    form = FORMATS[v.dtype]
    large = v.constant(magic(v))
    count = v.multiply_add(x, v.constant(by * math.log2(math.e)), large)
    n = v.sub(count, large)
    if v.machine.fma:
        return count, v.multiply_add(n, v.constant(-math.log(2) / by), x)
    r = v.multiply_add(n, v.constant(-form.ln2[0] / by), x)
    return count, v.multiply_add(n, v.constant(-form.ln2[1] / by), r)


def exp_of_rest(v: Vectors, r: str, by: float = 1.0) -> str:
    """e**(``by`` r) - 1 for r up to ln 2 / 2; by: 1 or -1."""
    square = v.mul(r, r)
    series = [c * by**i for i, c in enumerate(FORMATS[v.dtype].exp)]
    return v.multiply_add(square, paired(v, r, square, series), r if by == 1 else v.neg(r))


def scaled(v: Vectors, count: str, p: str, more: int = 0) -> str:
    """2**(n + more) (1 + p), with the n and p of ``reduced``; rounded to a denormal only once."""
    # 2**n may overflow where the result does not: two factors, the first product exact.
    digits = FORMATS[v.dtype].digits
    bits = v.bits(count)
    half = on_bits(v, "and", on_bits(v, "shl", bits, digits - 1), -(1 << digits))
    rest = v.function.value(f"sub {v.integers} {on_bits(v, 'shl', bits, digits)}, {half}")
    first = number_of(v, on_bits(v, "add", half, pattern(v, 1.0)))
    second = number_of(v, on_bits(v, "add", rest, pattern(v, 2.0**more)))
    return v.mul(v.multiply_add(first, p, first), second)


def scaled_down(v: Vectors, count: str, p: str) -> str:
    """The same for n up to 0, with one factor less: 2**n cannot overflow, nor can 2**(n + raised)
    underflow.
    """
    raised = FORMATS[v.dtype].bias // 4  # n is at least -(bias + digits + 2)
    power = power_of_two(v, count, raised)
    return v.mul(v.multiply_add(power, p, power), v.constant(2.0**-raised))


def expm1(v: Vectors, x: str) -> str:
    """e**x - 1 = 2**n p + (2**n - 1), with the n and p of ``exp``."""
    form = FORMATS[v.dtype]
    low, high = form.expm1_range
    count, p = reduced(v, v.min(v.max(x, v.constant(low)), v.constant(high)))
    # Half of it, because 2**n may overflow where the result does not.
    power = power_of_two(v, count, -1)
    half = v.multiply_add(power, p, v.sub(power, v.constant(0.5)))
    # Halves lose a bit of denormals, and 0 - 0 the sign.
    tiny = v.compare("olt", v.abs(x), v.constant(2.0 ** -(form.digits + 2)))
    return v.select(tiny, x, v.add(half, half))


def magic(v: Vectors) -> float:
    """Added to a small number it leaves no room for a fraction: the last bits of the sum are the
    nearest integer.
    """
    return 1.5 * 2.0 ** FORMATS[v.dtype].digits


def power_of_two(v: Vectors, count: str, more: int = 0, factor: float = 1.0) -> str:
    """2**(n + more) times ``factor``, in the range of exponents; n: the last bits of ``count``,
    which is a sum with ``magic``. They are moved to those of the exponent.
    """
    bits = on_bits(v, "shl", v.bits(count), FORMATS[v.dtype].digits)
    return number_of(v, on_bits(v, "add", bits, pattern(v, factor * 2.0**more)))


def times_power(v: Vectors, x: str, count: str) -> str:
    """x 2**n for a positive x, where both are normal numbers; anything for NaN."""
    bits = on_bits(v, "shl", v.bits(count), FORMATS[v.dtype].digits)
    return number_of(v, v.function.value(f"add {v.integers} {v.bits(x)}, {bits}"))


def log(v: Vectors, x: str) -> str:
    """The natural logarithm: x = 2**e m with m near 1; log m = 2 atanh(f / (2 + f)), f = m - 1.

    -inf for zeros, NaN for negative numbers.
    """
    form = FORMATS[v.dtype]
    # Scale denormals up first.
    smallest = 2.0 ** (1 - form.bias)
    tiny = v.compare("olt", x, v.constant(smallest))
    lifted = v.select(tiny, v.mul(x, v.constant(2.0 ** (form.digits + 2))), x)
    e, m = split(v, lifted)
    e = v.select(tiny, v.sub(e, v.constant(form.digits + 2.0)), e)
    value = log_of(v, e, v.sub(m, v.constant(1.0)))
    # Infinity and NaN are their own logarithms.
    value = v.select(v.compare("olt", x, v.constant(math.inf)), value, x)
    value = v.select(v.compare("olt", x, v.zero), v.constant(math.nan), value)
    return v.select(v.compare("oeq", x, v.zero), v.constant(-math.inf), value)


def log1p(v: Vectors, x: str) -> str:
    """log(1 + x), as accurate near zero as elsewhere.

    -inf for -1, NaN below. Where 1 + x is between sqrt(1/2) and sqrt(2), x itself is the f of
    ``log``; elsewhere the sum loses at most half a unit of its last place.
    """
    e, m = split(v, v.add(x, v.constant(1.0)))
    f = v.select(v.compare("oeq", e, v.zero), x, v.sub(m, v.constant(1.0)))
    value = v.copysign(log_of(v, e, f), x)  # of -0 too
    value = v.select(v.compare("olt", x, v.constant(math.inf)), value, x)
    value = v.select(v.compare("olt", x, v.constant(-1.0)), v.constant(math.nan), value)
    return v.select(v.compare("oeq", x, v.constant(-1.0)), v.constant(-math.inf), value)


def log_of(v: Vectors, e: str, f: str) -> str:
    """The logarithm of 2**e (1 + f)."""
    form = FORMATS[v.dtype]
    s = v.div(f, v.add(f, v.constant(2.0)))
    z = v.mul(s, s)
    half_square = v.mul(v.mul(f, v.constant(0.5)), f)
    series = v.multiply_add(z, polynomial(v, z, form.log), half_square)
    # f - (f*f/2 - s (f*f/2 + series)); the small part of e ln 2 is added to the small terms first.
    small = v.multiply_add(s, series, v.mul(e, v.constant(form.ln2[1])))
    near = v.sub(f, v.sub(half_square, small))
    return v.multiply_add(e, v.constant(form.ln2[0]), near)


def split(v: Vectors, x: str) -> tuple[str, str]:
    """The exponent e, as a float, and m = x / 2**e between sqrt(1/2) and sqrt(2)."""
    form = FORMATS[v.dtype]
    root = pattern(v, math.sqrt(0.5))
    # With sqrt(1/2) as origin, the exponent changes where m would reach sqrt(2).
    raised = on_bits(v, "add", v.bits(x), (form.bias << form.digits) - root)
    mantissa = on_bits(v, "and", raised, (1 << form.digits) - 1)
    m = number_of(v, on_bits(v, "add", mantissa, root))
    # Convert the exponent: as the last bits of a number whose unit they count.
    unit = 2.0**form.digits
    exponent = on_bits(v, "or", on_bits(v, "lshr", raised, form.digits), pattern(v, unit))
    return v.sub(number_of(v, exponent), v.constant(unit + form.bias)), m


def tanh(v: Vectors, x: str) -> str:
    """(1 - e) / (1 + e) with e = e**(-2 |x|) = 2**n (1 + p), as accurate near zero as elsewhere."""
    form = FORMATS[v.dtype]
    size = v.min(v.abs(x), v.constant(form.one))
    count, r = rest(v, size, -2.0)
    square = v.mul(r, r)
    series = [c * 4 * (-2.0) ** i for i, c in enumerate(form.exp)]
    p = v.multiply_add(square, paired(v, r, square, series), v.mul(r, v.constant(-2.0)))
    power, one = power_of_two(v, count), v.constant(1.0)
    below = v.multiply_add(power, p, v.add(one, power))
    above = v.multiply_add(v.neg(power), p, v.sub(one, power))
    return signed(v, v.div(above, below), x)


def sigmoid(v: Vectors, x: str) -> str:
    """1 / (1 + e**-x), both terms times a number so small that the power never overflows."""
    form = FORMATS[v.dtype]
    low, _ = form.exp_range
    shift = form.sigmoid_shift
    # Far below 1 the power may be anything.
    capped = v.min(v.max(x, v.constant(low)), v.constant(2.0 * form.digits))
    count, p = reduced(v, capped, by=-1)
    power, one = power_of_two(v, count, -shift), v.constant(2.0**-shift)
    return v.div(one, v.multiply_add(power, v.add(p, v.constant(1.0)), one))


def erf(v: Vectors, x: str) -> str:
    """The error function: x + x q(x**2) for |x| below 1, else 1 - e**r(|x|), with the sign of x.

    Two regions as in W. J. Cody, "Rational Chebyshev Approximations for the Error Function",
    Math. Comp. 23, 1969; but with polynomials, and the logarithm of the complement, which avoids a
    division.
    """
    form, one = FORMATS[v.dtype], v.constant(1.0)
    square = v.mul(x, x)
    near = v.multiply_add(x, paired(v, square, v.mul(square, square), form.erf), x)
    size = v.abs(x)
    capped = v.min(size, v.constant(form.erf_one))
    logarithm = paired(v, capped, v.mul(capped, capped), form.erfc)
    count, r = rest(v, logarithm)
    power = power_of_two(v, count)
    far = v.multiply_add(v.neg(power), exp_of_rest(v, r), v.sub(one, power))
    return v.select(v.compare("oge", size, one), signed(v, far, x), near)


def gaussian(v: Vectors, x: str) -> str:
    """e**(-x**2 / 2), the density of the normal distribution but for its factor."""
    return scaled_down(v, *_square_exp(v, _capped(v, x)))


def _capped(v: Vectors, x: str) -> str:
    return v.min(v.abs(x), v.constant(FORMATS[v.dtype].normal_zero))


def _square_exp(v: Vectors, x: str) -> tuple[str, str]:
    """``reduced`` of -x**2 / 2, for 0 <= x <= ``normal_zero``.

    The square would be rounded, and the exponential magnifies that. A fused multiply-add subtracts
    n ln 2 from the exact one; elsewhere it is that of the leading half of the digits, which is
    exact, and the small rest.
    """
    form = FORMATS[v.dtype]
    if not v.machine.fma:
        head = number_of(v, on_bits(v, "and", v.bits(x), -(1 << (form.digits - form.head))))
        minus_half = v.constant(-0.5)
        square = v.mul(v.mul(head, minus_half), head)
        return reduced(v, square, v.mul(v.mul(v.sub(x, head), minus_half), v.add(x, head)))
    large = v.constant(magic(v))
    count = v.multiply_add(v.mul(x, v.constant(-0.5 * math.log2(math.e))), x, large)
    n = v.sub(count, large)
    # The first product is exact.
    r = v.multiply_add(v.mul(x, v.constant(-0.5)), x, v.mul(n, v.constant(-form.ln2[0])))
    return count, exp_of_rest(v, v.multiply_add(n, v.constant(-form.ln2[1]), r))


def ndtr(v: Vectors, x: str) -> str:
    """The normal distribution function, (1 + erf(x / sqrt 2)) / 2, as accurate where it is small.

    Below zero it is the density divided by |x| + q(|x|), above 1 minus that. q falls slowly from
    sqrt(2 / pi) to 1 / |x|: a quotient of two polynomials without negative coefficients, so that
    nothing cancels, and their errors reach the result only as far as q matters.
    """
    form = FORMATS[v.dtype]
    size = _capped(v, x)
    count, p = _square_exp(v, size)
    # Both sides are so large that only their quotient may be denormal: it is rounded once.
    shift = 2.0**form.tail_shift
    above, under = form.tail
    line = polynomial(v, size, [c * shift for c in above])
    if v.dtype == "float64":
        terms = size, v.constant(shift), v.div(line, polynomial(v, size, under))
        power = power_of_two(v, count, form.tail_shift, DENSITY)
    else:
        # Both sides times sqrt(2 pi) and the polynomial under the line, which has so few terms that
        # the result may have the errors of a product instead of a division.
        divisor = polynomial(v, size, [c * shift for c in under])
        terms = v.mul(size, v.constant(1 / DENSITY)), divisor, line
        power = times_power(v, divisor, count)
    density = v.multiply_add(power, p, power)
    below = v.div(density, v.multiply_add(*terms))
    return v.select(negative(v, x), below, v.sub(v.constant(1.0), below))


# Numbers as bits ----------------------------------------------------------------------------------


def number_of(v: Vectors, bits: str) -> str:
    return v.function.value(f"bitcast {v.integers} {bits} to {v.type}")


def on_bits(v: Vectors, operation: str, bits: str, number: int) -> str:
    """``operation`` of LLVM ("add", "shl", ...) with the same integer in all lanes."""
    every = ", ".join([f"i{8 * v.bytes} {number}"] * v.lanes)
    return v.function.value(f"{operation} {v.integers} {bits}, <{every}>")


def negative(v: Vectors, x: str) -> str:
    """The mask of the lanes whose sign is set, also that of zero."""
    return v.function.value(f"icmp slt {v.integers} {v.bits(x)}, zeroinitializer")


def signed(v: Vectors, size: str, x: str) -> str:
    """A number that is not negative, with the sign of x."""
    sign = on_bits(v, "and", v.bits(x), -(1 << (8 * v.bytes - 1)))
    return number_of(v, v.function.value(f"or {v.integers} {v.bits(size)}, {sign}"))


def pattern(v: Vectors, number: float) -> int:
    """The bits of a number in this dtype, as an integer."""
    kinds = ("<f", "<i") if v.dtype == "float32" else ("<d", "<q")
    found: int = struct.unpack(kinds[1], struct.pack(kinds[0], number))[0]
    return found
