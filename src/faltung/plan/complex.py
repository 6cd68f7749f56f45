"""Plans for complex arrays: one real convolution of three planes, or of four.

Both gradients are those of PyTorch and JAX up to a conjugate: for a real loss L of z = x + iy the
gradient is dL/dx + i dL/dy. So that for the input is taken with the conjugate weight, and that for
the weight with the conjugate input.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

from faltung.geometry.conv import ConvSpec
from faltung.methods.correlation import Strides
from faltung.methods.parts import FOUR, THREE, Parts, Planes, conjugate, parts
from faltung.methods.step import Operand, Step, relocated
from faltung.plan.plan import Plan, contiguous

Layouts = Mapping[str, Strides]
REAL = {"complex64": "float32", "complex128": "float64"}
# Cycles to take a number apart, or to put it together.
PART = 1.5


def complex_plan(
    spec: ConvSpec,
    layouts: Layouts,
    direction: str,
    make: Callable[[ConvSpec, Layouts], Plan],
    *,
    bias: bool,
    strict: bool,
) -> Plan:
    """A plan over complex arrays, with strides ``layouts`` of those named "x", "w", "out".

    ``make``: the plan of a real spec over arrays with such strides. ``strict``: four products.
    """
    scheme = FOUR if strict else THREE
    count, dtype = len(scheme.real), REAL[spec.dtype]
    inner = replace(
        spec,
        channels_in=count * spec.channels_in,
        channels_out=count * spec.channels_out,
        groups=count * spec.groups,
        dtype=dtype,
    )
    shapes, wide = _shapes(spec, direction), _shapes(inner, direction)
    strides = {
        name: contiguous(wide[name], name != "w" and layouts[name][1] == 1) for name in layouts
    }
    plan = make(inner, strides)
    result = "w" if direction == "weight_grad" else "out"
    others = {"x": scheme.first, "out" if result == "w" else "w": scheme.second}
    if direction != "forward":
        changed = "x" if result == "w" else "w"
        others[changed] = conjugate(others[changed])
    work = plan.work
    kept = "w" if result != "w" else None
    places = {}
    for name in layouts:
        own = work.keep if name == kept else work.borrow
        places[name] = Operand(own(f"planes {name}", prod(wide[name]) * inner.itemsize))
    places["bias"] = Operand(work.keep("planes bias", count * _channels(spec, direction) * 8))
    names = {name: Operand(name) for name in (*work.kept, *work.scratch)} | places
    for some in (work.prepare, work.steps):
        some[:] = [relocated(step, names) for step in some]

    def step(name: str, recipe: Parts, title: str, *, after: bool = False) -> Step:
        """Between an array and its planes, which follow each other along the channels."""
        along = 0 if name == "w" else 1
        plane = strides[name][along] * shapes[name][along]
        ends = (Operand(name), layouts[name]), (places[name], strides[name])
        return parts(recipe, shapes[name], *ends, plane, title, after=after)

    first: dict[bool, list[Step]] = {True: [], False: []}
    for name, planes in others.items():
        if prod(shapes[name]):
            first[name == kept].append(step(name, Parts(dtype, planes), f"take {name} apart"))
    if bias:
        first[True].append(_bias(spec, direction, dtype, scheme.bias, places["bias"]))
    for steps, before in ((work.prepare, first[True]), (work.steps, first[False])):
        if before and steps:
            steps[0] = replace(steps[0], after=True)
        steps[:0] = before
    if prod(shapes[result]):
        join = Parts(dtype, (), (scheme.real, scheme.imaginary))
        work.steps.append(step(result, join, "put result together", after=True))
    plan.cycles += PART * count * sum(map(prod, shapes.values()))
    plan.spec = spec
    return plan


def _bias(spec: ConvSpec, direction: str, dtype: str, planes: Planes, place: Operand) -> Step:
    channels = _channels(spec, direction)
    shape, ends = (1, channels), ((Operand("bias"), (0, 1)), (place, (0, 1)))
    return parts(Parts(dtype, planes), shape, *ends, channels, "take bias apart")


def _channels(spec: ConvSpec, direction: str) -> int:
    return spec.channels_in if direction == "input_grad" else spec.channels_out


def _shapes(spec: ConvSpec, direction: str) -> dict[str, tuple[int, ...]]:
    """Of the arrays by their names in a plan."""
    x, out = spec.input_shape, spec.output_shape
    if direction == "input_grad":
        x, out = out, x
    return {"x": x, "w": spec.weight_shape, "out": out}
