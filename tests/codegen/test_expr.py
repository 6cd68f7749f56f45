"""Formulas, run: each operation to the last bit, formulas on whole numbers, random numbers."""

from dataclasses import dataclass

import numpy as np
import pytest
from grid import MACHINES, grid, rows
from hypothesis import given
from hypothesis import strategies as st

from faltung.codegen.expr import emit, mixed
from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.geometry.expr import (
    Expr,
    at_least,
    binary,
    constant,
    derivative,
    equal,
    greater,
    is_nan,
    logic,
    maximum,
    minimum,
    operand,
    random,
    select,
    unary,
)
from faltung.jit.compile import kernel
from faltung.jit.target import current
from faltung.machine.table import AVX512, NEON, SSE, Machine
from faltung.reference.expr import evaluate

A, B, C = operand(0), operand(1), operand(2)
ODD = [0.0, -0.0, 1.0, -1.5, 3e-39, 1e-45, 3e38, np.inf, -np.inf, np.nan]


@dataclass(frozen=True)
class Formula:
    """out[i] = expr(rows[0][i], rows[1][i], ...); operand `key`, if any, is the word `begin`."""

    dtype: str
    expr: Expr
    rows: int
    key: int = -1

    @property
    def symbol(self) -> str:
        return "formula"

    def emit(self, machine: Machine) -> str:
        module = Module()
        arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
        f = module.function(self.symbol, arguments, public=True)
        v = Vectors(f, machine, self.dtype)
        rows = [f.pointer("%words", i) for i in range(self.rows)]
        out, start = f.pointer("%words", self.rows), f.word("%words", self.rows + 1)
        key = mixed(f, "%begin")
        with f.loop(0, "%end", step=v.lanes) as i:
            got = [v.load(v.at(row, i.index)) for row in rows]
            if self.key >= 0:
                got[self.key] = key
            made = emit(v, self.expr, got, f.add(start, i.index))
            v.store(made, v.at(out, i.index))
        return str(module)


