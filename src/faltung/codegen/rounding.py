"""Whole numbers near a vector's numbers, and remainders, exactly.

Rounding is an instruction where processors have fused multiply-adds; elsewhere a large number is
added and taken away, which leaves no room for a fraction.
"""

from faltung.codegen.math import FORMATS, number_of, on_bits
from faltung.codegen.vectors import Vectors


def nearest(v: Vectors, x: str) -> str:
    """The nearest whole number; of two, the even one."""
    if v.machine.fma:
        return v.intrinsic("roundeven", x)
    limit = v.constant(2.0 ** FORMATS[v.dtype].digits)
    size = v.abs(x)
    whole = v.copysign(v.sub(v.add(size, limit), limit), x)
    return v.select(v.compare("olt", size, limit), whole, x)  # the others are whole, or NaN


def floor(v: Vectors, x: str) -> str:
    """The next whole number below."""
    if v.machine.fma:
        return v.intrinsic("floor", x)
    whole = nearest(v, x)
    above = v.compare("ogt", whole, x)
    return v.copysign(v.select(above, v.sub(whole, v.constant(1.0)), whole), x)


def ceil(v: Vectors, x: str) -> str:
    """The next whole number above."""
    return v.intrinsic("ceil", x) if v.machine.fma else v.neg(floor(v, v.neg(x)))


def trunc(v: Vectors, x: str) -> str:
    """Without the fraction."""
    if v.machine.fma:
        return v.intrinsic("trunc", x)
    return v.copysign(floor(v, v.abs(x)), x)


def snap(v: Vectors, x: str, low: str, high: str) -> str:
    """The nearest whole number within bounds, without a negative zero; NaN stays NaN."""
    return v.add(v.min(v.max(nearest(v, x), low), high), v.zero)


def sign(v: Vectors, x: str) -> str:
    """1 or -1; zeros and NaN as they are."""
    one = v.copysign(v.constant(1.0), x)
    return v.select(v.compare("one", x, v.zero), one, x)


def shorter(v: Vectors, x: str, digits: int, least: int, most: int) -> str:
    """Rounded to a format: its stored digits, and its exponents; to the nearest number, of two to
    the even one, and to infinity beyond the largest.
    """
    f, form = v.function, FORMATS[v.dtype]
    gone = form.digits - digits
    if not gone:
        return x
    bits = v.bits(x)
    even = on_bits(v, "and", on_bits(v, "lshr", bits, gone), 1)
    raised = on_bits(v, "add", bits, (1 << (gone - 1)) - 1)
    raised = f.value(f"add {v.integers} {raised}, {even}")
    made = number_of(v, on_bits(v, "and", raised, -(1 << gone)))
    # Below the smallest normal number all have the same unit.
    size = v.abs(x)
    large = v.constant(1.5 * 2.0 ** (least - digits + form.digits))
    fixed = v.copysign(v.sub(v.add(size, large), large), x)
    made = v.select(v.compare("olt", size, v.constant(2.0**least)), fixed, made)
    largest = v.constant((2 - 2.0**-digits) * 2.0**most)
    infinite = v.copysign(v.constant(float("inf")), x)
    made = v.select(v.compare("ogt", v.abs(made), largest), infinite, made)
    return v.select(v.compare("uno", x, x), x, made)


# Exact products and remainders --------------------------------------------------------------------


def two_product(v: Vectors, a: str, b: str) -> tuple[str, str]:
    """The product, and what its rounding lost (T. J. Dekker, "A Floating-Point Technique for
    Extending the Available Precision", Numerische Mathematik 18, 1971; or one FMA).
    """
    product = v.mul(a, b)
    if v.machine.fma:
        return product, v.multiply_add(a, b, v.neg(product))
    (a1, a2), (b1, b2) = _halves(v, a), _halves(v, b)
    rest = v.sub(v.mul(a1, b1), product)
    rest = v.add(v.add(rest, v.mul(a1, b2)), v.mul(a2, b1))
    return product, v.add(rest, v.mul(a2, b2))


def _halves(v: Vectors, x: str) -> tuple[str, str]:
    """Two numbers of half as many digits whose sum is x."""
    lost = (FORMATS[v.dtype].digits + 2) // 2
    raised = on_bits(v, "add", v.bits(x), 1 << (lost - 1))  # the nearest one: the rest has a sign
    head = number_of(v, on_bits(v, "and", raised, -(1 << lost)))
    return head, v.sub(x, head)


