"""The local layer against its reference: exact on whole numbers, the same bits in every run."""

from dataclasses import replace

import numpy as np
import pytest
from grid import MACHINES, grid
from hypothesis import given
from laws.fences import between_fences, fenced
from methods.steps import Allocate, anywhere, as_map, between, blank, from_map, run, wide

from cases import random_specs
from faltung import reference
from faltung.geometry import ConvSpec, parse
from faltung.jit.compile import object_code
from faltung.machine.table import AVX512, NEON, Machine
from faltung.methods.base.step import Matrix, Operand, Work
from faltung.methods.local.local import (
    local_bias_grad,
    local_forward,
    local_input_grad,
    local_weight_grad,
)
from faltung.reference.local import bias_shape, weight_shape

TEXTS = [
    "n1 c1>1 1 k1",
    "n1 c1>1 9 k3",
    "n3 c2>3 5x6 k3 p1",
    "n7 c3>16 6x5 k3 p1",
    "n5 c4>17 7x6 k3x2 s2x1 p(1,0)x(0,2)",
    "n2 c5>33 8 k3 d2 p2",
    "n13 c3>8 4x4 k2 s2",
    "n4 c17>9 3x3 k3 p1",
    "n2 c6>10 9x8 k3 s2 d3 p4",
    "n2 c2>3 4x3x5 k2x3x2 p1x1x0",
    "n3 c2>4 6 k2 s5",
    "n2 c3>2 3x3 k3 d5 p5",
    "n40 c8>24 2x2 k2",
    "n0 c3>4 5x5 k3 p1",
    "n1 c2>64 3x3 k3",
    "n3 c2>5 2x2x2x2 k2 p(1,0)x0x(0,1)x1",
]
SPECS = [parse(text + kind) for text in TEXTS for kind in ("", " f64")]


def data(spec: ConvSpec) -> tuple[np.ndarray, ...]:
    """x, w, bias and output gradient of whole numbers, in the shapes of the reference."""
    rng = np.random.default_rng(0)
    shapes = (spec.input_shape, weight_shape(spec), bias_shape(spec), spec.output_shape)
    return tuple(rng.integers(-4, 5, shape).astype(spec.dtype) for shape in shapes)


def inside(w: np.ndarray, spec: ConvSpec) -> np.ndarray:
    """The weight as the kernels have it: (*output, *kernel, C_in, C_out)."""
    r = spec.rank
    return np.ascontiguousarray(w.transpose(*range(r), *range(r + 2, 2 * r + 2), r + 1, r))


def outside(w: np.ndarray, spec: ConvSpec) -> np.ndarray:
    r = spec.rank
    return w.transpose(*range(r), 2 * r + 1, 2 * r, *range(r, 2 * r))


def results(
    spec: ConvSpec,
    arrays: tuple[np.ndarray, ...],
    machine: Machine,
    extra: int = 0,
    threads: int = 2,
    bias: bool = True,
    allocate: Allocate = anywhere,
) -> list[np.ndarray]:
    """Forward, the gradients for input, weight and bias; maps ``extra`` wider."""
    x, w, b, g = arrays
    pitches = spec.channels_in + extra, spec.channels_out + 2 * extra
    x_map, g_map = (as_map(a, p, allocate) for a, p in zip((x, g), pitches, strict=True))
    w_in = allocate(w.nbytes).view(w.dtype).reshape(inside(w, spec).shape)
    w_in[...] = inside(w, spec)
    b_in = allocate(b.nbytes).view(b.dtype).reshape(b.shape)
    b_in[...] = b
    out = blank(*g_map.shape, pitches[1], x.dtype, allocate)
    grad = blank(*x_map.shape, pitches[0], x.dtype, allocate)
    w_out = allocate(w.nbytes).view(w.dtype).reshape(w_in.shape)
    b_out = allocate(b.nbytes).view(b.dtype).reshape(b_in.shape)
    work = Work()
    names = {name: Operand(name) for name in ("x", "w", "b", "g", "out", "grad", "w_out", "b_out")}
    o = names
    m = {name: Matrix(o[name], pitches[name in ("g", "out")]) for name in ("x", "g", "out", "grad")}
    local_forward(spec, work, m["x"], o["w"], o["b"] if bias else None, m["out"], machine=machine)
    local_input_grad(spec, work, m["g"], o["w"], m["grad"], machine=machine)
    local_weight_grad(spec, work, m["x"], m["g"], o["w_out"], machine=machine)
    local_bias_grad(spec, work, m["g"], o["b_out"], machine=machine)
    given = dict(zip(names, (x_map, w_in, b_in, g_map, out, grad, w_out, b_out), strict=True))
    run(work, machine, given, threads, allocate)
    for made in (out, grad):
        assert np.isnan(between(made)).all(), "written between the rows"
    return [
        from_map(out, spec.output_shape),
        from_map(grad, spec.input_shape),
        outside(w_out, spec),
        b_out,
    ]


