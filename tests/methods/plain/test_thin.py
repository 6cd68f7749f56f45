"""Few channels on one side, and pointwise layers: direct and spatial give the same bits."""

from dataclasses import replace
from itertools import pairwise
from math import prod

import numpy as np
import pytest
from grid import MACHINES, grid

import faltung
from faltung import reference
from faltung.geometry import parse
from faltung.machine.table import AVX2, AVX512, SSE, Machine, row
from faltung.methods.base.correlation import contiguous, forward
from faltung.methods.base.simplify import simplified
from faltung.methods.base.step import Operand, Work
from faltung.methods.copies.stage import stage_input
from faltung.methods.plain import direct, spatial
from faltung.plan.build import build_forward
from faltung.plan.choose import Policy

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


@pytest.mark.parametrize("spec", ["c80>480 14x14 k1", "c40>240 28x28 k1", "c48>104 56x56 k1 s2"])
@pytest.mark.parametrize("cores", [1, 2, 3, 8])
def test_threads_have_equally_many_positions(spec: str, cores: int) -> None:
    """Rows of tiles of two sizes used to be items of 11, 10, 10 and 2 tiles."""
    machine = replace(AVX2, cores=cores)
    question = parse(spec)
    arrays = (question.input_shape, question.output_shape)
    x, out = (contiguous(shape, True) for shape in arrays)
    w = contiguous(question.weight_shape, False)
    plan = build_forward(
        question, x, w, out, bias=False, machine=machine, policy=Policy(method="direct")
    )
    step = plan.work.steps[0]
    kernel = step.recipe
    assert isinstance(kernel, direct.DirectKernel)
    given = dict(zip(kernel.names, step.arguments, strict=True))
    cut, runs = np.asarray(given["segments"])[:, 0], np.asarray(given["runs"])
    sizes = np.array([kernel.kinds[kind].positions for kind in runs[:, 0]]) * runs[:, 1]
    of_share = np.add.reduceat(sizes, cut[:-1])
    assert of_share.sum() == prod(axis.output for axis in question.axes)
    blocks = step.items // len(of_share)
    within = kernel.order.index("block") > kernel.order.index("segment")
    every = np.repeat(of_share, blocks) if within else np.tile(of_share, blocks)
    bounds = [thread * step.items // cores for thread in range(cores + 1)]
    shares = [every[begin:end].sum() for begin, end in pairwise(bounds)]
    assert max(shares) < 1.08 * min(shares)


@grid(channels=[1, 2, 3, 4, 5, 6, 8, 12, 21], machine=[AVX512, AVX2, SSE])
def test_a_tile_of_spatial_fits_beside_its_operands(channels: int, machine: Machine) -> None:
    spec = parse(f"c8>{channels} 9x400 k3 p1")
    layouts = (contiguous(spec.input_shape, False), contiguous(spec.weight_shape, False))
    c = forward(spec, *layouts, contiguous(spec.output_shape, False))
    chosen = spatial.choose(c, machine)
    sums = chosen.channels * chosen.vectors
    assert sums + min(chosen.channels, chosen.vectors) + 2 <= machine.registers


@pytest.mark.parametrize(
    ("text", "vectors"),
    [
        ("c64>21 56x56 k1", 3),  # one block
        ("c512>512 14x14 k3 s2 p1", 3),  # rows of 7: tiles of 4 and 3
        ("c1024>2048 14x14 k1 s2", 3),
        ("c24>72 56x56 k1", 3),  # no smaller block
        ("c64>256 56x56 k1", 2),
        ("c40>104 28x28 k1", 2),  # 13 vectors: a smaller block in any case
        ("c2048>1000 1x1 k1", 5),  # no smaller block
        ("c1280>1280 1x1 k1", 8),
    ],
)
def test_vectors_of_a_block(text: str, vectors: int) -> None:
    spec = parse(text)
    layouts = (contiguous(spec.input_shape, True), contiguous(spec.weight_shape, False))
    c = simplified(forward(spec, *layouts, contiguous(spec.output_shape, True)))
    assert direct.choose(c, row("avx2")).vectors == vectors


def test_weights_of_the_next_block_are_fetched_where_blocks_follow_each_other() -> None:
    """Each line of them by some tile of the block before."""
    spec = parse("c160>960 7x7 k1")
    x, out = (contiguous(shape, True) for shape in (spec.input_shape, spec.output_shape))
    w = contiguous(spec.weight_shape, False)
    plan = build_forward(spec, x, w, out, bias=False, machine=AVX2, policy=Policy(method="direct"))
    (step,) = plan.work.steps
    kernel = step.recipe
    assert isinstance(kernel, direct.DirectKernel)
    given = dict(zip(kernel.names, step.arguments, strict=True))
    cut, runs = np.asarray(given["segments"])[:, 0], np.asarray(given["runs"])
    lines, share = given["fetched_lines"], given["share_tiles"]
    fetched = set()
    for segment, (begin, end) in enumerate(pairwise(cut.tolist())):
        tiles = runs[begin:end, 1].sum()
        first = segment * share * lines
        fetched |= set(range(first, first + tiles * lines))
    assert fetched >= set(range(160 * 16 * 4 // 64))
    assert max(fetched) < 2 * (160 * 16 * 4 // 64)
