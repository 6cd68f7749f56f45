"""Inner products: the instructions that kernels have on each machine."""

from dataclasses import replace

import pytest

from faltung.geometry import parse
from faltung.geometry.levels import Grid
from faltung.jit.compile import object_code
from faltung.jit.llvm import assembly
from faltung.jit.target import use
from faltung.machine.detect import describe
from faltung.machine.table import AVX2, AVX512, NEON, SSE, Machine
from faltung.methods.base.correlation import contiguous
from faltung.methods.integer.inner import INNERS, PAIRS, inner_of
from faltung.plan.build_integer import build_integer


def having(machine: Machine, feature: str) -> Machine:
    """A machine with another feature, as detection makes one."""
    features = f"{machine.features},+{feature}"
    return replace(machine, features=features)


# The inner product of each, and an instruction of it.
MACHINES = {
    "avx512": (AVX512, "pmaddwd", "vpmaddwd"),
    "avx512 vnni": (having(AVX512, "avx512vnni"), "vpdpbusd", "vpdpbusd"),
    "avx2": (AVX2, "pmaddwd", "vpmaddwd"),
    "avx2 vnni": (having(AVX2, "avxvnni"), "vpdpbusd", "vpdpbusd"),
    "sse": (SSE, "pmaddwd", "pmaddwd"),
    "neon": (NEON, "pmaddwd", "smull"),
    "neon dot": (having(NEON, "dotprod"), "sdot", "sdot"),
}


@pytest.mark.parametrize("text", ["n1 c32>40 9x9 k1", "n1 c32>24 9x9 k3 p1", "n1 c64>9 1 k1"])
@pytest.mark.parametrize("name", MACHINES)
def test_kernels_have_the_instruction(name: str, text: str) -> None:
    machine, inner, instruction = MACHINES[name]
    assert inner_of(machine) is INNERS[inner]
    spec = parse(text)
    x, out = (contiguous(shape, True) for shape in (spec.input_shape, spec.output_shape))
    w = contiguous(spec.weight_shape, False)
    plan = build_integer(
        spec, x, w, out, bias=False, grid=Grid(1.0), result=Grid(0.75), machine=machine
    )
    (step,) = plan.work.steps
    assert inner in step.title
    code = assembly(step.recipe.emit(machine), machine)
    assert f"\t{instruction}" in code or f"}}\t{instruction}" in code
    assert object_code(plan.work.prepare[0].recipe, machine)


def test_minimal_filtering_is_for_levels_of_16_bits() -> None:
    spec = parse("n1 c32>24 9x9 k3 p1")
    for name, (machine, inner, _) in MACHINES.items():
        x, out = (contiguous(shape, True) for shape in (spec.input_shape, spec.output_shape))
        w = contiguous(spec.weight_shape, False)
        plan = build_integer(spec, x, w, out, bias=False, grid=Grid(1.0), machine=machine)
        assert ("F(2x2)" in plan.work.steps[0].title) == (INNERS[inner] is PAIRS), name


def test_a_processor_is_detected_with_what_it_has() -> None:
    found = describe("x86_64-unknown-linux-gnu", "znver4", AVX512.features + ",+avx512vnni")
    assert inner_of(found).name == "vpdpbusd"
    with use("sse") as machine:
        assert inner_of(machine) is PAIRS
