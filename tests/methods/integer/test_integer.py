"""Integer convolution against whole numbers: every geometry, to the last bit, on every machine."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from grid import MACHINES, grid
from hypothesis import given
from hypothesis import strategies as st
from laws.fences import POSIX, SIDES, fenced
from methods.integer.runs import computed, finished, floats, levels, weights, whole_sum

from cases import CASES, Case, random_specs
from faltung.geometry import ConvSpec, parse
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import maximum, operand
from faltung.geometry.levels import Grid
from faltung.jit.target import host
from faltung.machine.table import Machine
from faltung.methods.base.correlation import contiguous
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.integer.inner import INNERS
from faltung.plan.build_integer import build_integer

UNSIGNED, SIGNED = Grid(0.375, 7), Grid(0.25, -3, -128, 127)
SUM, SCALE = operand(0), operand(1)
# The sum times a scale for each channel, with a map added, not below zero.
RESIDUAL = Epilogue(maximum(SUM * SCALE + operand(2), 0.0), 2)


def check(
    spec: ConvSpec,
    machine: Machine,
    where: Grid,
    result: Grid | None,
    inner: str,
    aux: Grid | None = None,
    **given: Any,
) -> None:
    """The result of random levels, with a scale and a residual."""
    rng = np.random.default_rng(len(str(spec)))
    x, w = levels(rng, where, spec.input_shape), weights(rng, spec.weight_shape)
    bias = rng.integers(-(10**5), 10**5, spec.channels_out)
    scale = (rng.uniform(0.5, 2, spec.channels_out) * 2.0**-9).astype(np.float32)
    other = rng.standard_normal(spec.output_shape).astype(np.float32)
    if aux is not None:
        other = levels(rng, aux, spec.output_shape)
    total, grids = whole_sum(spec, where, x, w, bias), (None, aux)
    vector = scale.reshape(-1, *(1,) * spec.rank)
    want = finished(total, RESIDUAL, [vector, other], grids, result)
    named = {"result": result, "epilogue": RESIDUAL, "aux": (scale, other), "grids": grids}
    got = computed(spec, machine, where, x, w, bias, inner=INNERS[inner], **named, **given)
    np.testing.assert_array_equal(got, want)


@grid(
    every=960,
    case=CASES,
    machine=MACHINES,
    x=[UNSIGNED, SIGNED],
    result=[None, UNSIGNED, SIGNED],
    inner=list(INNERS),
    threads=[1, 3],
)
def test_table(
    case: Case, machine: Machine, x: Grid, result: Grid | None, inner: str, threads: int
) -> None:
    aux = None if threads == 1 else UNSIGNED
    check(floats(case.spec), machine, x, result, inner, aux, threads=threads, pitch=3)


# Minimal filtering at odd sizes, in more axes, with any padding, and flipped; many channels;
# depthwise ones. In chunks of few outputs, and slices of few channels.
SPECIAL = [
    "n2 c13>20 7x9 k3 p1",
    "n1 c16>33 2x3 k3 p1",
    "n1 c33>16 11x5 k3",
    "n1 c12>12 5x6x7 k3 p1",
    "n1 c12>40 7x6x5 k2x3x3 s2x1x1 p1x1x1",
    "n1 c17>12 8x9 k3 p1 m:reflect,circular flip",
    "n1 c14>18 6x7 k3 p(2,0)x(0,2)",
    "n3 c130>70 5x4 k1",
    "n1 c3>24 21x20 k7 s2 p3",
    "n1 c150>150 9x8 k3 p1 g150",
    "n2 c72>72 12x11 k5 s2 p2 g72",
    "n1 c70>70 30 k3 p1 g70",
]


@grid(text=SPECIAL, machine=MACHINES, small=[False, True], x=[UNSIGNED, SIGNED], every=6)
def test_methods_of_some_layers(text: str, machine: Machine, small: bool, x: Grid) -> None:
    here = replace(machine, l2=12 << 10, cores=3) if small else machine
    check(parse(text), here, x, SIGNED, "pmaddwd", UNSIGNED, threads=3, pitch=2)


@POSIX
@pytest.mark.memory
@grid(
    text=[*SPECIAL, "n1 c4>4 33 k33"],
    machine=MACHINES,
    inner=list(INNERS),
    side=SIDES,
    in_child=True,
    every=24,
)
def test_nothing_is_touched_beside_the_arrays(
    text: str, machine: Machine, inner: str, side: str
) -> None:
    def allocate(size: int) -> np.ndarray:
        return fenced(size, side == "after")

    spec = floats(parse(text))
    check(spec, machine, UNSIGNED, SIGNED, inner, UNSIGNED, threads=2, allocate=allocate)


@POSIX
@pytest.mark.memory
@grid(machine=MACHINES, inner=list(INNERS), in_child=True, every=1)
def test_nor_by_one_output_alone(machine: Machine, inner: str) -> None:
    """Whose weights are read once, so that they are packed in 8 bits where they can be."""

    def allocate(size: int) -> np.ndarray:
        return fenced(size, True)

    check(floats(parse("n1 c4>4 33 k33")), machine, UNSIGNED, SIGNED, inner, allocate=allocate)


@given(random_specs(max_macs=100_000), st.sampled_from(list(INNERS)), st.sampled_from([0, 5]))
def test_any_geometry(spec: ConvSpec, inner: str, pitch: int) -> None:
    check(floats(spec), host(), SIGNED, UNSIGNED, inner, pitch=pitch)


@grid(inner=list(INNERS), machine=MACHINES, levels=[UNSIGNED, SIGNED], every=1)
def test_the_largest_products(inner: str, machine: Machine, levels: Grid) -> None:
    """Pairs that saturate 16 bits, and long sums of the largest terms."""
    spec = parse("n1 c70>9 3x3 k3 p1")
    for level in (levels.low, levels.high):
        for weight in (-128, 127):
            x = np.full(spec.input_shape, level, levels.stored)
            w = np.full(spec.weight_shape, weight, np.float32)
            want = whole_sum(spec, levels, x, w, None)
            got = computed(spec, machine, levels, x, w, inner=INNERS[inner])
            np.testing.assert_array_equal(got, want.astype(np.float32))


@pytest.mark.parametrize("weight", [-128, 127])
def test_the_largest_sums_of_minimal_filtering(weight: int) -> None:
    """Its components are the largest where the signs of levels alternate."""
    spec = parse("n1 c1500>9 4x4 k3 p1")
    level = np.indices((4, 4)).sum(0) % 2 * 255
    x = np.broadcast_to(level, spec.input_shape).astype(np.uint8)
    w = np.full(spec.weight_shape, weight, np.float32)
    for zero in (0, 255):
        where = Grid(1.0, zero)
        got = computed(spec, host(), where, x, w, inner=INNERS["pmaddwd"])
        np.testing.assert_array_equal(got, whole_sum(spec, where, x, w, None).astype(np.float32))


def test_sums_wrap_modulo_two_to_the_32() -> None:
    spec = parse("n1 c2>3 4x4 k1")
    x, w = np.full(spec.input_shape, 255, np.uint8), np.full(spec.weight_shape, 127, np.float32)
    bias = np.array([2**31 - 128, -(2**31), 0])
    got = computed(spec, host(), Grid(1.0), x, w, bias)
    total = (255 * 127 * 2 + bias).astype(np.int64).astype(np.int32).astype(np.float32)
    np.testing.assert_array_equal(got, np.broadcast_to(total.reshape(1, 3, 1, 1), got.shape))


@pytest.mark.parametrize("size", [10, 45, 64, 65, 128])
def test_large_and_small_weights_in_any_mixture(size: int) -> None:
    """Products of bytes take neighbours of 128 together at once, and others by two steps."""
    spec, rng = parse("n1 c70>45 6x7 k1"), np.random.default_rng(size)
    x = levels(rng, UNSIGNED, spec.input_shape)
    x[..., 0] = 255
    w = rng.integers(-size, min(size, 127), spec.weight_shape, endpoint=True).astype(np.float32)
    for zero, stored in ((7, UNSIGNED), (-128, SIGNED)):
        where = replace(stored, zero=zero)
        given = (x.astype(np.int16) + where.low).astype(where.stored)
        got = computed(spec, host(), where, given, w, inner=INNERS["pmaddubsw"])
        want = whole_sum(spec, where, given, w, None).astype(np.float32)
        np.testing.assert_array_equal(got, want)


def test_weights_of_8_bits_are_those_in_float32() -> None:
    spec, rng = parse("n2 c5>11 6x5 k3 p1"), np.random.default_rng(3)
    x, w = levels(rng, UNSIGNED, spec.input_shape), weights(rng, spec.weight_shape)
    both = [
        computed(spec, host(), UNSIGNED, x, w.astype(dtype), weights=dtype)
        for dtype in ("float32", "int8")
    ]
    np.testing.assert_array_equal(*both)


@pytest.mark.parametrize("scale", [1.0, 0.75, 3 * 2.0**-9, 0.1, 2.0**-140, 1e30])
@pytest.mark.parametrize("bounds", [(0, 255), (3, 17), (-128, 127), (-5, -2)])
def test_what_is_stored_is_rounded_to_even_within_the_bounds(
    scale: float, bounds: tuple[int, int]
) -> None:
    """Sums are halves of the scale of what is stored; far beyond its bounds, and infinite ones."""
    spec, rng = parse("n1 c4>13 9x9 k1"), np.random.default_rng(4)
    x, w = levels(rng, UNSIGNED, spec.input_shape), weights(rng, spec.weight_shape)
    result = Grid(scale, 1 if bounds[1] > 0 else -3, *bounds)
    with np.errstate(all="ignore"):
        for factor in (0.5, 0.25, 1e-6, 1e38):
            epilogue = Epilogue(SUM * float(np.float32(factor * scale)))
            want = finished(whole_sum(spec, UNSIGNED, x, w, None), epilogue, (), (), result)
            got = computed(spec, host(), UNSIGNED, x, w, epilogue=epilogue, result=result)
            np.testing.assert_array_equal(got, want)


def test_products_are_rounded_before_they_are_added() -> None:
    """Also where the machine multiplies and adds at once."""
    spec, rng = parse("n1 c3>16 8x8 k1"), np.random.default_rng(5)
    x, w = levels(rng, UNSIGNED, spec.input_shape), weights(rng, spec.weight_shape)
    epilogue = Epilogue(SUM * 0.1 + 0.3)
    total = whole_sum(spec, UNSIGNED, x, w, None).astype(np.float32)
    want = total * np.float32(0.1) + np.float32(0.3)
    fused = (total.astype(np.float64) * np.float32(0.1) + np.float32(0.3)).astype(np.float32)
    assert (want != fused).any(), "would not tell"
    got = computed(spec, host(), UNSIGNED, x, w, epilogue=epilogue)
    np.testing.assert_array_equal(got, want)


def test_a_residual_may_be_overwritten() -> None:
    """The output itself is read by the formula, as in an arena."""
    spec, rng = parse("n1 c8>20 7x7 k3 p1"), np.random.default_rng(6)
    x, w = levels(rng, UNSIGNED, spec.input_shape), weights(rng, spec.weight_shape)
    epilogue = Epilogue(SUM * 2.0**-8 + operand(1), 1)
    other = levels(rng, UNSIGNED, spec.output_shape)
    total = whole_sum(spec, UNSIGNED, x, w, None)
    want = finished(total, epilogue, [other], [UNSIGNED], UNSIGNED)
    got = computed(
        spec, host(), UNSIGNED, x, w, epilogue=epilogue, aux=[other], grids=[UNSIGNED],
        result=UNSIGNED, inplace=True,
    )  # fmt: skip
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("text", ["n5 c24>24 7x6 k3 p1", "n5 c40>7 1x1 k1", "n5 c9>9 6 k3 g9"])
def test_a_sample_has_the_same_bits_alone_and_in_a_batch(text: str) -> None:
    spec, rng = parse(text), np.random.default_rng(7)
    x, w = levels(rng, UNSIGNED, spec.input_shape), weights(rng, spec.weight_shape)
    epilogue = Epilogue(SUM * 0.1)
    given = {"epilogue": epilogue, "result": SIGNED}
    every = computed(spec, host(), UNSIGNED, x, w, threads=3, **given)
    for i in range(spec.batch):
        alone = computed(replace(spec, batch=1), host(), UNSIGNED, x[i : i + 1], w, **given)
        np.testing.assert_array_equal(every[i : i + 1], alone)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"grid": Grid(1.0, 0, 0, 256)}, "levels of 8 bits"),
        ({"grid": Grid(SUM)}, "a number as its scale"),
        ({"grid": Grid(1.0), "result": Grid(1.0, 0, -1, 200)}, "levels of 8 bits"),
        ({"grid": Grid(1.0), "epilogue": RESIDUAL}, "as many as"),
        ({"grid": Grid(1.0), "out": contiguous((1, 4, 5, 5), False)}, "must be contiguous"),
    ],
)
def test_bad_arguments(given: dict[str, object], message: str) -> None:
    spec = parse("n1 c3>4 5x5 k1")
    out = given.pop("out", contiguous(spec.output_shape, True))
    x, w = contiguous(spec.input_shape, True), contiguous(spec.weight_shape, False)
    with pytest.raises(FaltungError, match=message):
        build_integer(spec, x, w, out, bias=False, machine=host(), **given)  # type: ignore[arg-type]
