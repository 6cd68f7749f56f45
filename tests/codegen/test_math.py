"""Elementary functions of vectors against NumPy in a wider format, over all numbers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from grid import MACHINES, grid

from faltung.codegen.expr import _WRITE
from faltung.codegen.ir import Module
from faltung.codegen.vectors import Vectors
from faltung.jit.compile import kernel, object_code
from faltung.machine.table import AVX512, NEON, Machine

FUNCTIONS = (
    *("exp", "expm1", "log", "log1p", "tanh", "sigmoid", "erf", "gaussian", "ndtr"),
    *("sin", "cos", "tan", "asin", "acos", "atan"),
    *("sinh", "cosh", "asinh", "acosh", "atanh"),
)
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
# Units of the last place.
LIMIT = {
    **{"exp": 1.5, "expm1": 3.0, "log": 1.0, "log1p": 2.5, "tanh": 3.0, "sigmoid": 2.5},
    # The complement of erf in the C library may be off by one itself.
    **{"erf": 1.5, "gaussian": 1.5, "ndtr": 5.0},
    **{"sin": 2.0, "cos": 2.0, "tan": 3.5, "asin": 2.5, "acos": 1.5, "atan": 2.0},
    **{"sinh": 2.0, "cosh": 2.0, "asinh": 3.0, "acosh": 3.0, "atanh": 3.0},
}


@dataclass(frozen=True)
class Elementwise:
    """One function over an array whose length is a multiple of the lanes."""

    name: str
    dtype: str

    @property
    def symbol(self) -> str:
        return f"apply_{self.name}"

    def emit(self, machine: Machine) -> str:
        module = Module()
        arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
        f = module.function(self.symbol, arguments, public=True)
        v = Vectors(f, machine, self.dtype)
        src, dst = f.pointer("%words", 0), f.pointer("%words", 1)
        with f.loop("%begin", "%end", step=v.lanes) as i:
            value = _WRITE[self.name](v, v.load(v.at(src, i.index)))
            v.store(value, v.at(dst, i.index))
        return str(module)


def apply(name: str, x: np.ndarray) -> np.ndarray:
    """The compiled function of every entry."""
    padded = np.concatenate([x, np.zeros(-len(x) % 64, x.dtype)])
    out = np.full_like(padded, -7)
    words = np.array([padded.ctypes.data, out.ctypes.data], np.int64)
    kernel(Elementwise(name, str(x.dtype)))(words.ctypes.data, 0, len(padded))
    return out[: len(x)]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1 / (1 + np.exp(-abs(x))), np.exp(-abs(x)) / (1 + np.exp(-abs(x))))


def _erf(x: np.ndarray) -> np.ndarray:
    return np.array([math.erf(value) for value in x.astype(np.float64)])


def _ndtr(x: np.ndarray) -> np.ndarray:
    """In long double from float64, by the first term of the series where it was rounded."""
    root = np.sqrt(np.longdouble(0.5))
    near = -(np.clip(x, -40, 40) * root).astype(np.float64)
    tail = np.array([math.erfc(value) for value in near])
    lost = -np.clip(x, -40, 40) * root - near
    slope = np.exp(-(near.astype(np.longdouble) ** 2)) * (2 / np.sqrt(np.longdouble(np.pi)))
    return np.asarray((tail - slope * lost) / 2)


WANT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "erf": _erf,
    "gaussian": lambda x: np.exp(-x * x / 2),
    "ndtr": _ndtr,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
}


@cache
def samples(dtype: str) -> np.ndarray:
    """Every exponent and sign, all bits of the significand at random; and the usual arguments."""
    rng = np.random.default_rng(0)
    kind, digits = (np.uint32, 23) if dtype == "float32" else (np.uint64, 52)
    count = 300_000
    exponents = rng.integers(0, (1 << (8 if dtype == "float32" else 11)) - 1, count, dtype=kind)
    bits = (exponents << kind(digits)) | rng.integers(0, 1 << digits, count, dtype=kind)
    everywhere = bits.view(dtype) * rng.choice(np.array([-1, 1], dtype), count)
    usual = [rng.uniform(-b, b, 100_000).astype(dtype) for b in (1, 10, 100, 750)]
    near_one = (1 + rng.uniform(-1e-3, 1e-3, 50_000)).astype(dtype)
    return np.concatenate([everywhere, *usual, near_one])


def units(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """The distance in units of the last place of `want`, those of the smallest normal below it."""
    info = np.finfo(got.dtype)
    spacing = np.maximum(abs(want), info.smallest_normal)
    spacing = 2.0 ** np.floor(np.log2(spacing)) * np.longdouble(info.eps)
    return np.asarray(abs(got.astype(np.longdouble) - want) / spacing, np.float64)


@grid(name=FUNCTIONS, dtype=["float32", "float64"], machine=MACHINES, every=4)
def test_accurate_everywhere(name: str, dtype: str, machine: Machine) -> None:
    x = samples(dtype)
    with np.errstate(all="ignore"):
        want = np.asarray(WANT[name](x.astype(np.longdouble)), np.longdouble)
        rounded = want.astype(dtype)
        got = apply(name, x)
        finite = np.isfinite(rounded)
        np.testing.assert_array_equal(got[~finite], rounded[~finite])
        far = units(got[finite], want[finite])
    worst = int(far.argmax())
    assert far[worst] <= LIMIT[name], (x[finite][worst], got[finite][worst], far[worst])


@grid(name=FUNCTIONS, dtype=["float32", "float64"], machine=MACHINES, every=4)
def test_exact_at_the_edges(name: str, dtype: str, machine: Machine) -> None:
    inf, nan = np.inf, np.nan
    edges = {
        "exp": {0.0: 1, inf: inf, -inf: 0, nan: nan, 1e30: inf, -1e30: 0},
        "expm1": {0.0: 0.0, inf: inf, -inf: -1, nan: nan, 1e30: inf, -1e30: -1, 1e-44: 1e-44},
        "log": {0.0: -inf, 1.0: 0, inf: inf, -inf: nan, -1.0: nan, nan: nan},
        "log1p": {0.0: 0.0, inf: inf, -inf: nan, -1.0: -inf, -2.0: nan, nan: nan, -1e-44: -1e-44},
        "gaussian": {0.0: 1, inf: 0, -inf: 0, nan: nan, 1e30: 0, -1e30: 0},
        "ndtr": {0.0: 0.5, inf: 1, -inf: 0, nan: nan, 1e30: 1, -1e30: 0},
        "tanh": {0.0: 0.0, inf: 1, -inf: -1, nan: nan, 1e30: 1, -1e30: -1},
        "sigmoid": {0.0: 0.5, inf: 1, -inf: 0, nan: nan, 1e30: 1, -1e30: 0},
        "erf": {0.0: 0.0, inf: 1, -inf: -1, nan: nan, 1e30: 1, -1e30: -1},
        "sin": {0.0: 0.0, inf: nan, -inf: nan, nan: nan},
        "cos": {0.0: 1, inf: nan, -inf: nan, nan: nan},
        "tan": {0.0: 0.0, inf: nan, -inf: nan, nan: nan},
        "asin": {0.0: 0.0, inf: nan, -inf: nan, nan: nan, 1.5: nan, -2.0: nan},
        "acos": {0.0: np.pi / 2, 1.0: 0, inf: nan, -inf: nan, nan: nan, 1.5: nan, -1.0: np.pi},
        "atan": {0.0: 0.0, inf: np.pi / 2, -inf: -np.pi / 2, nan: nan, 1e38: np.pi / 2},
        "sinh": {0.0: 0.0, inf: inf, -inf: -inf, nan: nan, 1e30: inf, -1e30: -inf},
        "cosh": {0.0: 1, inf: inf, -inf: inf, nan: nan, 1e30: inf, -1e30: inf},
        "asinh": {0.0: 0.0, inf: inf, -inf: -inf, nan: nan},
        "acosh": {0.0: nan, 1.0: 0, inf: inf, -inf: nan, nan: nan, 0.5: nan, -3.0: nan},
        "atanh": {0.0: 0.0, 1.0: inf, -1.0: -inf, inf: nan, -inf: nan, nan: nan, 2.0: nan},
    }[name]
    x = np.array([0.0, -0.0, *(key for key in edges if key != 0)], dtype)
    zero = edges[0.0]
    minus = zero if zero else -zero
    want = np.array([zero, minus, *(value for key, value in edges.items() if key != 0)], dtype)
    got = apply(name, x)
    np.testing.assert_array_equal(got, want)
    signed = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[signed]), np.signbit(want[signed]))


@grid(name=FUNCTIONS, dtype=["float32", "float64"], machine=MACHINES, every=4)
def test_every_nan_gives_nan(name: str, dtype: str, machine: Machine) -> None:
    """Whatever the bits of its significand, which exponents are added to."""
    info = np.finfo(dtype)
    bits = np.arange(1, 1025, dtype=f"u{info.bits // 8}")
    bits = np.concatenate([bits, bits << bits.dtype.type(info.nmant - 11)])
    quiet = np.array(np.nan, dtype).view(bits.dtype)
    sign = bits.dtype.type(1) << bits.dtype.type(info.bits - 1)
    nans = np.concatenate([bits | quiet, bits | quiet | sign]).view(dtype)
    assert np.isnan(nans).all()
    assert np.isnan(apply(name, nans)).all()


@DTYPES
def test_largest_and_smallest(dtype: str, machine: Machine) -> None:
    info = np.finfo(dtype)
    last = np.nextafter(np.log(info.max.astype(np.longdouble)).astype(dtype), 0, dtype=dtype)
    assert np.isfinite(apply("exp", np.array([last], dtype))).all()
    small = np.array([info.smallest_subnormal, info.smallest_normal, info.max], dtype)
    want = np.log(small.astype(np.longdouble))
    assert (units(apply("log", small), want) <= 2).all()
    largest = apply("expm1", np.array([last], dtype))
    assert (units(largest, np.expm1(np.array([last], np.longdouble))) <= 2).all()
    for name in ("expm1", "log1p"):
        np.testing.assert_array_equal(apply(name, small[:2]), small[:2])
        np.testing.assert_array_equal(apply(name, -small[:2]), -small[:2])
    for name in ("tanh", "erf"):
        tiny = apply(name, small[:1])
        assert 0 < tiny[0] <= 2 * small[0]


@grid(name=FUNCTIONS, dtype=["float32", "float64"], machine=MACHINES, every=4)
def test_a_value_has_one_result_in_any_lane(name: str, dtype: str, machine: Machine) -> None:
    lanes = machine.lanes(dtype)
    values = samples(dtype)[:: len(samples(dtype)) // 50]
    with np.errstate(all="ignore"):
        alone = np.stack([apply(name, np.roll(values, i)) for i in range(lanes)])
    for i, row in enumerate(alone):
        assert np.roll(row, -i).tobytes() == alone[0].tobytes()


@grid(row=[AVX512, NEON], name=FUNCTIONS, dtype=["float32", "float64"], every=4)
def test_compiles_elsewhere_without_a_library(row: Machine, name: str, dtype: str) -> None:
    code = object_code(Elementwise(name, dtype), row)
    for callee in (b"expf", b"logf", b"fmaf", b"fma\0", b"fmax", b"tanhf", b"erff", b"rint"):
        assert callee not in code
    for callee in (
        b"sinf",
        b"cosf",
        b"floor",
        b"roundeven",
        b"trunc",
        b"__mul",
        b"__float",
        b"pow",
    ):
        assert callee not in code.replace(b"two_over_pi", b"")
