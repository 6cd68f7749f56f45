"""Passes of separable filters: what is fused, how arrays are cut, code for every machine."""

from itertools import product

import numpy as np
import pytest

from faltung.jit.compile import object_code
from faltung.machine.table import AVX512, NEON, Machine, row
from faltung.methods.filters.lines import LinesKernel
from faltung.methods.filters.separable import Along, Pass, passes


def even(axis: int, size: int, mode: str = "symmetric") -> Along:
    return Along(axis, size, size // 2, mode, "even")


def found(
    lines: list[Along],
    shape: tuple[int, ...] = (70, 900),
    dtype: str = "float32",
    machine: Machine = AVX512,
) -> list[Pass]:
    work = "float32" if dtype == "float32" else "float64"
    return passes(shape, dtype, dtype, work, lines, machine)


def recipe(one: Pass) -> LinesKernel:
    made = one.step.recipe
    assert isinstance(made, LinesKernel)
    return made


def test_what_is_fused() -> None:
    """An axis with the last one behind it, unless they are long."""

    def cut(lines: list[Along], shape: tuple[int, ...] = (70, 900)) -> list[tuple[int, int]]:
        return [(one.start, one.stop) for one in found(lines, shape)]

    assert cut([even(0, 17), even(1, 17)]) == [(0, 2)]
    assert cut([even(1, 17), even(0, 17)]) == [(0, 1), (1, 2)]
    assert cut([even(0, 17), even(1, 301)]) == [(0, 1), (1, 2)]
    assert cut([even(0, 5), even(1, 5), even(2, 5)], (9, 9, 9)) == [(0, 1), (1, 3)]
    assert cut([even(0, 5)], (99,)) == [(0, 1)]
    assert cut([]) == []


def test_one_code_for_all_weights_of_a_size() -> None:
    """And for every shape and border that is no constant."""
    one = recipe(found([even(0, 17), even(1, 17)])[0])
    other = recipe(found([even(0, 17, "reflect"), even(1, 17, "circular")], (9, 8))[0])
    constant = recipe(found([even(0, 17, "constant"), even(1, 17)])[0])
    assert one == other != constant


def test_items_do_not_depend_on_threads() -> None:
    (one,) = found([even(0, 17), even(1, 17)], (3000, 5000))
    made = recipe(one)
    assert one.step.items == -(-3000 // made.band) * -(-5000 // made.block)


def test_quick_sums_become_narrow_whole_numbers() -> None:
    lines = [even(0, 65), even(1, 65)]
    for dtype, quick in (
        *(("uint8", True), ("int16", True), ("uint32", True), ("bool", True)),
        *(("int64", False), ("uint64", False), ("float64", False), ("float32", False)),
    ):
        assert recipe(found(lines, dtype=dtype)[0]).quick == quick, dtype
    mixed = passes((9, 9), "float64", "uint8", "float64", lines, AVX512)
    assert not recipe(mixed[0]).quick  # what is read has no largest number


def test_what_a_thread_needs_is_on_its_stack_or_counted() -> None:
    for size, dtype in product((3, 17, 65, 159, 301, 2001), ("float32", "float64", "uint8")):
        for one in found([even(0, size), even(1, size)], dtype=dtype):
            made = recipe(one)
            assert made.heap == bool(one.scratch)
            assert one.scratch in (0, made.bytes(AVX512))


def test_tables_say_where_everything_is() -> None:
    (one,) = found([even(0, 5, "reflect"), Along(1, 3, 1, "constant", "even")], (4, 6))
    given = dict(zip(recipe(one).names, one.step.arguments, strict=True))
    rows, columns = (np.asarray(given[name]) for name in ("rows", "columns"))
    assert (rows[:8] // 6).tolist() == [2, 1, 0, 1, 2, 3, 2, 1]
    assert columns[:8].tolist() == [-1, 0, 1, 2, 3, 4, 5, -1]


@pytest.mark.parametrize("name", ["avx512", "avx2", "sse", "neon"])
def test_code_for_every_machine(name: str) -> None:
    machine = row(name)
    for size, dtype in product((3, 17, 65), ("float32", "float64", "uint8", "uint64")):
        for how in ("even", "odd", ""):
            lines = [Along(0, size, 1, "constant", how), Along(1, size, 1, "reflect", how)]
            for one in found(lines, dtype=dtype, machine=machine):
                assert object_code(recipe(one), machine)


def test_products_are_fused_where_that_is_no_other_number() -> None:
    """In sums that become whole numbers, which are made again in order; never in float64."""
    for machine in (AVX512, NEON):
        for dtype, fused in (("uint8", True), ("float64", False), ("float32", True)):
            (one,) = found([even(0, 65), even(1, 65)], dtype=dtype, machine=machine)
            assert ("llvm.fma" in recipe(one).emit(machine)) == fused
