"""Maxima and minima planned: few shifts and runs, one code for all footprints."""

from itertools import product

import numpy as np
import pytest

from faltung.jit.compile import object_code
from faltung.machine.table import AVX512, row
from faltung.methods.filters.elements import KINDS
from faltung.methods.filters.extremes import Extremes, Footprint, extremes, program
from faltung.methods.filters.extremes_kernel import ExtremesKernel


def windows(size: int) -> set[int]:
    """The entries of the window that the shifts of a line make of entry 0."""
    (*steps, (last, _)) = program(np.ones((1, size), bool), 1, 1000)
    assert last == 0
    found = {0}
    for shift, runs in steps:
        assert not runs
        found |= {entry + shift for entry in found}
    return found


def test_windows_of_every_size() -> None:
    for size in range(1, 300):
        assert windows(size) == set(range(size))
        assert len(program(np.ones((1, size), bool), 1, 9)) == 1 + (size - 1).bit_length()


def test_every_place_is_read_and_no_other() -> None:
    rng, pitch = np.random.default_rng(0), 1000
    for shape in ((1, 9), (9, 1), (7, 7), (3, 20), (20, 3)):
        plane = rng.random(shape) < 0.7
        plane[0, 0] = True
        window, read = {0}, set()
        for shift, runs in program(plane, 1, pitch):
            window |= {entry + shift for entry in window}
            read |= {begin + entry for run in runs for begin in run for entry in window}
        wanted = {int(y) * pitch + int(x) for y, x in np.argwhere(plane)}
        assert read == wanted


def test_a_disc_has_two_loads_a_row() -> None:
    disc = np.hypot(*np.mgrid[-20:21, -20:21]) <= 20.3
    levels = program(disc, 1, 99)
    assert sum(len(runs) for _, runs in levels) == 41 < disc.sum() // 30
    assert len(levels) == 6


def planned(shape: tuple[int, ...], sizes: tuple[int, ...], dtype: str = "uint8") -> Extremes:
    places = tuple(range(int(np.prod(sizes))))
    rank = len(sizes)
    footprint = Footprint(sizes, places, (0,) * rank, ("replicate",) * rank)
    return extremes(shape, dtype, footprint, "max", AVX512)


def test_one_code_for_all_sizes_and_shapes() -> None:
    one, two = planned((500, 700, 1), (3, 3)), planned((80, 900, 3), (1, 41))
    assert one.step.recipe == two.step.recipe
    assert one.step.recipe != planned((500, 700, 1), (3, 3), "int8").step.recipe


def test_scratch_stays_small() -> None:
    """Whatever the array's size: a patch has room in the second cache."""
    assert planned((40000, 60000, 1), (3, 3)).scratch <= 2 * AVX512.l1
    assert planned((40000, 60000, 1), (41, 41)).scratch <= 2 * AVX512.l2


@pytest.mark.parametrize("name", ["avx512", "avx2", "sse", "neon"])
def test_code_for_every_machine(name: str) -> None:
    for dtype, reduction in product(KINDS, ("max", "min")):
        for vectors, direct in ((1, True), (4, False)):
            made = ExtremesKernel(dtype=dtype, reduction=reduction, vectors=vectors, direct=direct)
            assert object_code(made, row(name))