def fmod(v: Vectors, x: str, y: str) -> str:
    """x - y trunc(x / y), exact, with the sign of x: as in C.

    A quotient with too many digits is taken in steps: multiples of y times 2**(i * STEP) are
    subtracted for i from the top down to 0. Each leaves less than it takes, so nothing is rounded.
    """
    f, form = v.function, FORMATS[v.dtype]
    step = form.digits - 2
    a, b = v.abs(x), v.abs(y)
    proper = f.value(
        f"and {v.flags} {v.compare('olt', a, v.constant(float('inf')))}, "
        f"{v.compare('ogt', b, v.zero)}"
    )
    top = f.value(f"sdiv i64 {_most(v, proper, _exponents(v, a), _exponents(v, b))}, {step}")
    with f.loop(0, f.add(top, 1), [(v.type, a)]) as i:
        (rest,) = i.values
        moved = _times_power(v, b, f.mul(f.sub(top, i.index), step))
        inside = v.compare("oge", rest, moved)
        quotient = trunc(v, v.select(inside, v.div(rest, moved), v.zero))
        high, low = two_product(v, quotient, moved)
        left = v.sub(v.sub(rest, high), low)
        # The quotient was rounded, perhaps up to the next whole number.
        left = v.select(v.compare("olt", left, v.zero), v.add(left, moved), left)
        i.carry([v.select(inside, left, rest)])
    (rest,) = i.results
    made = v.select(proper, v.copysign(rest, x), v.constant(float("nan")))
    return v.select(v.compare("uno", b, b), y, made)


def _exponents(v: Vectors, size: str) -> str:
    """Exponents of numbers without sign, or less for denormal ones, in units of one."""
    form = FORMATS[v.dtype]
    field = on_bits(v, "lshr", v.bits(size), form.digits)
    f, kind = v.function, v.integers
    tiny = f.value(f"icmp eq {kind} {field}, zeroinitializer")
    return f.value(f"select {v.flags} {tiny}, {kind} {v.splat(-form.digits)}, {kind} {field}")


def _most(v: Vectors, proper: str, above: str, below: str) -> str:
    """The largest difference of two vectors of integers, where ``proper``; not less than 0."""
    f, kind = v.function, v.integers
    away = f.value(f"sub {kind} {above}, {below}")
    away = f.value(f"select {v.flags} {proper}, {kind} {away}, {kind} zeroinitializer")
    name = f"llvm.vector.reduce.smax.v{v.lanes}{v.integer}"
    callee = f.module.declare(name, v.integer, kind)
    most = f.value(f"call {v.integer} {callee}({kind} {away})")
    wide = most if v.integer == "i64" else f.value(f"sext {v.integer} {most} to i64")
    return f.maximum(wide, 0)


def _times_power(v: Vectors, x: str, exponent: str) -> str:
    """x times two to a power that is not negative, in factors that are numbers; infinite beyond."""
    f, form = v.function, FORMATS[v.dtype]
    for last in (False, False, True):
        part = exponent if last else f.minimum(exponent, form.bias - 1)
        bits = f.value(f"shl i64 {f.add(part, form.bias)}, {form.digits}")
        x = v.mul(x, _spread(v, bits))
        exponent = f.sub(exponent, part)
    return x


def _spread(v: Vectors, bits: str) -> str:
    """A number in every lane, from its bits."""
    f = v.function
    if v.integer != "i64":
        bits = f.value(f"trunc i64 {bits} to {v.integer}")
    return v.spread(f.value(f"bitcast {v.integer} {bits} to {v.element}"))


def mod(v: Vectors, x: str, y: str) -> str:
    """x - y floor(x / y), with the sign of y: as in Python and NumPy."""
    rest = fmod(v, x, y)
    other = v.compare("olt", v.copysign(v.constant(1.0), rest), v.zero)
    negative = v.compare("olt", y, v.zero)
    f = v.function
    differs = f.value(f"xor {v.flags} {other}, {negative}")
    moved = v.select(differs, v.add(rest, y), rest)
    return v.select(v.compare("oeq", rest, v.zero), v.copysign(v.zero, y), moved)
