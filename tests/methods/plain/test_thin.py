"""Few channels on one side, and pointwise layers: direct and spatial give the same bits."""

import numpy as np
import pytest
from grid import MACHINES, grid

import faltung
from faltung import reference
from faltung.codegen.tile import split
from faltung.geometry import parse
from faltung.geometry.axis import Axis
from faltung.machine.table import AVX2, AVX512, SSE, Machine, row
from faltung.methods.base.correlation import Window, contiguous, forward
from faltung.methods.base.step import Operand, Work
from faltung.methods.base.tiles import kinds_of, segments, tiles_of
from faltung.methods.copies.stage import stage_input
from faltung.methods.plain import direct, spatial

THIN = [
    "n2 c1>1 19x45 k5 p2",
    "n1 c16>1 9x70 k3 p1",
    "n1 c16>2 9x70 k3 p1",
    "n2 c16>3 9x70 k3 p1",
    "n1 c6>5 7x41 k3 p1",
    "n1 c3>21 17x17 k3 s2 p1",
    "n3 c64>21 6x7 k1",
    "n1 c96>40 13x5 k1 s2",
    "n2 c6>9 11x11 k1",
    "n1 c1>16 5x6x9 k3 p1",
    "n5 c130>67 1x1 k1",
]


def test_a_copy_of_the_input_keeps_channels_row_by_row() -> None:
    """Maps of channels a power of two apart, as here, would share one set of a cache."""
    spec = parse("n1 c16>1 64x64x62 k3 p1")
    shapes = spec.input_shape, spec.weight_shape, spec.output_shape
    c = forward(spec, *(contiguous(shape, True) for shape in shapes))
    made, _ = stage_input(c, Work(), Operand("x"), channels_last=False)
    assert made.x == (64 * 64 * 16 * 64, 16 * 64, 64)
    assert [w.x for w in made.windows] == [64 * 16 * 64, 16 * 64, 1]


def arrays(text: str, dtype: str, whole: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    spec, draw = parse(text), np.random.default_rng(7)
    shapes = spec.input_shape, spec.weight_shape, (spec.channels_out,)
    made = [draw.integers(-8, 9, s) if whole else draw.standard_normal(s) for s in shapes]
    x, w, b = (array.astype(dtype) for array in made)
    return x, w, b


def conv(text: str, x: np.ndarray, w: np.ndarray, b: np.ndarray, method: str) -> np.ndarray:
    spec = parse(text)
    pads = tuple((axis.lo, axis.hi) for axis in spec.axes)
    return faltung.conv(x, w, b, stride=spec.stride, padding=pads, method=method)


@grid(text=THIN, dtype=["float32", "float64"], machine=MACHINES)
def test_whole_numbers_are_exact_and_all_bits_are_the_same(
    text: str, dtype: str, machine: Machine
) -> None:
    x, w, b = arrays(text, dtype, whole=True)
    want = reference.conv(x, w, b, parse(text))
    x2, w2, b2 = arrays(text, dtype, whole=False)
    bits = conv(text, x2, w2, b2, "direct")
    for method in ("direct", "spatial"):
        np.testing.assert_array_equal(conv(text, x, w, b, method), want)
        np.testing.assert_array_equal(conv(text, x2, w2, b2, method), bits)
        one = conv(text, x2[:1], w2, b2, method)
        np.testing.assert_array_equal(one, bits[:1])


@pytest.mark.parametrize("count", [1, 7, 16, 17, 33, 131])
def test_items_take_equally_long(count: int) -> None:
    window = Window(Axis(6 * count, 1), 1, 1, (0,))
    tiles = tiles_of(window.axis, split(6 * count, 6), True)
    made = segments(tiles, kinds_of(tiles), window)
    assert made[:, 1].sum() == count
    assert made[:, 1].max() - made[:, 1].min() <= 1
    np.testing.assert_array_equal(made[:, 2], np.cumsum([0, *made[:-1, 1]]) * 6)


@grid(channels=[1, 2, 3, 4, 5, 6, 8, 12, 21], machine=[AVX512, AVX2, SSE])
def test_a_tile_of_spatial_fits_beside_its_operands(channels: int, machine: Machine) -> None:
    spec = parse(f"c8>{channels} 9x400 k3 p1")
    layouts = (contiguous(spec.input_shape, False), contiguous(spec.weight_shape, False))
    c = forward(spec, *layouts, contiguous(spec.output_shape, False))
    chosen = spatial.choose(c, machine)
    sums = chosen.channels * chosen.vectors
    assert sums + min(chosen.channels, chosen.vectors) + 2 <= machine.registers


def test_three_vectors_are_one_block() -> None:
    spec = parse("c64>21 56x56 k1")
    layouts = (contiguous(spec.input_shape, True), contiguous(spec.weight_shape, False))
    c = forward(spec, *layouts, contiguous(spec.output_shape, True))
    assert direct.choose(c, row("avx2")).vectors == 3
