"""The tables of elementary functions in ``docs/accuracy.md``: complete, and kept."""

from math import inf, nan

import numpy as np
import pytest
from grid import MACHINES, grid

from benchmarks import accuracy, elementary
from faltung.geometry.expr import unary
from faltung.jit.target import use
from faltung.machine.table import Machine

# Fewer arguments than those of the tables: float32 bit patterns this far apart, float64 numbers.
STEP, POINTS = 100_003, 1500


def table(name: str) -> dict[str, list[float]]:
    """The rows of a table by their first cell, their errors as numbers."""
    page = accuracy.PAGE.read_text("utf-8")
    _, _, rest = page.partition(accuracy.OPEN.format(name))
    lines = rest.partition(accuracy.CLOSE.format(name))[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {
        row[0].strip("`"): [inf if cell == "lost" else float(cell) for cell in row[1:]]
        for row in rows
    }


def test_the_tables_have_every_function_and_activation() -> None:
    assert tuple(table("elementary functions")) == elementary.FUNCTIONS
    assert set(elementary.FUNCTIONS) == set(elementary.DEFINITIONS)
    assert tuple(table("activations")) == tuple(elementary.ACTIVATIONS)
    for name, errors in table("elementary functions").items():
        assert max(errors) <= 4, name


@grid(name=elementary.FUNCTIONS, dtype=["float32", "float64"], machine=MACHINES, every=3)
def test_functions_keep_to_the_table(name: str, dtype: str, machine: Machine) -> None:
    pytest.importorskip("mpmath")
    limit = table("elementary functions")[name][2 * (dtype == "float64") + (not machine.fma)]
    found = elementary.function_error(
        name, dtype, machine.name, elementary.arguments(dtype, STEP, POINTS)
    )
    assert found.units <= limit, found


@grid(
    name=tuple(elementary.ACTIVATIONS), dtype=["float32", "float64"], sloped=[False, True], every=3
)
def test_activations_keep_to_the_table(name: str, dtype: str, sloped: bool) -> None:
    pytest.importorskip("mpmath")
    limit = table("activations")[name][3 * sloped + 2 * (dtype == "float64")]
    with use("avx2" if "avx2" in MACHINES else MACHINES[0]):
        found = elementary.activation_error(
            name, dtype, sloped, elementary.arguments(dtype, STEP, POINTS)
        )
    assert found.units <= limit or limit > elementary.LOST, found


def test_units() -> None:
    def units(got: float, want: float, dtype: str = "float32", low: float = 0.0) -> float:
        pair = np.array([want]), np.array([low])
        return float(elementary.units(np.array([got], dtype), pair)[0])

    eps = 2.0**-23
    assert units(1 + 2 * eps, 1) == 2
    assert units(1, 1 + 0.25 * eps) == 0.25
    assert units(1, 1, "float64", 2.0**-54) == 0.25
    assert units(1e-45, 0) == 1
    assert units(nan, nan) == units(inf, 1e300) == units(-inf, -inf) == 0
    assert units(nan, 1) == units(inf, 1) == units(1, nan) == inf
    assert (str(elementary.Worst(1.21)), str(elementary.Worst(1e9))) == ("1.3", "lost")


def test_an_error_is_found() -> None:
    """A function that is right nearly everywhere."""

    def call(x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.where(x == 3, np.float32(20.085539), np.exp(x))

    chunks = [np.array([1, 2, 3, 4], np.float32)]
    found = elementary.worst(call, elementary.DEFINITIONS["exp"], chunks)
    assert found.x == 3 and found.units == pytest.approx(1.1, abs=0.1)


def test_arguments_have_both_signs_and_all_exponents() -> None:
    for dtype, exponents in (("float32", 255), ("float64", 1900)):
        x = np.concatenate(list(elementary.arguments(dtype, STEP, 100_000)))
        assert x.dtype == dtype and np.isfinite(x).all()
        for half in (x[x > 0], -x[x < 0]):
            assert len(np.unique(np.frexp(half)[1])) >= exponents


@pytest.mark.parametrize("name", ["tanh", "log1p", "ndtr"])
def test_definitions_agree(name: str) -> None:
    """Those in float64, and those in mpmath."""
    pytest.importorskip("mpmath")
    x = np.array([-1e-30, -0.7, 0.3, 4.0])
    rough = elementary.DEFINITIONS[name](elementary.Float64(), x)
    high, low = elementary.exact(elementary.DEFINITIONS[name], x)
    np.testing.assert_allclose(rough, high, rtol=1e-14)
    assert (abs(low) <= abs(high) * 2.0**-53).all()


def test_formulas_run_on_any_number_of_elements() -> None:
    x = np.arange(1, 8, dtype=np.float64)
    np.testing.assert_array_equal(elementary.applied(unary("sqrt", elementary.X), x), np.sqrt(x))
