"""The vocabulary, run: loops of any number of turns, masks, gathers, transposition, sums."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import pytest

from faltung.codegen.copies import each_group, load_columns, transpose_square
from faltung.codegen.ir import Module
from faltung.codegen.tile import (
    Accumulators,
    accumulate,
    broadcast_product,
    budget,
    split,
    zeros,
)
from faltung.codegen.vectors import Vectors
from faltung.jit.compile import kernel
from faltung.machine.table import Machine


@dataclass(frozen=True)
class Snippet:
    """A kernel over (src, dst); `body` writes it."""

    name: str
    dtype: str
    body: Callable[[Vectors, str, str], None]

    def __repr__(self) -> str:
        return f"Snippet({self.name!r}, {self.dtype!r})"

    @property
    def symbol(self) -> str:
        return "snippet"

    def emit(self, machine: Machine) -> str:
        module = Module()
        arguments = [("ptr", "words"), ("i64", "begin"), ("i64", "end")]
        f = module.function(self.symbol, arguments, public=True)
        src, dst = f.pointer("%words", 0), f.pointer("%words", 1)
        self.body(Vectors(f, machine, self.dtype), src, dst)
        return str(module)


def run(name: str, dtype: str, body: Callable[[Vectors, str, str], None], end: int = 0) -> tuple:
    src = np.arange(1, 4097, dtype=dtype)
    dst = np.full(4096, -1, dtype)
    words = np.array([src.ctypes.data, dst.ctypes.data], np.int64)
    kernel(Snippet(name, dtype, body))(words.ctypes.data, 0, end)
    return src, dst


DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


@DTYPES
def test_transpose(dtype: str, machine: Machine) -> None:
    n = machine.lanes(dtype)

    def body(v: Vectors, src: str, dst: str) -> None:
        for i, row in enumerate(v.transpose([v.load(v.at(src, i * n)) for i in range(n)])):
            v.store(row, v.at(dst, i * n))

    src, dst = run("transpose", dtype, body)
    np.testing.assert_array_equal(dst[: n * n], src[: n * n].reshape(n, n).T.ravel())


@DTYPES
def test_squares_at_the_edges_of_an_array(dtype: str, machine: Machine) -> None:
    n = machine.lanes(dtype)

    def body(rows: int, v: Vectors, src: str, dst: str) -> None:
        def store(i: int, column: str, mask: str | None) -> None:
            v.store(column, v.at(dst, i * n), mask)

        transpose_square(
            v,
            v.function.minimum("%end", rows),
            "%end",
            lambda mask: [v.load(v.at(src, i * n), mask(i)) for i in range(n)],
            store,
            rows=str(rows),
            stored=str(rows),
        )

    for rows, columns in product((1, n - 1, n), repeat=2):
        src, dst = run(f"square{rows}", dtype, partial(body, rows), columns)
        want = np.full((n, n), -1, dtype)
        want[:columns, :rows] = src[: n * n].reshape(n, n).T[:columns, :rows]
        np.testing.assert_array_equal(dst[: n * n], want.ravel())


@DTYPES
@pytest.mark.parametrize("overlapping", [False, True])
def test_columns_of_rows_apart(dtype: str, overlapping: bool, machine: Machine) -> None:
    n = machine.lanes(dtype)

    def body(count: int, v: Vectors, src: str, dst: str) -> None:
        rows = [v.at(src, i * 100) for i in range(n)]
        for k, column in enumerate(load_columns(v, rows, count, overlapping=overlapping)):
            v.store(column, v.at(dst, k * n))

    for count in (1, n, n + 1, 2 * n + 1):
        src, dst = run(f"columns{count}{overlapping}", dtype, partial(body, count))
        want = src[: n * 100].reshape(n, 100)[:, :count].T
        np.testing.assert_array_equal(dst[: n * count], want.ravel())


@DTYPES
def test_groups_of_vectors_leave_less_than_one(dtype: str, machine: Machine) -> None:
    n = machine.lanes(dtype)

    def body(v: Vectors, src: str, dst: str) -> None:
        def copy(at: str, count: int) -> None:
            for q in range(count):
                v.store(v.load(v.at(v.at(src, at), q * n)), v.at(v.at(dst, at), q * n))

        done = each_group(v, "%end", (4, 1), copy)
        with v.function.loop(done, "%end") as i:
            v.store_one(v.load_one(v.at(src, i.index)), v.at(dst, i.index))

    for count in (0, n - 1, n, 5 * n + 1, 13 * n):
        src, dst = run("groups", dtype, body, count)
        np.testing.assert_array_equal(dst[:count], src[:count])
        np.testing.assert_array_equal(dst[count:], -1)


@DTYPES
def test_a_loop_carries_a_tile(dtype: str, machine: Machine) -> None:
    """``dst = a.T @ b``, the rows of both one after another in ``src``."""
    n, rows = machine.lanes(dtype), 3
    pitch = rows + 2 * n

    def body(v: Vectors, src: str, dst: str) -> None:
        def add(acc: Accumulators, _: str, at: str) -> Accumulators:
            return broadcast_product(v, acc, at, range(rows), v.at(at, rows))

        ends, acc = accumulate(v, zeros(v, rows, 2), (0, "%end"), [(src, pitch)], add)
        for i, value in enumerate(value for row in acc for value in row):
            v.store(value, v.at(dst, i * n))
        v.store_one(v.load_one(ends[0]), v.at(dst, rows * 2 * n))

    for count in (0, 1, 5):
        src, dst = run("tile", dtype, body, count)
        terms = src[: count * pitch].reshape(count, pitch)
        want = terms[:, :rows].T @ terms[:, rows:]
        np.testing.assert_array_equal(dst[: rows * 2 * n], want.ravel())
        assert dst[rows * 2 * n] == src[count * pitch]


@DTYPES
def test_masks_touch_nothing_else(dtype: str, machine: Machine) -> None:
    n = machine.lanes(dtype)

    def body(v: Vectors, src: str, dst: str) -> None:
        mask = v.below("%end")
        v.store(v.load(src, mask), dst, mask)
        v.store(v.load(src, v.first(1)), v.at(dst, n), v.first(n))

    for count in (0, 1, n - 1, n, n + 5):
        src, dst = run("masks", dtype, body, count)
        kept = min(count, n)
        np.testing.assert_array_equal(dst[:kept], src[:kept])
        assert (dst[kept:n] == -1).all()
        np.testing.assert_array_equal(dst[n : 2 * n], [1, *[0] * (n - 1)])


@DTYPES
def test_gather_scatter_and_total(dtype: str, machine: Machine) -> None:
    n = machine.lanes(dtype)

    def body(v: Vectors, src: str, dst: str) -> None:
        got = v.gather(src, 3)
        v.scatter(got, dst, "%end")
        total = v.total(got)
        v.function.emit(f"store {v.element} {total}, ptr {v.at(dst, 1000)}")

    src, dst = run("gather", dtype, body, 5)
    want = src[: 3 * n : 3]
    np.testing.assert_array_equal(dst[: 5 * n : 5], want)
    assert dst[1000] == want.sum()


@pytest.mark.parametrize("turns", [0, 1, 2, 7])
def test_loops(turns: int) -> None:
    def body(v: Vectors, src: str, dst: str) -> None:
        f = v.function
        with f.loop(0, "%end", [(v.type, v.load(src))]) as loop:
            loop.carry([v.add(loop.values[0], v.broadcast(v.at(src, loop.index)))])
        v.store(loop.results[0], dst)
        even = f.value("icmp eq i64 %end, 2")
        with f.when(even):
            v.store(v.load(src), v.at(dst, 64))

    src, dst = run("loops", "float32", body, turns)
    assert dst[0] == src[0] + src[:turns].sum()
    assert (dst[64] == 1) == (turns == 2)


def test_split_is_balanced_and_instant() -> None:
    assert split(32, 14) == [(11, 2), (10, 1)]
    assert split(14, 14) == [(14, 1)]
    assert split(0, 14) == []
    for length in (*range(1, 60), 10**9 + 7):
        parts = split(length, 14)
        assert sum(size * count for size, count in parts) == length
        assert len({size for size, _ in parts}) == len(parts)
        assert max(size for size, _ in parts) <= 14


def test_budget_leaves_registers_for_operands(machine: Machine) -> None:
    assert 2 * budget(machine) // 2 + 3 <= machine.registers
