"""Embeddings against their reference; the order of sums; tokens that are none."""

import numpy as np
import pytest
from grid import MACHINES, grid
from laws.fences import between_fences, fenced
from methods.steps import Allocate, anywhere, as_map, between, blank, from_map, run, wide

from faltung.jit.compile import object_code
from faltung.machine.table import AVX512, NEON, Machine
from faltung.methods.base.step import Matrix, Operand, Work
from faltung.methods.rows.embedding import check_tokens, embed, embed_grad
from faltung.reference.embedding import embed as embed_reference
from faltung.reference.embedding import embed_grad as embed_grad_reference

# batch, length, vocabulary, features, padding row
CASES = [
    (1, 1, 1, 1, None),
    (2, 5, 7, 3, None),
    (3, 40, 11, 16, 0),
    (2, 33, 1000, 50, 999),
    (4, 7, 3, 128, 1),
    (1, 300, 5, 17, None),
    (0, 5, 4, 20, None),
    (2, 3, 700, 33, 2),
]
DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def results(
    tokens: np.ndarray,
    table: np.ndarray,
    grad: np.ndarray,
    padding: int | None,
    machine: Machine,
    extra: int = 0,
    threads: int = 2,
    allocate: Allocate = anywhere,
) -> tuple[np.ndarray, np.ndarray]:
    """The picked rows (batch, features, length), and the gradient for the table."""
    vocabulary, features = table.shape
    dtype, rows, pitch = str(table.dtype), tokens.size, features + extra

    def beside(array: np.ndarray) -> np.ndarray:
        made = allocate(array.nbytes).view(array.dtype).reshape(array.shape)
        made[...] = array
        return made

    arrays = {
        "tokens": beside(tokens),
        "table": beside(table),
        "grad": as_map(grad, pitch, allocate),
        "out": blank(rows, features, pitch, dtype, allocate),
        "sums": beside(np.full_like(table, np.nan)),
    }
    o = {name: Operand(name) for name in arrays}
    work = Work()
    sizes = {"rows": rows, "features": features, "vocabulary": vocabulary}
    out, gradient = Matrix(o["out"], pitch), Matrix(o["grad"], pitch)
    embed(work, o["tokens"], o["table"], out, **sizes, dtype=dtype)
    given = {"dtype": dtype, "machine": machine, "padding_index": padding}
    embed_grad(work, o["tokens"], gradient, o["sums"], **sizes, **given)  # type: ignore[arg-type]
    run(work, machine, arrays, threads, allocate)
    assert np.isnan(between(arrays["out"])).all(), "written between the rows"
    return from_map(arrays["out"], grad.shape), arrays["sums"]


def data(case: tuple, dtype: str) -> tuple[np.ndarray, ...]:
    batch, length, vocabulary, features, _ = case
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, vocabulary, (batch, length))
    table = rng.integers(-9, 10, (vocabulary, features)).astype(dtype)
    return tokens, table, rng.integers(-9, 10, (batch, features, length)).astype(dtype)


def compare(case: tuple, dtype: str, machine: Machine, **how: object) -> None:
    tokens, table, grad = data(case, dtype)
    got, sums = results(tokens, table, grad, case[4], machine, **how)  # type: ignore[arg-type]
    np.testing.assert_array_equal(got, embed_reference(tokens, table))
    want = embed_grad_reference(tokens, grad, case[2], case[4])
    np.testing.assert_array_equal(sums, want)


@grid(case=CASES, dtype=["float32", "float64"], machine=MACHINES)
def test_exact(case: tuple, dtype: str, machine: Machine) -> None:
    compare(case, dtype, machine)
    compare(case, dtype, machine, extra=5)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_wide_vectors(case: tuple) -> None:
    compare(case, "float32", wide(), extra=1)


@DTYPES
def test_sums_in_the_order_of_the_tokens(dtype: str, machine: Machine) -> None:
    tokens, table, grad = data((3, 400, 13, 37, None), dtype)
    grad = np.random.default_rng(1).standard_normal(grad.shape).astype(dtype)
    want = np.zeros_like(table)
    for row, token in zip(as_map(grad, 37), tokens.ravel(), strict=True):
        want[token] += row
    for threads in (1, 2, 3, 7):
        for extra in (0, 4):
            got, sums = results(tokens, table, grad, None, machine, extra, threads)
            assert sums.tobytes() == want.tobytes()
            assert got.tobytes() == embed_reference(tokens, table).astype(dtype).tobytes()


def test_what_is_no_row_reads_and_writes_nothing_outside(machine: Machine) -> None:
    tokens, table, grad = data((1, 6, 4, 20, None), "float32")
    tokens[0] = [0, 4, -1, 3, 2**62, -(2**63)]
    got, sums = results(tokens, table, grad, None, machine)
    np.testing.assert_array_equal(got[0].T, table[[0, 3, 3, 3, 3, 3]])
    want = embed_grad_reference(tokens[:, [0, 3]], grad[:, :, [0, 3]], 4)
    np.testing.assert_array_equal(sums, want)


def test_tokens_are_checked() -> None:
    made = check_tokens(np.array([[0, 5], [2, 1]], np.uint8)[:, ::-1], 6)
    assert made.dtype == np.int64 and made.flags.c_contiguous
    assert made.tolist() == [[5, 0], [1, 2]]
    assert check_tokens(np.zeros((0, 3), np.int32), 1).shape == (0, 3)
    for bad, text in {
        (0, 7): "tokens[0, 1]=7: must be a row of the table, 0 to 6",
        (-1, 0): "tokens[0, 0]=-1: must be a row of the table, 0 to 6",
    }.items():
        with pytest.raises(ValueError) as caught:
            check_tokens([bad], 7)
        assert str(caught.value) == text
    with pytest.raises(ValueError, match=r"tokens\[1\]=18446744073709551615"):
        check_tokens(np.array([3, 2**64 - 1], np.uint64), 7)
    with pytest.raises(TypeError, match=r"tokens\.dtype=float64"):
        check_tokens([1.0], 7)
    with pytest.raises(TypeError, match=r"tokens\.dtype=bool"):
        check_tokens([True], 7)


@pytest.mark.parametrize("row", [AVX512, NEON], ids=lambda row: row.name)
def test_compiles_elsewhere(row: Machine) -> None:
    work, o, rows = Work(), Operand("x"), Matrix(Operand("x"), 20)
    given = {"rows": 5, "features": 20, "vocabulary": 9, "dtype": "float32"}
    embed(work, o, o, rows, **given)  # type: ignore[arg-type]
    embed_grad(work, o, rows, o, **given, machine=row)  # type: ignore[arg-type]
    for step in work.steps:
        assert object_code(step.recipe, row)


@between_fences(case=CASES, dtype=["float32", "float64"], extra=[0, 3])
def test_between_fences(
    case: tuple[int | None, ...], dtype: str, extra: int, side: str, machine: Machine
) -> None:
    compare(case, dtype, machine, extra=extra, allocate=lambda n: fenced(n, side == "after"))
