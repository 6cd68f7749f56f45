"""Plans of poolings over arrays of any strides.

Maps with channels last and planes with channels first are read and written where they are; others
are rearranged before and after.
"""

from math import prod

from faltung.geometry.conv import ConvSpec
from faltung.geometry.pool import PoolSpec
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Strides
from faltung.methods.base.step import Matrix, Work
from faltung.methods.pool import pool
from faltung.methods.pool.planes import (
    backward_axis,
    forward_axis,
    planes_max_grad,
    planes_mean_grad,
    planes_pool,
)
from faltung.plan.maps import CallArray
from faltung.plan.plan import Plan

# A tap of a vector takes about this many cycles, and these are the bytes that come from the second
# cache in one: what is below ``MIN_PARALLEL_CYCLES`` is not worth a hand-over.
TAP_CYCLES = 0.5
BYTES_PER_CYCLE = 16

# The input stands in the place of "x", the result in that of "out", the indices in that of "w".


def build_pool(
    spec: PoolSpec, x: Strides, out: Strides, index: Strides | None, machine: Machine
) -> Plan:
    """The maxima or means of the windows; index: where the places of the maxima are asked for."""
    work, shape = Work(), spec.output_shape
    source, result = (
        CallArray("x", spec.input_shape, x, spec.dtype),
        CallArray("out", shape, out, spec.dtype),
    )
    places = None if index is None else CallArray("w", shape, index, spec.dtype)
    planes = _planes(source, result, places)
    if planes and forward_axis(spec).segment(machine, spec.dtype):
        work.steps.append(planes_pool(spec, *planes, machine=machine))
        return _made(spec, f"{spec.kind} pool", machine, work)
    read, target = source.read(work), result.target(work)
    staged = bool(work.steps)
    if spec.kind == "average":
        pool.average_pool(spec, work, read, target, machine=machine, barrier=staged)
    else:
        chosen = places and places.target(work, compact=True)
        pool.max_pool(
            *(spec, work, read, target, chosen.array if chosen else None),
            machine=machine,
            positions=True,
            barrier=staged,
        )
        if places and chosen:
            places.write(work, chosen)
    result.write(work, target)
    return _made(spec, f"{spec.kind} pool", machine, work)


def build_pool_grad(
    spec: PoolSpec, grad: Strides, out: Strides, index: Strides | None, machine: Machine
) -> Plan:
    """The gradient for the input; the output gradient stands in the place of the input."""
    work, shape = Work(), spec.output_shape
    source, result = (
        CallArray("x", shape, grad, spec.dtype),
        CallArray("out", spec.input_shape, out, spec.dtype),
    )
    places = None if index is None else CallArray("w", shape, index, spec.dtype)
    planes = _planes(source, result, places)
    if planes and places:
        work.steps.append(planes_max_grad(spec, planes[0], planes[2], planes[1]))
        return _made(spec, f"{spec.kind} pool gradient", machine, work)
    if planes and backward_axis(spec).segment(machine, spec.dtype):
        planes_mean_grad(spec, work, *planes, machine=machine)
        return _made(spec, f"{spec.kind} pool gradient", machine, work)
    read, target = source.read(work), result.target(work)
    if places:
        chosen = places.read(work, compact=True).array
        pool.max_pool_grad(
            *(spec, work, read, chosen, target),
            machine=machine,
            positions=True,
            barrier=bool(work.steps),
        )
    else:
        pool.average_pool_grad(spec, work, read, target, machine=machine, barrier=bool(work.steps))
    result.write(work, target)
    return _made(spec, f"{spec.kind} pool gradient", machine, work)


def _planes(*arrays: CallArray | None) -> list[Matrix] | None:
    """The arrays (those that are there) as planes; None where one of them has none, or where the
    first is a map.
    """
    first, *others = (array for array in arrays if array)
    planes = [array.as_planes() for array in (first, *others)]
    found = [matrix for matrix in planes if matrix]
    return found if len(found) == len(planes) and not first.as_map() else None


def _made(spec: PoolSpec, direction: str, machine: Machine, work: Work) -> Plan:
    """The plan; it prints the convolution whose windows lie as those of the pooling."""
    each = ConvSpec(
        spec.axes, spec.channels, spec.channels, spec.batch, spec.channels, dtype=spec.dtype
    )
    cycles = TAP_CYCLES * prod(spec.output_shape) * spec.taps / machine.lanes(spec.dtype)
    return Plan(each, direction, machine, work, [], max(cycles, spec.bytes_moved / BYTES_PER_CYCLE))