def wanted(spec: ConvSpec, arrays: tuple[np.ndarray, ...], bias: bool = True) -> list[np.ndarray]:
    x, w, b, g = arrays
    return [
        reference.local(x, w, b if bias else None, spec),
        reference.local_input_grad(g, w, spec),
        reference.local_weight_grad(x, g, spec),
        reference.local_bias_grad(g, spec),
    ]


def compare(spec: ConvSpec, machine: Machine, **how: object) -> None:
    arrays = data(spec)
    got = results(spec, arrays, machine, **how)  # type: ignore[arg-type]
    for one, two in zip(got, wanted(spec, arrays, bool(how.get("bias", True))), strict=True):
        np.testing.assert_array_equal(one, two)


@grid(spec=SPECS, machine=MACHINES)
def test_exact(spec: ConvSpec, machine: Machine) -> None:
    compare(spec, machine)
    compare(spec, machine, extra=3, bias=False)


def test_random_problems(machine: Machine) -> None:
    @given(random_specs(max_macs=30_000, modes=("zeros",)))
    def walk(spec: ConvSpec) -> None:
        compare(replace(spec, flip=False), machine, extra=1)

    walk()


@grid(spec=SPECS)
def test_tiles_for_wide_vectors(spec: ConvSpec) -> None:
    compare(spec, wide(), extra=1)


@pytest.mark.parametrize("text", ["n7 c5>19 6x7 k3 p1", "n9 c17>5 9 k3 s2 p2 f64"])
def test_the_same_bits(text: str, machine: Machine) -> None:
    """For any number of threads, any pitch, and a sample alone."""
    spec = parse(text)
    rng = np.random.default_rng(1)
    arrays = tuple(rng.standard_normal(a.shape).astype(spec.dtype) for a in data(spec))
    first = results(spec, arrays, machine, threads=1)
    for how in ({"threads": 2}, {"threads": 3}, {"threads": 7}, {"threads": 2, "extra": 5}):
        for one, two in zip(first, results(spec, arrays, machine, **how), strict=True):
            assert one.tobytes() == two.tobytes()
    x, w, b, g = arrays
    for i in (0, 3, spec.batch - 1):
        alone = results(replace(spec, batch=1), (x[i : i + 1], w, b, g[i : i + 1]), machine)
        for one, two in zip(first[:2], alone[:2], strict=True):
            assert one[i].tobytes() == two[0].tobytes()


def test_what_a_local_layer_refuses(machine: Machine) -> None:
    grad = Matrix(Operand("g"), 4)
    for text, rule in {
        "c4>4 9 k3 flip": "flip=True: a local layer has no kernel to flip, must be False",
    }.items():
        with pytest.raises(ValueError, match=rule):
            local_bias_grad(parse(text), Work(), grad, Operand("b"), machine=machine)


@pytest.mark.parametrize("row", [AVX512, NEON], ids=lambda row: row.name)
def test_compiles_elsewhere(row: Machine) -> None:
    spec, work = parse("n20 c5>21 6 k3 p1"), Work()
    x, w = Operand("x"), Operand("w")
    local_forward(spec, work, Matrix(x, 5), w, w, Matrix(x, 21), machine=row)
    local_input_grad(spec, work, Matrix(x, 21), w, Matrix(x, 5), machine=row)
    for step in work.steps:
        assert object_code(step.recipe, row)


@between_fences(spec=SPECS, extra=[0, 3])
def test_between_fences(spec: ConvSpec, extra: int, side: str, machine: Machine) -> None:
    compare(spec, machine, extra=extra, allocate=lambda n: fenced(n, side == "after"))
