"""Plans of poolings over arrays of any strides.

Maps with channels last and planes with channels first are read and written where they are; others
are rearranged before and after.
"""

from math import prod

from faltung.geometry.conv import ConvSpec
from faltung.geometry.pool import PoolSpec
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Strides
from faltung.methods.base.step import Matrix, Operand, Work
from faltung.methods.pool import pool
from faltung.methods.pool.planes import (
    backward_axis,
    forward_axis,
    planes_max_grad,
    planes_mean_grad,
    planes_pitch,
    planes_pool,
)
from faltung.plan.maps import map_pitch, read_map, target_map, written_map
from faltung.plan.plan import Plan

# A tap of a vector takes about this many cycles, and these are the bytes that come from the second
# cache in one: what is below ``ALONE`` is not worth a hand-over.
TAP_CYCLES = 0.5
BYTES_PER_CYCLE = 16

# The input stands in the place of "x", the result in that of "out", the indices in that of "w".


def build_pool(
    spec: PoolSpec, x: Strides, out: Strides, index: Strides | None, machine: Machine
) -> Plan:
    """The maxima or means of the windows; index: where the places of the maxima are asked for."""
    work = Work()
    shape = spec.output_shape
    planes = _planes(("x", spec.input_shape, x), ("out", shape, out), ("w", shape, index))
    if planes and forward_axis(spec).segment(machine, spec.dtype):
        work.steps.append(planes_pool(spec, *planes, machine=machine))
        return _made(spec, f"{spec.kind} pool", machine, work)
    source = read_map(work, "x", spec.input_shape, x, spec.dtype)
    target = target_map(work, shape, out, spec.dtype)
    staged = bool(work.steps)
    if spec.kind == "average":
        pool.average_pool(spec, work, source, target, machine=machine, barrier=staged)
    else:
        places = (shape, index or (), spec.dtype, "w")
        chosen = target_map(work, *places, compact=True) if index else None
        pool.max_pool(
            *(spec, work, source, target, None if chosen is None else chosen.array),
            machine=machine,
            positions=True,
            barrier=staged,
        )
        if chosen is not None:
            written_map(work, chosen, *places)
    written_map(work, target, shape, out, spec.dtype)
    return _made(spec, f"{spec.kind} pool", machine, work)


def build_pool_grad(
    spec: PoolSpec, grad: Strides, out: Strides, index: Strides | None, machine: Machine
) -> Plan:
    """The gradient for the input; the output gradient stands in the place of the input."""
    work = Work()
    shape = spec.output_shape
    planes = _planes(("x", shape, grad), ("out", spec.input_shape, out), ("w", shape, index))
    if planes and (index is not None or backward_axis(spec).segment(machine, spec.dtype)):
        if index is None:
            planes_mean_grad(spec, work, *planes, machine=machine)
        else:
            work.steps.append(planes_max_grad(spec, planes[0], planes[2], planes[1]))
        return _made(spec, f"{spec.kind} pool gradient", machine, work)
    source = read_map(work, "x", shape, grad, spec.dtype)
    target = target_map(work, spec.input_shape, out, spec.dtype)
    if index is None:
        staged = bool(work.steps)
        pool.average_pool_grad(spec, work, source, target, machine=machine, barrier=staged)
    else:
        chosen = read_map(work, "w", shape, index, spec.dtype, compact=True)
        pool.max_pool_grad(
            *(spec, work, source, chosen.array, target),
            machine=machine,
            positions=True,
            barrier=bool(work.steps),
        )
    written_map(work, target, spec.input_shape, out, spec.dtype)
    return _made(spec, f"{spec.kind} pool gradient", machine, work)


def _planes(*arrays: tuple[str, tuple[int, ...], Strides | None]) -> list[Matrix] | None:
    """The arrays (those that are there) as planes; None where one of them has none, or where the
    first is a map.
    """
    _, shape, strides = arrays[0]
    if strides is None or map_pitch(shape, strides) is not None:
        return None
    found = []
    for name, shape, strides in arrays:
        if strides is not None:
            pitch = planes_pitch(shape, strides)
            if pitch is None:
                return None
            found.append(Matrix(Operand(name), pitch))
    return found


def _made(spec: PoolSpec, direction: str, machine: Machine, work: Work) -> Plan:
    """The plan; it prints the convolution whose windows lie as those of the pooling."""
    each = ConvSpec(
        spec.axes, spec.channels, spec.channels, spec.batch, spec.channels, dtype=spec.dtype
    )
    cycles = TAP_CYCLES * prod(spec.output_shape) * spec.taps / machine.lanes(spec.dtype)
    return Plan(each, direction, machine, work, [], max(cycles, spec.bytes_moved / BYTES_PER_CYCLE))
