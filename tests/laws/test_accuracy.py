"""Every method of both tables against float64, on every case of the table that it can do.

Sums forwards have one set of bits for all methods (``methods/test_every_method.py``), whose error
``test_promises.py`` looks at; so here are the transforms, and all methods for the gradient for the
weight.
"""

import numpy as np
import pytest
from grid import grid
from laws.layouts import real
from laws.methods import DIRECTIONS, Array, bound, error, made, pairs, row, table, wanted

from cases import CASES, Case, integers
from faltung.geometry import ConvSpec

FULL = [case for case in CASES if case.spec.batch]


@grid(case=FULL)
def test_table(case: Case) -> None:
    arrays = real(case.spec)
    last = len(case.name) % 2 == 0
    for direction in DIRECTIONS:
        want = wanted(direction, case.spec, arrays)
        for method, entry in table(direction).items():
            if direction != "weight_grad" and not entry.transform:
                continue
            got = made(direction, method, case.spec, arrays, last)
            if got is None:
                continue
            found = error(got, want)
            # The root of few squares may be anything.
            room = 1.0 if want.size >= 30 else 2.0
            most = room * bound(direction, method, case.spec)
            assert found <= most, f"{direction} {method}: {found}"


# Other dtypes, on the problem of each method ------------------------------------------------------

CONJUGATE = {"forward": None, "input_grad": 1, "weight_grad": 0}  # of x, weight, bias, gradient


def forced(direction: str, method: str, spec: ConvSpec, arrays: list[Array], last: bool) -> Array:
    got = made(direction, method, spec, arrays, last)
    assert got is not None, f"{method} does not apply to its own problem"
    assert got.dtype == arrays[0].dtype
    return got


@grid(pair=pairs())
def test_float64(direction: str, method: str) -> None:
    spec, last = row(method, "f64")
    arrays = list(real(spec))
    found = error(forced(direction, method, spec, arrays, last), wanted(direction, spec, arrays))
    assert found <= min(1e-13, bound(direction, method, spec))


@grid(pair=pairs(), word=["i32", "i64"])
def test_whole_numbers_are_exact(direction: str, method: str, word: str) -> None:
    """Also where they wrap: then all methods have what the plain sum has."""
    spec, last = row(method, word)
    small = integers(spec)
    if method == "signal" or table(direction)[method].transform:
        assert made(direction, method, spec, small, last) is None
        return
    want = wanted(direction, spec, small)
    np.testing.assert_array_equal(forced(direction, method, spec, list(small), last), want)
    ends, rng = np.iinfo(spec.dtype), np.random.default_rng(0)
    large = [rng.integers(ends.min, ends.max, a.shape, spec.dtype) for a in small]
    got = forced(direction, method, spec, large, last)
    np.testing.assert_array_equal(got, forced(direction, "direct", spec, large, last))


@grid(pair=pairs(), word=["f16", "bf16"])
def test_of_16_bits_is_float32_rounded_once(direction: str, method: str, word: str) -> None:
    spec, last = row(method)
    kind = np.dtype(np.float16)
    if word == "bf16":
        kind = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    narrow = [array.astype(kind) for array in real(spec)]
    wide = [array.astype(np.float32) for array in narrow]
    want = forced(direction, method, spec, wide, last).astype(kind)
    got = forced(direction, method, row(method, word)[0], narrow, last)
    assert got.tobytes() == want.tobytes()


@grid(pair=pairs(), word=["c64", "c128"])
def test_complex(direction: str, method: str, word: str) -> None:
    """Three products: each part is a difference of larger ones."""
    spec, last = row(method, "f32" if word == "c64" else "f64")
    planes = list(zip(real(spec), real(spec, seed=1), strict=True))
    arrays = [re + np.complex64(1j) * im for re, im in planes]
    if CONJUGATE[direction] is not None:
        re, im = planes[CONJUGATE[direction]]
        planes[CONJUGATE[direction]] = re, -im
    # The first operand of each direction, and the other one.
    one, other = {"forward": (0, 1), "input_grad": (3, 1), "weight_grad": (0, 3)}[direction]

    def part(i: int, j: int, bias: int | None) -> Array:
        chosen = [re for re, _ in planes]
        chosen[one], chosen[other] = planes[one][i], planes[other][j]
        chosen[2] = 0 * chosen[2] if bias is None else planes[2][bias]
        return wanted(direction, spec, chosen)

    want = part(0, 0, 0) - part(1, 1, None) + 1j * (part(0, 1, 1) + part(1, 0, None))
    got = forced(direction, method, row(method, word)[0], arrays, last)
    assert error(got, want) <= 3 * bound(direction, method, spec)
