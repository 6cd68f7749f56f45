"""Plans of poolings over arrays of any strides.

Maps with channels last and planes with channels first are read and written where they are; others
are rearranged before and after.
"""

from math import prod

from faltung.geometry.conv import ConvSpec
from faltung.geometry.pool import PoolSpec
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Strides
from faltung.methods.base.step import Operand, Work
from faltung.methods.pool import pool
from faltung.methods.pool.planes import ahead, back, planes_apart, planes_mean_grad, planes_pool
from faltung.methods.pool.scatter import planes_max_grad
from faltung.plan.maps import map_pitch, read_map, target_map, written_map
from faltung.plan.plan import Plan

# A tap of a vector takes about this many cycles, and these are the bytes that come from the second
# cache in one: what is below `ALONE` is not worth a hand-over.
CYCLES = 0.5
BYTES = 16

# The input stands in the place of "x", the result in that of "out", the indices in that of "w".


def build_pool(
    spec: PoolSpec, x: Strides, out: Strides, index: Strides | None, machine: Machine
) -> Plan:
    """The maxima or means of the windows; index: where the places of the maxima are asked for."""
    work = Work()
    apart = _apart((spec.input_shape, x), (spec.output_shape, out), (spec.output_shape, index))
    if apart and ahead(spec).chunk(machine, spec.dtype):
        beside = (Operand("w"), apart[2]) if index is not None else None
        here = (Operand("x"), apart[0], Operand("out"), apart[1], beside)
        work.steps.append(planes_pool(spec, *here, machine=machine))
        return _made(spec, f"{spec.kind} pool", machine, work)
    source, pitch = read_map(work, "x", spec.input_shape, x, spec.dtype)
    target, out_pitch = target_map(work, spec.output_shape, out, spec.dtype)
    where = (source, pitch, target, out_pitch)
    staged = bool(work.steps)
    if spec.kind == "average":
        pool.average_pool(spec, work, *where, machine=machine, barrier=staged)
    else:
        places = (spec.output_shape, index or (), spec.dtype, "w")
        chosen = target_map(work, *places, compact=True)[0] if index else None
        pool.max_pool(spec, work, *where, chosen, machine=machine, positions=True, barrier=staged)
        if chosen is not None:
            written_map(work, chosen, *places)
    written_map(work, target, spec.output_shape, out, spec.dtype)
    return _made(spec, f"{spec.kind} pool", machine, work)


def _apart(*arrays: tuple[tuple[int, ...], Strides | None]) -> list[int] | None:
    """How far apart the planes are of each array (that is there), the first of which is no map;
    None where one of them has no planes.
    """
    shape, strides = arrays[0]
    if strides is None or map_pitch(shape, strides) is not None:
        return None
    found = [planes_apart(shape, strides) for shape, strides in arrays if strides is not None]
    apart = [step for step in found if step is not None]
    return apart if len(apart) == len(found) else None


def build_pool_grad(
    spec: PoolSpec, grad: Strides, out: Strides, index: Strides | None, machine: Machine
) -> Plan:
    """The gradient for the input; the output gradient stands in the place of the input."""
    work = Work()
    apart = _apart((spec.output_shape, grad), (spec.input_shape, out), (spec.output_shape, index))
    if apart and (index is not None or back(spec).chunk(machine, spec.dtype)):
        x, w, made = Operand("x"), Operand("w"), Operand("out")
        if index is None:
            planes_mean_grad(spec, work, x, apart[0], made, apart[1], machine=machine)
        else:
            work.steps.append(planes_max_grad(spec, x, apart[0], w, apart[2], made, apart[1]))
        return _made(spec, f"{spec.kind} pool gradient", machine, work)
    source, pitch = read_map(work, "x", spec.output_shape, grad, spec.dtype)
    target, out_pitch = target_map(work, spec.input_shape, out, spec.dtype)
    if index is None:
        where = (source, pitch, target, out_pitch)
        pool.average_pool_grad(spec, work, *where, machine=machine, barrier=bool(work.steps))
    else:
        chosen, _ = read_map(work, "w", spec.output_shape, index, spec.dtype, compact=True)
        here = (source, pitch, chosen, target, out_pitch)
        staged = bool(work.steps)
        pool.max_pool_grad(spec, work, *here, machine=machine, positions=True, barrier=staged)
    written_map(work, target, spec.input_shape, out, spec.dtype)
    return _made(spec, f"{spec.kind} pool gradient", machine, work)


def _made(spec: PoolSpec, direction: str, machine: Machine, work: Work) -> Plan:
    """The plan; it prints the convolution whose windows lie as those of the pooling."""
    each = ConvSpec(
        spec.axes, spec.channels, spec.channels, spec.batch, spec.channels, dtype=spec.dtype
    )
    cycles = CYCLES * prod(spec.output_shape) * spec.taps / machine.lanes(spec.dtype)
    return Plan(each, direction, machine, work, [], max(cycles, spec.bytes_moved / BYTES))
