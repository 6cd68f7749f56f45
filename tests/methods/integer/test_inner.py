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
from faltung.methods.base.step import Step
from faltung.methods.integer.inner import BYTES, INNERS, PAIRS, inner_of
from faltung.plan.build_integer import build_integer


def having(machine: Machine, feature: str) -> Machine:
    """A machine with another feature, as detection makes one."""
    features = f"{machine.features},+{feature}"
    return replace(machine, features=features)


# The inner product of each, and an instruction of it.
MACHINES = {
    "avx512": (AVX512, "pmaddubsw", "vpmaddubsw"),
    "avx512 vnni": (having(AVX512, "avx512vnni"), "vpdpbusd", "vpdpbusd"),
    "avx2": (AVX2, "pmaddubsw", "vpmaddubsw"),
    "avx2 vnni": (having(AVX2, "avxvnni"), "vpdpbusd", "vpdpbusd"),
    "sse": (SSE, "pmaddwd", "pmaddwd"),
    "neon": (NEON, "pmaddwd", "smull"),
    "neon dot": (having(NEON, "dotprod"), "sdot", "sdot"),
}


LONG, MINIMAL, ALONE = "n1 c64>40 9x9 k1", "n1 c32>24 9x9 k3 p1", "n1 c64>9 1 k1"


def step_of(text: str, machine: Machine, narrow: bool = True) -> Step:
    spec = parse(text)
    x, out = (contiguous(shape, True) for shape in (spec.input_shape, spec.output_shape))
    w = contiguous(spec.weight_shape, False)
    plan = build_integer(
        spec,
        x,
        w,
        out,
        bias=False,
        grid=Grid(1.0),
        result=Grid(0.75),
        machine=machine,
        narrow=narrow,
    )
    assert object_code(plan.work.prepare[0].recipe, machine)
    (step,) = plan.work.steps
    return step


@pytest.mark.parametrize("text", [LONG, MINIMAL, ALONE])
@pytest.mark.parametrize("name", MACHINES)
def test_kernels_have_the_instruction(name: str, text: str) -> None:
    machine, inner, instruction = MACHINES[name]
    assert inner_of(machine) is INNERS[inner]
    if INNERS[inner] is BYTES and text != LONG:
        inner, instruction = "pmaddwd", "vpmaddwd"
    step = step_of(text, machine)
    assert f", {inner}" in step.title
    code = assembly(step.recipe.emit(machine), machine)
    assert f"\t{instruction}" in code


def test_products_of_bytes_are_for_weights_of_7_bits() -> None:
    assert ", pmaddubsw" in step_of(LONG, AVX2).title
    assert ", pmaddwd" in step_of(LONG, AVX2, narrow=False).title


@pytest.mark.parametrize("name", MACHINES)
def test_minimal_filtering_is_for_products_of_16_bits(name: str) -> None:
    machine, inner, _ = MACHINES[name]
    minimal = "F(2x2)" in step_of(MINIMAL, machine).title
    assert minimal == (INNERS[inner] in (BYTES, PAIRS))


def test_a_processor_is_detected_with_what_it_has() -> None:
    found = describe("x86_64-unknown-linux-gnu", "znver4", AVX512.features + ",+avx512vnni")
    assert inner_of(found).name == "vpdpbusd"
    with use("sse") as machine:
        assert inner_of(machine) is PAIRS
