"""Plans for complex arrays: three (or four) real convolutions of their planes.

The gradient of a real loss L with respect to z = x + iy is dL/dx + i dL/dy, as in PyTorch (JAX uses
its conjugate). The input gradient is therefore computed with the conjugate of the weight, and the
weight gradient with the conjugate of the input.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

from faltung.geometry.conv import ConvSpec
from faltung.machine.costs import COMPLEX_PARTS_CYCLES
from faltung.methods.base.correlation import Strides, contiguous
from faltung.methods.base.step import Operand, Step, Work, relocated
from faltung.methods.copies.complex_parts import (
    FOUR,
    THREE,
    ComplexPartsKernel,
    complex_parts,
    conjugate,
)
from faltung.plan.plan import Plan, array_shapes

Layouts = Mapping[str, Strides]
REAL = {"complex64": "float32", "complex128": "float64"}


def complex_plan(
    spec: ConvSpec,
    layouts: Layouts,
    direction: str,
    make: Callable[[ConvSpec, Layouts], Plan],
    *,
    bias: bool,
    strict: bool,
) -> Plan:
    """A plan over complex arrays, whose strides are ``layouts`` of "x", "w" and "out".

    ``make`` plans a real spec over arrays with given strides. ``strict``: use four products.
    """
    scheme, dtype = FOUR if strict else THREE, REAL[spec.dtype]
    inner, shapes = replace(spec, dtype=dtype), array_shapes(spec, direction)
    shapes["bias"] = (1, spec.channels_in if direction == "input_grad" else spec.channels_out)
    strides = {
        name: contiguous(shapes[name], name != "w" and layouts[name][1] == 1) for name in layouts
    }
    plan = make(inner, strides)
    # The array that is written, and the one whose planes a layer keeps.
    result, kept = ("w", "") if direction == "weight_grad" else ("out", "w")
    planes = {"x": scheme.first, "out" if result == "w" else "w": scheme.second}
    if direction != "forward":
        changed = "x" if result == "w" else "w"
        planes[changed] = conjugate(planes[changed])
    places = _repeated(plan.work, {name: prod(shapes[name]) for name in (*layouts, "bias")},
                       len(scheme.real), inner.itemsize, kept)  # fmt: skip
    layouts, strides = {**layouts, "bias": (0, 1)}, {**strides, "bias": (0, 1)}

    def step(name: str, kernel: ComplexPartsKernel, title: str, *, barrier: bool = False) -> Step:
        """Between an array and its planes."""
        ends = (Operand(name), layouts[name]), (places[name], strides[name])
        part = prod(shapes[name])
        return complex_parts(kernel, shapes[name], *ends, part, title, barrier=barrier)

    if bias:
        planes["bias"] = scheme.bias
    for name, taken in planes.items():
        steps = plan.work.prepare if name in (kept, "bias") else plan.work.steps
        # There may be no other step in ``prepare``: a method may read weights in place.
        if prod(shapes[name]) and plan.work.steps:
            steps.insert(0, step(name, ComplexPartsKernel(dtype, taken), f"take {name} apart"))
    if prod(shapes[result]):
        join = ComplexPartsKernel(dtype, (), (scheme.real, scheme.imaginary))
        plan.work.steps.append(step(result, join, "put result together", barrier=True))
    plan.cycles = len(scheme.real) * (
        plan.cycles + COMPLEX_PARTS_CYCLES * sum(map(prod, shapes.values()))
    )
    plan.spec = spec
    return plan


def _repeated(
    work: Work, numbers: Mapping[str, int], count: int, itemsize: int, kept: str
) -> dict[str, Operand]:
    """Repeat the work ``count`` times in sequence, each time on other planes.

    Borrowed memory is shared. Returns where the planes of each array begin; ``numbers``: elements
    of one plane.
    """
    once, holds = (work.prepare[:], work.steps[:]), dict(work.kept)
    work.prepare.clear()
    work.steps.clear()
    work.kept.clear()
    places = {}
    for name, size in numbers.items():
        own = work.keep if name in (kept, "bias") else work.borrow
        places[name] = own(f"planes {name}", count * size * itemsize)
    for i in range(count):
        names = {name: Operand(name) for name in work.scratch}
        names |= {name: work.keep(name, size) for name, size in holds.items()}
        for name, size in numbers.items():
            names[name] = Operand(places[name].name, i * size * itemsize)
        for steps, again in zip((work.prepare, work.steps), once, strict=True):
            moved = [relocated(step, names) for step in again]
            steps += [replace(step, barrier=True) for step in moved[:1]] + moved[1:]
    return places
