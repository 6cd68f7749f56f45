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
from dataclasses import dataclass

from faltung.codegen.vectors import Vectors


@dataclass(frozen=True)
class Format:
    """Constants for one dtype.

    digits: stored bits of the significand. bias: of the exponent. ln2: in two parts, the first
    short enough that its product with any exponent is exact. exp_range: arguments beyond it give 0
    and infinity. expm1_range: the same for -1 and infinity. one, erf_one: arguments from which tanh
    and erf round to 1. normal_zero: one from which the tail of the normal distribution rounds to 0.
    head: stored bits of the significand of a number whose square is exact. exp, log, erf, erfc,
    ndtr, mills: coefficients, constant term first, as the functions use them.
    """

    digits: int
    bias: int
    ln2: tuple[float, float]
    exp_range: tuple[float, float]
    expm1_range: tuple[float, float]
    one: float
    erf_one: float
    normal_zero: float
    head: int
    exp: tuple[float, ...]
    log: tuple[float, ...]
    erf: tuple[float, ...]
    erfc: tuple[float, ...]
    ndtr: tuple[float, ...]
    mills: tuple[float, ...]


FORMATS = {
    "float32": Format(
        digits=23,
        bias=127,
        ln2=(float.fromhex("0x1.62e3p-1"), float.fromhex("0x1.2fefa2p-17")),
        exp_range=(-105.0, 90.0),
        expm1_range=(-20.0, 89.0),
        one=10.0,
        erf_one=4.0,
        normal_zero=14.5,
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
        ndtr=(
            *(0.398942292, -0.0664905161, 0.00997401401, -0.0011876747),
            *(0.000114682312, -8.05163563e-06),
        ),
        mills=(
            *(0.729083717, -0.509331882, 0.230016261, -0.0472653992),
            *(-0.0104409708, 0.00698295981, 0.00090258586, -0.0010183811),
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
        ndtr=(
            *(0.3989422804014327, -0.066490380066905372, 0.0099735570100337005),
            *(-0.0011873282154549662, 0.00011543468744547863, -9.4446555606696932e-06),
            *(6.6596751152542825e-07, -4.1223490808273727e-08, 2.2699243019959716e-09),
            *(-1.1042585805315638e-10, 4.0329318375892395e-12),
        ),
        mills=(
            *(0.72908369013337304, -0.50933198191748852, 0.23001771997459844),
            *(-0.047263025143122674, -0.010462867022810783, 0.00697262124764587),
            *(0.0010275922388269954, -0.001045828773299264, -0.0002565749133740219),
            *(0.0001543960592052992, 7.880741932194371e-05, -1.3254364558515668e-05),
            *(-2.0652122579110533e-05, -3.5048751368373214e-06, 3.4926571085651174e-06),
            *(2.32417813722733e-06, 3.0088579242787999e-07, -9.2232227477047912e-07),
            *(-4.3410254025182804e-07, 4.6940920306549533e-07, -8.8239267831477878e-08),
        ),
    ),
}
# The coefficients of the ratio of Mills are those of a polynomial of (x - MILLS) / (x + MILLS).
MILLS = 3.0


def polynomial(v: Vectors, x: str, coefficients: Sequence[float]) -> str:
    """``coefficients[0] + coefficients[1] * x + ...``, by Horner's rule."""
    *rest, last = coefficients
    value = v.constant(last)
    for coefficient in reversed(rest):
        value = v.multiply_add(value, x, v.constant(coefficient))
    return value


def exp(v: Vectors, x: str) -> str:
    """e**x = 2**n (1 + p), where n is the integer nearest to x / ln 2."""
    low, high = FORMATS[v.dtype].exp_range
    # The argument comes first, so that NaN is kept.
    n, p = reduced(v, v.min(v.max(x, v.constant(low)), v.constant(high)))
    return scaled(v, n, p)


def exp_down(v: Vectors, x: str) -> str:
    """``exp`` for x up to 0, with fewer instructions."""
    low, _ = FORMATS[v.dtype].exp_range
    return scaled_down(v, *reduced(v, v.max(x, v.constant(low))))


def reduced(v: Vectors, x: str, low: str | None = None) -> tuple[str, str]:
    """The integer n, and p = e**(x - n ln 2) - 1, accurate also where it is small; ``low``: a small
    number to add to x, which is not rounded before.
    """
    form = FORMATS[v.dtype]
    whole = x if low is None else v.add(x, low)
    large = v.constant(magic(v))
    n = v.sub(v.multiply_add(whole, v.constant(math.log2(math.e)), large), large)
    r = v.multiply_add(n, v.constant(-form.ln2[0]), x)
    r = v.multiply_add(n, v.constant(-form.ln2[1]), r)
    r = r if low is None else v.add(r, low)
    return n, v.multiply_add(v.mul(r, r), polynomial(v, r, form.exp), r)


def scaled(v: Vectors, n: str, p: str, factor: str | None = None) -> str:
    """2**n (1 + p), times ``factor``; rounded to a denormal only once."""
    # 2**n may overflow where the result does not: two factors, the first product exact.
    half = rounded(v, v.mul(n, v.constant(0.5)))
    value = v.multiply_add(factor, p, factor) if factor else v.add(p, v.constant(1.0))
    first = v.mul(value, power_of_two(v, half))
    return v.mul(first, power_of_two(v, v.sub(n, half)))


def scaled_down(v: Vectors, n: str, p: str, factor: str | None = None) -> str:
    """The same for n up to 0, with one factor less: 2**n cannot overflow, nor can 2**(n + raised)
    underflow.
    """
    raised = FORMATS[v.dtype].bias // 4  # n is at least -(bias + digits + 2)
    value = v.multiply_add(factor, p, factor) if factor else v.add(p, v.constant(1.0))
    first = v.mul(value, power_of_two(v, n, raised))
    return v.mul(first, v.constant(2.0**-raised))


def expm1(v: Vectors, x: str) -> str:
    """e**x - 1 = 2**n p + (2**n - 1), with the n and p of ``exp``."""
    form = FORMATS[v.dtype]
    low, high = form.expm1_range
    n, p = reduced(v, v.min(v.max(x, v.constant(low)), v.constant(high)))
    # Half of it, because 2**n may overflow where the result does not.
    power = power_of_two(v, v.sub(n, v.constant(1.0)))
    half = v.multiply_add(power, p, v.sub(power, v.constant(0.5)))
    # Halves lose a bit of denormals, and 0 - 0 the sign.
    tiny = v.compare("olt", v.abs(x), v.constant(2.0 ** -(form.digits + 2)))
    return v.select(tiny, x, v.add(half, half))


def magic(v: Vectors) -> float:
    """Added to a small number it leaves no room for a fraction: the last bits of the sum are the
    nearest integer.
    """
    return 1.5 * 2.0 ** FORMATS[v.dtype].digits


def rounded(v: Vectors, x: str) -> str:
    """The nearest integer, for numbers far below ``magic``."""
    large = v.constant(magic(v))
    return v.sub(v.add(x, large), large)


def power_of_two(v: Vectors, n: str, more: int = 0) -> str:
    """2**(n + more) for integers in the range of exponents: their bits, moved to those of the
    exponent.
    """
    form = FORMATS[v.dtype]
    bits = v.bits(v.add(n, v.constant(magic(v) + form.bias + more)))
    return number_of(v, on_bits(v, "shl", bits, form.digits))


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
    """t / (t + 2) with t = e**(2 |x|) - 1, as accurate near zero as elsewhere."""
    size = v.min(v.abs(x), v.constant(FORMATS[v.dtype].one))
    n, p = reduced(v, v.add(size, size))
    power = power_of_two(v, n)
    t = v.multiply_add(power, p, v.sub(power, v.constant(1.0)))
    return v.copysign(v.div(t, v.add(t, v.constant(2.0))), x)


def sigmoid(v: Vectors, x: str) -> str:
    """1 / (1 + e**-x), computed from e**-|x|, which never overflows."""
    e = exp_down(v, v.neg(v.abs(x)))
    one = v.constant(1.0)
    return v.div(v.select(v.compare("oge", x, v.zero), one, e), v.add(one, e))


def erf(v: Vectors, x: str) -> str:
    """The error function: x + x q(x**2) for |x| below 1, else 1 - e**r(|x|), with the sign of x.

    Two regions as in W. J. Cody, "Rational Chebyshev Approximations for the Error Function",
    Math. Comp. 23, 1969; but with polynomials, and the logarithm of the complement, which avoids a
    division.
    """
    form = FORMATS[v.dtype]
    near = v.multiply_add(x, polynomial(v, v.mul(x, x), form.erf), x)
    size = v.abs(x)
    capped = v.min(size, v.constant(form.erf_one))
    n, p = reduced(v, polynomial(v, capped, form.erfc))
    power = power_of_two(v, n)
    far = v.sub(v.constant(1.0), v.multiply_add(power, p, power))
    return v.select(v.compare("oge", size, v.constant(1.0)), v.copysign(far, x), near)


def gaussian(v: Vectors, x: str) -> str:
    """e**(-x**2 / 2), the density of the normal distribution but for its factor."""
    return _gaussian(v, v.min(v.abs(x), v.constant(FORMATS[v.dtype].normal_zero)))


def _gaussian(v: Vectors, x: str, factor: str | None = None, more: str | None = None) -> str:
    """The same for 0 <= x <= ``normal_zero``, times ``factor`` and e**``more``.

    The square would be rounded, and the exponential magnifies that: so it is that of the leading
    half of the digits, which is exact, and the small rest.
    """
    form = FORMATS[v.dtype]
    head = number_of(v, on_bits(v, "and", v.bits(x), -(1 << (form.digits - form.head))))
    minus_half = v.constant(-0.5)
    square = v.mul(v.mul(head, minus_half), head)
    rest = v.mul(v.mul(v.sub(x, head), minus_half), v.add(x, head))
    rest = rest if more is None else v.add(rest, more)
    return scaled_down(v, *reduced(v, square, rest), factor)


def ndtr(v: Vectors, x: str) -> str:
    """The normal distribution function, (1 + erf(x / sqrt 2)) / 2, as accurate where it is small.

    Near zero it is 1/2 + x q(x**2). Farther below it is the density times the ratio of Mills, which
    is smooth: a polynomial of (|x| - c) / (|x| + c), as in M. M. Shepherd and J. G. Laframboise,
    "Chebyshev Approximation of (1 + 2x) exp(x**2) erfc x in 0 <= x < inf", Math. Comp. 36, 1981.
    """
    form = FORMATS[v.dtype]
    one = v.constant(1.0)
    near = v.multiply_add(x, polynomial(v, v.mul(x, x), form.ndtr), v.constant(0.5))
    size = v.abs(x)
    capped = v.min(size, v.constant(form.normal_zero))
    total = v.add(capped, v.constant(MILLS))
    t = v.div(one, total)
    place = v.multiply_add(t, v.constant(-2 * MILLS), one)
    ratio = v.mul(t, polynomial(v, place, form.mills))
    # What the total lost to rounding; the logarithm of the ratio falls by about 2 t.
    lost = v.sub(capped, v.sub(total, v.constant(MILLS)))
    below = _gaussian(v, capped, ratio, v.mul(v.mul(lost, v.constant(-2.0)), t))
    far = v.select(v.compare("ogt", x, v.zero), v.sub(one, below), below)
    return v.select(v.compare("oge", size, one), far, near)


# Numbers as bits ----------------------------------------------------------------------------------


def number_of(v: Vectors, bits: str) -> str:
    return v.function.value(f"bitcast {v.integers} {bits} to {v.type}")


def on_bits(v: Vectors, operation: str, bits: str, number: int) -> str:
    """``operation`` of LLVM ("add", "shl", ...) with the same integer in all lanes."""
    every = ", ".join([f"i{8 * v.bytes} {number}"] * v.lanes)
    return v.function.value(f"{operation} {v.integers} {bits}, <{every}>")


def pattern(v: Vectors, number: float) -> int:
    """The bits of a number in this dtype, as an integer."""
    kinds = ("<f", "<i") if v.dtype == "float32" else ("<d", "<q")
    found: int = struct.unpack(kinds[1], struct.pack(kinds[0], number))[0]
    return found