def run(expr: Expr, rows: list[np.ndarray], key: int = -1, bits: int = 0, start: int = 0):
    """The formula over rows of one length; `bits` for operand `key`, numbers from `start`."""
    length, dtype = len(rows[0]), rows[0].dtype
    room = -(-length // 16) * 16
    rows = [np.concatenate([row, np.ones(room - length, dtype)]) for row in rows]
    out = np.full(room, -7, dtype)
    words = np.array([*(row.ctypes.data for row in [*rows, out]), start], np.int64)
    kernel(Formula(dtype.name, expr, len(rows), key))(words.ctypes.data, bits, length)
    return out[:length]


def same(got: np.ndarray, want: np.ndarray) -> None:
    """Bit for bit, but any NaN is as good as another."""
    assert got.dtype == want.dtype
    both = np.isnan(got) & np.isnan(want)
    kind = f"i{got.itemsize}"
    np.testing.assert_array_equal(
        np.where(both, 0, got.view(kind)), np.where(both, 0, want.view(kind))
    )


def pairs(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    odd = np.array(ODD, dtype)
    a, b = (x.ravel() for x in np.meshgrid(odd, odd))
    more = (rng.normal(size=(2, 500)) * 2.0 ** rng.integers(-20, 20, (2, 500))).astype(dtype)
    return np.concatenate([a, more[0]]), np.concatenate([b, more[1]])


@grid(
    expr_want=rows(
        "expr want",
        [
            (A + B, np.add),
            (A - B, np.subtract),
            (A * B, np.multiply),
            (A / B, np.divide),
            (maximum(A, B), lambda a, b: np.where(a < b, b, a)),
            (minimum(A, B), lambda a, b: np.where(a > b, b, a)),
            (-A, lambda a, b: -a),
            (unary("abs", A), lambda a, b: abs(a)),
            (unary("sqrt", A), lambda a, b: np.sqrt(a)),
            (select(greater(A, B), A, 2), lambda a, b: np.where(a > b, a, a.dtype.type(2))),
            (select(at_least(A, B), 0.1, B), lambda a, b: np.where(a >= b, a.dtype.type(0.1), b)),
            (select(equal(A, B), A, B), lambda a, b: np.where(a == b, a, b)),
            (select(is_nan(A), B, A), lambda a, b: np.where(np.isnan(a), b, a)),
            (unary("floor", A), lambda a, b: np.floor(a)),
            (unary("ceil", A), lambda a, b: np.ceil(a)),
            (unary("round", A), lambda a, b: np.rint(a)),
            (unary("trunc", A), lambda a, b: np.trunc(a)),
            (unary("sign", A), lambda a, b: np.where(a == 0, a, np.sign(a))),
            (binary("fmod", A, B), np.fmod),
            (Expr("snap", (A, constant(-3), constant(5))), lambda a, b: np.rint(a).clip(-3, 5) + 0),
            (binary("mod", A, B), np.mod),
        ],
    ),
    dtype=["float32", "float64"],
    machine=MACHINES,
    every=4,
)
def test_operations_to_the_last_bit(expr: Expr, want, dtype: str, machine: Machine) -> None:
    a, b = pairs(dtype)
    with np.errstate(all="ignore"):
        same(run(expr, [a, b]), want(a, b))


@grid(dtype=["float32", "float64"], machine=MACHINES, every=4)
def test_logic(dtype: str, machine: Machine) -> None:
    """As NumPy says, also of NaN."""
    a, b = pairs(dtype)
    above, least = greater(A, B), at_least(A, 1)
    for op, want in (("and", np.logical_and), ("or", np.logical_or), ("xor", np.logical_xor)):
        same(run(select(logic(op, above, least), 1, 2), [a, b]), flags(want(a > b, a >= 1), dtype))
    same(run(select(logic("not", above), 1, 2), [a, b]), flags(~(a > b), dtype))


def flags(found: np.ndarray, dtype: str) -> np.ndarray:
    return np.where(found, 1, 2).astype(dtype)


@grid(
    name=["as_float16", "as_bfloat16", "as_float32"],
    dtype=["float32", "float64"],
    machine=MACHINES,
    every=4,
)
def test_shorter_formats(name: str, dtype: str, machine: Machine) -> None:
    """As the conversions of NumPy and ml_dtypes, at every exponent, at halves, and at the ends."""
    short = name.removeprefix("as_")
    if short == "bfloat16":
        short = pytest.importorskip("ml_dtypes").bfloat16
    rng = np.random.default_rng(8)
    a, _ = pairs(dtype)
    exponents = rng.uniform(-160 if dtype == "float64" else -149, 127, 3000)
    whole = rng.integers(-4096, 4096, 3000) * 2.0 ** rng.integers(-40, 4, 3000)
    given = np.concatenate([a, 2.0**exponents * rng.choice([-1, 1], 3000), whole, [65519, 65520]])
    given = given.astype(dtype)
    if short is not np.float16 and dtype == "float64":
        given = given[np.abs(given) != 65520]
    with np.errstate(all="ignore"):
        narrow = given.astype(np.float32) if "bfloat16" in name else given
        exact = narrow.astype(dtype) == given  # ml_dtypes would round twice
        want = narrow.astype(short).astype(dtype)
        got = run(unary(name, A), [given])
        keep = exact | np.isnan(given)
        same(got[keep], want[keep])
        same(got, evaluate(unary(name, A), [given]).astype(dtype))


@grid(dtype=["float32", "float64"], machine=MACHINES, every=2)
def test_remainders_of_all_exponents(dtype: str, machine: Machine) -> None:
    """Quotients of up to two thousand binary digits, and denormal numbers: exact."""
    rng = np.random.default_rng(3)
    kind = np.dtype(f"u{np.dtype(dtype).itemsize}")
    bits = rng.integers(0, np.iinfo(kind).max, (2, 2000), dtype=kind, endpoint=True)
    a, b = bits.view(dtype)
    near = (rng.integers(-1000, 1000, (2, 500)) / 8).astype(dtype)
    a, b = np.concatenate([a, near[0], a[:100]]), np.concatenate([b, near[1], near[0][:100]])
    with np.errstate(all="ignore"):
        same(run(binary("fmod", A, B), [a, b]), np.fmod(a, b))
        same(run(binary("mod", A, B), [a, b]), np.mod(a, b))


BASES = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, -1.5, 1e-45, 3e38, np.inf, -np.inf, np.nan]
EXPONENTS = [*BASES, 3.0, -3.0, 4.0, -4.0, 16777215.0, 1e30, -1e30]


@grid(dtype=["float32", "float64"], machine=MACHINES, every=4)
def test_special_cases_of_powers(dtype: str, machine: Machine) -> None:
    """Those of IEEE 754, as in C: zeros of both signs, infinities, whole and odd exponents."""
    a, b = (x.ravel() for x in np.meshgrid(np.array(BASES, dtype), np.array(EXPONENTS, dtype)))
    with np.errstate(all="ignore"):
        want = np.power(a.astype(np.float64), b.astype(np.float64)).astype(dtype)
    got = run(binary("pow", A, B), [a, b])
    exact = ~np.isfinite(want) | (want == 0) | np.isin(np.abs(a), [0, 1])
    same(got[exact], want[exact])
    np.testing.assert_allclose(got, want, rtol=2 * np.finfo(dtype).eps)


@grid(dtype=["float32", "float64"], machine=MACHINES, every=2)
def test_powers_are_accurate(dtype: str, machine: Machine) -> None:
    """Also where the result is nearly too large or too small, and near 1 to a large power."""
    mpmath = pytest.importorskip("mpmath")
    rng = np.random.default_rng(4)
    info = np.finfo(dtype)
    a = (2.0 ** rng.uniform(-120, 120, 400)).astype(dtype)
    most = -np.log(float(info.smallest_normal)) / np.abs(np.log(a.astype(np.float64)))
    b = (most * rng.uniform(-1, 1, 400)).astype(dtype)
    near = (1 + rng.uniform(-1, 1, 200) * 2.0 ** rng.uniform(-20, -2, 200)).astype(dtype)
    far = (rng.uniform(-1, 1, 200) * 50 / np.log(near.astype(np.float64))).astype(dtype)
    small = (rng.uniform(0, 1, 50) * float(info.smallest_normal)).astype(dtype)
    a, b = np.concatenate([a, near, small]), np.concatenate([b, far, np.full(50, -0.75, dtype)])
    got = run(binary("pow", A, B), [a, b])
    with mpmath.workdps(50):
        wide = [tuple(map(mpmath.mpf, pair)) for pair in zip(a.tolist(), b.tolist(), strict=True)]
        want = [mpmath.power(*pair) for pair in wide]
        made = zip(map(mpmath.mpf, got.tolist()), want, strict=True)
        off = [abs(y / w - 1) for y, w in made if mpmath.isfinite(y)]
    assert len(off) > 600
    assert max(off) <= (0.51 if dtype == "float32" else 1.5) * float(info.eps)


@grid(
    name=["exp", "expm1", "log", "log1p", "tanh", "sigmoid", "erf", "gaussian", "ndtr"],
    dtype=["float32", "float64"],
    machine=MACHINES,
    every=4,
)
def test_functions(name: str, dtype: str, machine: Machine) -> None:
    pytest.importorskip("faltung.codegen.math")
    a = np.array([0, 0.5, 1, 2.5, 7, np.inf, np.nan], dtype)
    want = evaluate(unary(name, A), [a])
    np.testing.assert_allclose(run(unary(name, A), [a]), want, rtol=4 * np.finfo(dtype).eps)


def test_relu_hands_on_a_nan(machine: Machine) -> None:
    a = np.array([np.nan, -1, 2, -np.inf, np.inf], np.float32)
    same(run(maximum(A, 0), [a]), np.array([np.nan, 0, 2, 0, np.inf], np.float32))


@grid(
    expr=[A * B + C, C + A * B, A * B - C, C - A * B, A * B + B * C],
    dtype=["float32", "float64"],
    machine=MACHINES,
    every=4,
)
def test_a_product_in_a_sum_is_rounded_once(expr: Expr, dtype: str, machine: Machine) -> None:
    half = np.finfo(dtype).nmant // 2 + 1
    a = np.full(5, 1 + 2.0**-half, dtype)
    c = np.full(5, -1 if expr in (A * B + C, C + A * B) else 1, dtype)
    once = {
        repr(A * B + C): 2 * 2.0**-half + 4.0**-half,
        repr(C + A * B): 2 * 2.0**-half + 4.0**-half,
        repr(A * B - C): 2 * 2.0**-half + 4.0**-half,
        repr(C - A * B): -(2 * 2.0**-half + 4.0**-half),
        repr(A * B + B * C): 2 + 3 * 2.0**-half,  # two rounded terms: exact to here
    }[repr(expr)]
    got = run(expr, [a, a, c])
    if machine.fma:
        same(got, np.full(5, once, dtype))
    else:
        twice = evaluate(expr, [a, a, c]).astype(dtype)
        np.testing.assert_allclose(got, twice, rtol=1e-3)


# A formula of operations that are exact on small whole numbers.
EXACT = st.recursive(
    st.sampled_from([A, B, C, constant(2), constant(-1)]),
    lambda inner: st.one_of(
        st.builds(lambda x: -x, inner),
        st.builds(lambda x: unary("abs", x), inner),
        st.builds(lambda x, y: x + y, inner, inner),
        st.builds(lambda x, y: x - y, inner, inner),
        st.builds(lambda x, y: minimum(x, 9) * maximum(minimum(y, 5), -5), inner, inner),
        st.builds(lambda x, y, z: select(greater(x, y), x, z), inner, inner, inner),
        st.builds(lambda x, y, z: select(at_least(x, y), y, z), inner, inner, inner),
    ),
    max_leaves=12,
)


@given(EXACT)
def test_any_formula_on_whole_numbers(expr: Expr) -> None:
    rows = list(np.random.default_rng(1).integers(-6, 7, (3, 64)).astype(np.float64))
    # Negative zeros are none here: + 0 takes away the sign.
    np.testing.assert_array_equal(run(expr, rows) + 0, evaluate(expr, rows) + 0)


def test_parts_are_written_once() -> None:
    product = A * B
    expr = (product + 1) / (product + 1) + (A * B - 1)
    text = Formula("float32", expr, 2).emit(current())
    assert text.count("fdiv") == 1
    assert text.count("llvm.fma") + text.count("fmul") <= 5
    # A formula that doubles twenty times is a million long written out.
    for _ in range(40):
        expr = expr + expr
    assert len(Formula("float32", derivative(A * A, 0), 1).emit(current())) < 4000
    assert Formula("float32", expr, 2).emit(current()).count("fadd") >= 40


def test_compiles_where_it_cannot_run() -> None:
    from faltung.jit.compile import object_code

    expr = select(greater(random(B), 0.5), A * 2 - maximum(A, 0), unary("sqrt", A))
    whole = select(equal(A, B), unary("floor", A), binary("mod", A, unary("round", B)))
    for dtype in ("float32", "float64"):
        assert object_code(Formula(dtype, expr, 2, key=1), NEON)
        for machine in (NEON, AVX512, SSE):
            code = object_code(Formula(dtype, whole + binary("pow", A, B), 2), machine)
            for callee in (b"floor", b"fmod", b"powf", b"roundeven", b"nearbyint", b"fma\0"):
                assert callee not in code


def test_what_has_no_number() -> None:
    with pytest.raises(ValueError, match="condition is not a number"):
        Formula("float32", greater(A, B), 2).emit(current())
    with pytest.raises(ValueError, match="needs the index"):
        emit(Vectors(Module().function("f", []), current(), "float32"), random(A), ["%key"])


# Random numbers ---------------------------------------------------------------------------------


@grid(
    start=[0, 5, 2**32 - 37, 2**40 + 2**32 - 3],
    dtype=["float32", "float64"],
    machine=MACHINES,
    every=4,
)
def test_random_is_the_reference_bit_for_bit(start: int, dtype: str, machine: Machine) -> None:
    for key in (0, 1, -1, 2**63 - 1, 1234567890123):
        got = run(random(B), [np.zeros(200, dtype)] * 2, 1, key, start)
        numbers = np.arange(start, start + 200)
        same(got, evaluate(random(A), [np.int64(key)], numbers).astype(dtype).reshape(-1))
        assert (got >= 0).all()
        assert (got < 1).all()
