"""Plans of poolings over arrays of any strides.

Maps with channels last and planes with channels first are read and written where they are; others
are rearranged before and after.
"""

from math import prod

from faltung.geometry.conv import ConvSpec
from faltung.geometry.pool import PoolSpec
from faltung.machine.table import Machine
from faltung.methods import pool, pool_planes
from faltung.methods.correlation import Strides
from faltung.methods.step import Operand, Step, Work
from faltung.plan.maps import map_pitch, read_map, target_map, written_map
from faltung.plan.plan import Plan

# Lanes of a vector are done in about this many cycles a tap.
CYCLES = 1.5

# The input stands in the place of "x", the result in that of "out", the indices in that of "w".


def build_pool(
    spec: PoolSpec, x: Strides, out: Strides, index: Strides | None, machine: Machine
) -> Plan:
    """The maxima or means of the windows; index: where the places of the maxima are asked for."""
    work = Work()
    planes = _planes(spec, x, out, index, machine)
    if planes is not None:
        work.steps.append(planes)
        return _made(spec, f"{spec.kind} pool", machine, work)
    source, pitch = read_map(work, "x", spec.input_shape, x, spec.dtype)
    target, out_pitch = target_map(work, spec.output_shape, out, spec.dtype)
    here = (source, pitch, target, out_pitch)
    staged = bool(work.steps)
    if spec.kind == "average":
        pool.average_pool(spec, work, *here, machine=machine, after=staged)
    else:
        places = (spec.output_shape, index or (), spec.dtype, "w")
        chosen = target_map(work, *places, compact=True)[0] if index else None
        pool.max_pool(spec, work, *here, chosen, machine=machine, positions=True, after=staged)
        if chosen is not None:
            written_map(work, chosen, *places)
    written_map(work, target, spec.output_shape, out, spec.dtype)
    return _made(spec, f"{spec.kind} pool", machine, work)


def _planes(
    spec: PoolSpec, x: Strides, out: Strides, index: Strides | None, machine: Machine
) -> Step | None:
    """The step for arrays with channels first, where they are planes."""
    if map_pitch(spec.input_shape, x) is not None or not pool_planes.fits(spec, machine):
        return None
    planes = [pool_planes.planes_apart(spec.input_shape, x)]
    planes += [
        pool_planes.planes_apart(spec.output_shape, strides)
        for strides in (out, index)
        if strides is not None
    ]
    apart = [step for step in planes if step is not None]
    if len(apart) < len(planes):
        return None
    beside = (Operand("w"), apart[2]) if index is not None else None
    return pool_planes.planes_pool(
        spec, Operand("x"), apart[0], Operand("out"), apart[1], beside, machine=machine
    )


def build_pool_grad(
    spec: PoolSpec, grad: Strides, out: Strides, index: Strides | None, machine: Machine
) -> Plan:
    """The gradient for the input; the output gradient stands in the place of the input."""
    work = Work()
    source, pitch = read_map(work, "x", spec.output_shape, grad, spec.dtype)
    target, out_pitch = target_map(work, spec.input_shape, out, spec.dtype)
    if index is None:
        where = (source, pitch, target, out_pitch)
        pool.average_pool_grad(spec, work, *where, machine=machine, after=bool(work.steps))
    else:
        chosen, _ = read_map(work, "w", spec.output_shape, index, spec.dtype, compact=True)
        here = (source, pitch, chosen, target, out_pitch)
        staged = bool(work.steps)
        pool.max_pool_grad(spec, work, *here, machine=machine, positions=True, after=staged)
    written_map(work, target, spec.input_shape, out, spec.dtype)
    return _made(spec, f"{spec.kind} pool gradient", machine, work)


def _made(spec: PoolSpec, direction: str, machine: Machine, work: Work) -> Plan:
    """The plan; it prints the convolution whose windows lie as those of the pooling."""
    each = ConvSpec(
        spec.axes, spec.channels, spec.channels, spec.batch, spec.channels, dtype=spec.dtype
    )
    cycles = CYCLES * prod(spec.output_shape) * spec.taps / machine.lanes(spec.dtype)
    return Plan(each, direction, machine, work, [], cycles)
