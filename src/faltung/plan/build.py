"""Builds plans: a spec and the layouts of its arrays become steps, with the reasons."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from faltung.codegen.vectors import ELEMENTS
from faltung.geometry.adjoint import input_grad, unpadded
from faltung.geometry.conv import ConvSpec
from faltung.geometry.errors import FaltungError
from faltung.machine.table import Machine
from faltung.methods.base.addresses import offsets
from faltung.methods.base.correlation import (
    Correlation,
    Strides,
    contiguous,
    forward,
    input_grad_phase,
    input_grad_whole,
)
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.base.step import MISSING, Arrays, Operand, Step, Work, shifted
from faltung.methods.base.update import Update
from faltung.methods.copies.copy import copy
from faltung.methods.copies.fold import fold
from faltung.methods.copies.stage import rearrange, stage_grad, stage_input
from faltung.methods.grouped import upsampled
from faltung.plan.choose import (
    AUTO,
    FORWARD,
    WEIGHT_GRAD,
    Policy,
    choose,
    choose_weight_grad,
)
from faltung.plan.complex import REAL, complex_plan
from faltung.plan.offer import Candidate, price
from faltung.plan.plan import Plan
from faltung.plan.stored import stored


def build_forward(
    spec: ConvSpec,
    x: Strides,
    w: Strides,
    out: Strides,
    *,
    bias: bool,
    machine: Machine,
    epilogue: Epilogue | None = None,
    aux: Sequence[Strides] = (),
    rings: tuple[int, int] = (0, 0),
    policy: Policy = AUTO,
) -> Plan:
    """Plan the convolution of arrays with these strides, in elements, in the order N, C, *space.

    ``epilogue``: what to store instead of the sum with its bias. It reads the arrays "aux0",
    "aux1", ... with strides ``aux`` and the shape of the output (a stride of 0 repeats one entry
    along an axis). One of them may be the output itself, with the same strides. ``rings``: for how
    many rows of the input and of the output there is memory (``Window``), 0 for all: then a plain
    sum is planned, whatever the policy. ValueError: not as many arrays as the epilogue reads.
    """
    if spec.dtype not in ELEMENTS:
        layouts = {"x": x, "w": w, "out": out}
        return _of_parts(build_forward, spec, layouts, bias=bias, machine=machine, policy=policy)
    work = Work(packs=policy.packs)
    plan = Plan(spec, "forward", machine, work, [], 0.0, len(_checked(epilogue, aux)))
    arrays = Arrays(
        Operand("x"), Operand("w"), Operand("out"), Operand("bias") if bias else None, _aux(plan)
    )
    c = replace(forward(spec, x, w, out, epilogue, aux), placed=policy.placed)
    if policy.tiles:
        windows = zip(c.windows, policy.tiles, strict=True)
        c = replace(c, windows=tuple(replace(window, tile=tile) for window, tile in windows))
    if any(rings):
        rows, *others = c.windows
        rows = replace(rows, x_ring=rings[0], out_ring=rings[1])
        c, policy = replace(c, windows=(rows, *others)), replace(policy, precision="strict")
    _correlate(plan, c, arrays, "forward", policy)
    return plan


def _of_parts(
    build: Callable[..., Plan], spec: ConvSpec, layouts: Mapping[str, Strides], **given: Any
) -> Plan:
    """Plans for a dtype that vectors do not hold: float32 or float64, with conversions around."""
    direction = build.__name__.removeprefix("build_")

    def make(spec: ConvSpec, layouts: Mapping[str, Strides]) -> Plan:
        return build(spec, *layouts.values(), **given)

    if spec.dtype not in REAL:
        return stored(spec, layouts, "w" if direction == "weight_grad" else "out", make)
    bias, strict = given.get("bias", False), given["policy"].precision == "strict"
    return complex_plan(spec, layouts, direction, make, bias=bias, strict=strict)


def _checked(epilogue: Epilogue | None, aux: Sequence[Strides]) -> Sequence[Strides]:
    expected = 0 if epilogue is None else epilogue.aux
    if len(aux) != expected:
        raise FaltungError(
            f"aux={aux}: must be the strides of {expected} arrays, as the epilogue reads"
        )
    return aux


def _aux(plan: Plan) -> tuple[Operand, ...]:
    return tuple(Operand(f"aux{i}") for i in range(plan.aux))


def _correlate(plan: Plan, c: Correlation, arrays: Arrays, title: str, policy: Policy) -> None:
    """Choose a method for ``c``, copy its input if the method needs that, and add the steps."""
    if c.batch == 0:
        return
    decision = choose(c, plan.machine, policy, bias=arrays.bias is not None)
    c, best = decision.c, decision.best
    plan.reasons.append(
        (f"{title}{', samples side by side' * decision.beside}", decision.candidates)
    )
    plan.cycles += best.cycles
    staged = best.stage is not None
    if staged:
        c, x = stage_input(c, plan.work, arrays.x, channels_last=best.stage == "channels_last")
        arrays = replace(arrays, x=x)
    FORWARD[best.name].plan(c, plan.machine, plan.work, arrays, staged)


def fuses_input_grad(spec: ConvSpec) -> bool:
    """Whether the input gradient can have an epilogue, because each of its elements is one sum.

    That is not so where a stride leaves inputs that no output reads, or borders are folded back.
    """
    return unpadded(spec) == spec and all(phase.spec is not None for phase in input_grad(spec))


def build_input_grad(
    spec: ConvSpec,
    grad: Strides,
    w: Strides,
    out: Strides,
    *,
    bias: bool,
    machine: Machine,
    epilogue: Epilogue | None = None,
    aux: Sequence[Strides] = (),
    policy: Policy = AUTO,
) -> Plan:
    """Plan the input gradient; ``bias`` adds to its channels, as in a transposed convolution.

    With a padding mode other than zeros, the gradient is computed on the padded array and its
    borders are folded back; the caller then adds the bias. ``epilogue``, ``aux``: as for
    ``build_forward``, with the shape of the gradient. ValueError: an epilogue although
    ``fuses_input_grad`` is False.
    """
    if epilogue is not None and not fuses_input_grad(spec):
        raise FaltungError(f"epilogue={epilogue}: must be None where fuses_input_grad is False")
    if spec.dtype not in ELEMENTS:
        layouts = {"x": grad, "w": w, "out": out}
        return _of_parts(build_input_grad, spec, layouts, bias=bias, machine=machine, policy=policy)
    if policy.placed:  # which taps a phase has depends on what is there of it
        policy = replace(policy, precision="strict")
    work = Work(packs=policy.packs)
    plan = Plan(spec, "input_grad", machine, work, [], 0.0, len(_checked(epilogue, aux)))
    whole = unpadded(spec)
    folds = whole != spec
    result, target = Operand("out"), out
    if folds:
        shape = whole.input_shape
        target = contiguous(shape, channels_last=out[1] == 1)
        result = plan.work.borrow("padded", prod(shape) * spec.itemsize)
    given = Operand("bias") if bias and not folds else None
    arrays = Arrays(Operand("x"), Operand("w"), result, given, _aux(plan))
    phases = input_grad(whole) if spec.batch else ()
    steps = plan.work.steps
    if any(phase.spec is None for phase in phases):
        steps.append(_filled(whole, arrays, target))
    filled = len(steps)
    if policy.method in ("auto", "depthwise") and upsampled.concerns(whole, phases):
        c = input_grad_whole(whole, grad, w, target, epilogue, aux)
        if upsampled.applies(c, machine):
            _at_once(plan, c, arrays)
            phases = ()
    for phase in phases:
        if phase.spec is not None:
            c = input_grad_phase(whole, phase, grad, w, target, epilogue, aux)
            title = "phase " + "x".join(str(part.start) for part in phase.axes)
            _correlate(plan, c, arrays, title, policy)
    if filled and len(steps) > filled:
        steps[filled] = replace(steps[filled], barrier=True)
    if folds and spec.batch:
        _fold_back(plan, spec, result, target, out)
    return plan


def _at_once(plan: Plan, c: Correlation, arrays: Arrays) -> None:
    """All phases in one pass."""
    method, machine = FORWARD["depthwise"], plan.machine
    cycles = method.cost(c, machine)
    offer = Candidate("depthwise", None, cycles, price(method, c, machine, cycles))
    plan.reasons.append(("all phases", [offer]))
    plan.cycles += cycles
    method.plan(c, machine, plan.work, arrays, False)


def _filled(spec: ConvSpec, arrays: Arrays, out: Strides) -> Step:
    """Store the bias, or zeros, everywhere: a phase without taps has no correlation to do it."""
    if arrays.bias is not None:
        source = (0, 1, *(0 for _ in spec.axes))
        return rearrange(
            spec.dtype, spec.input_shape, arrays.bias, source, arrays.out, out, "fill with bias"
        )
    sizes = spec.input_shape
    long = max(range(len(sizes)), key=lambda i: (out[i] == 1, sizes[i]))
    rest = [i for i in range(len(sizes)) if i != long]
    to = offsets([sizes[i] for i in rest], [out[i] for i in rest])
    runs = (
        [(MISSING, 0, sizes[long])]
        if out[long] == 1
        else [(MISSING, i * out[long], 1) for i in range(sizes[long])]
    )
    return copy(
        spec.dtype,
        arrays.out,
        arrays.out,
        np.stack([0 * to, to], axis=1),
        runs,
        title="fill with zeros",
    )


def _fold_back(plan: Plan, spec: ConvSpec, padded: Operand, strides: Strides, out: Strides) -> None:
    """Fold all axes whose mode is not zeros, then copy what is between the borders."""
    shape = list(unpadded(spec).input_shape)
    order = sorted(range(len(shape)), key=lambda i: (-strides[i], i))
    inside = padded
    for i, axis in enumerate(spec.axes, start=2):
        if axis.mode == "zeros":
            continue
        place = order.index(i)
        outer, inner = (
            prod(shape[j] for j in part) for part in (order[:place], order[place + 1 :])
        )
        plan.work.steps.append(fold(spec.dtype, padded, axis, outer, inner))
        inside = shifted(inside, axis.lo * strides[i], spec.dtype)
    plan.work.steps.append(
        rearrange(
            spec.dtype,
            spec.input_shape,
            inside,
            strides,
            Operand("out"),
            out,
            "take off borders",
            barrier=True,
        )
    )


def build_weight_grad(
    spec: ConvSpec,
    x: Strides,
    grad: Strides,
    w: Strides,
    *,
    machine: Machine,
    policy: Policy = AUTO,
    update: Update | None = None,
) -> Plan:
    """Plan the weight gradient, stored to an array with strides ``w``, in elements.

    update: what is done with it instead of storing it, in arrays with the same strides, if the
    method can: its steps then have the operand "parameter". Partial sums are stored all the same.
    """
    if spec.dtype not in ELEMENTS:
        layouts = {"x": x, "out": grad, "w": w}
        return _of_parts(build_weight_grad, spec, layouts, machine=machine, policy=policy)
    plan = Plan(spec, "weight_grad", machine, Work(), [], 0.0)
    arrays = Arrays(Operand("x"), Operand("w"), Operand("out"))
    decision = choose_weight_grad(forward(spec, x, w, grad), machine, policy)
    c, best = decision.c, decision.best
    # An empty batch has no tiles to transform: its zeros are written by a sum.
    empty = c.batch == 0 and WEIGHT_GRAD[best.name].transform
    method = WEIGHT_GRAD["direct" if empty else best.name]
    if update is not None and c.batch and best.stage is None and method.fuses_update(c, machine):
        arrays = replace(arrays, update=update)
    plan.cycles = best.cycles
    plan.reasons.append(("sums", decision.candidates))
    barrier = False
    if c.batch and best.stage is not None:
        last = best.stage == "channels_last"
        c, copied = stage_input(c, plan.work, arrays.x, channels_last=last)
        arrays, barrier = replace(arrays, x=copied), True
    if c.batch and method.needs_channels_last(c, machine):
        c, copied = stage_grad(c, plan.work, arrays.out)
        arrays, barrier = replace(arrays, out=copied), True
    method.plan(c, machine, plan.work, arrays, barrier)
    return plan
