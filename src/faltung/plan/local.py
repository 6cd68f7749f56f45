"""Plans of local layers over arrays of any strides.

Arrays that are feature maps, with contiguous channels and positions equally far apart, are read and
written where they are. Others, and the weights, are rearranged before or after.
"""

from math import prod

from faltung.geometry.conv import ConvSpec
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Strides
from faltung.methods.base.step import Operand, Work
from faltung.methods.copies.stage import rearrange
from faltung.methods.local.local import local_forward, local_input_grad, local_weight_grad
from faltung.plan.maps import CallArray
from faltung.plan.plan import Plan

# ``layouts``: strides in elements of what stands in the places of input, weight and output; the
# weight (*output, C_out, C_in / groups, *kernel), the others (N, C, *space).


def build_local(spec: ConvSpec, layouts: tuple[Strides, ...], bias: bool, machine: Machine) -> Plan:
    """The layer itself; ``bias``: there is one, (*output, C_out)."""
    work = Work()
    result = CallArray("out", spec.output_shape, layouts[2], spec.dtype)
    x = CallArray("x", spec.input_shape, layouts[0], spec.dtype).read(work)
    w, out = _packed(work, spec, layouts[1]), result.target(work)
    given = Operand("bias") if bias else None
    local_forward(spec, work, x, w, given, out, machine=machine, barrier=True)
    result.write(work, out)
    return _made(spec, "local forward", machine, work)


def build_local_input_grad(
    spec: ConvSpec, layouts: tuple[Strides, ...], bias: bool, machine: Machine
) -> Plan:
    """The gradient for the input; the output gradient stands in the input's place."""
    work = Work()
    result = CallArray("out", spec.input_shape, layouts[2], spec.dtype)
    grad = CallArray("x", spec.output_shape, layouts[0], spec.dtype).read(work)
    w, out = _packed(work, spec, layouts[1]), result.target(work)
    local_input_grad(spec, work, grad, w, out, machine=machine, barrier=True)
    result.write(work, out)
    return _made(spec, "local input_grad", machine, work)


def build_local_weight_grad(
    spec: ConvSpec, layouts: tuple[Strides, ...], bias: bool, machine: Machine
) -> Plan:
    """The gradient for the weight, over the weight; the output's place has its gradient."""
    work = Work()
    x = CallArray("x", spec.input_shape, layouts[0], spec.dtype).read(work)
    grad = CallArray("out", spec.output_shape, layouts[2], spec.dtype).read(work)
    shape, inner = _weights(spec)
    out, strides = Operand("w"), layouts[1]
    packed = _same(shape, strides, inner)
    sums = out if packed else work.borrow("sums", prod(shape) * spec.itemsize)
    local_weight_grad(spec, work, x, grad, sums, machine=machine, barrier=True)
    if not packed:
        step = rearrange(
            spec.dtype, shape, sums, inner, out, strides, "unpack weights", barrier=True
        )
        work.steps.append(step)
    return _made(spec, "local weight_grad", machine, work)


def _made(spec: ConvSpec, direction: str, machine: Machine, work: Work) -> Plan:
    cycles = spec.macs / machine.lanes(spec.dtype) / 2
    return Plan(spec, direction, machine, work, [], cycles)


def _weights(spec: ConvSpec) -> tuple[tuple[int, ...], Strides]:
    """The shape people see, (*output, C_out, C_in / groups, *kernel), and its strides in the memory
    of the kernels, (*output, *kernel, C_in / groups, C_out).
    """
    shape = (*spec.output, *spec.weight_shape)
    order = [*range(spec.rank), *range(spec.rank + 2, len(shape)), spec.rank + 1, spec.rank]
    strides = {axis: prod(shape[i] for i in order[at + 1 :]) for at, axis in enumerate(order)}
    return shape, tuple(strides[axis] for axis in range(len(shape)))


def _same(shape: tuple[int, ...], a: Strides, b: Strides) -> bool:
    """Whether both are the same order in memory."""
    return all(n < 2 or x == y for n, x, y in zip(shape, a, b, strict=True))


def _packed(work: Work, spec: ConvSpec, strides: Strides) -> Operand:
    """The weights in the kernels' order: as they lie, where they do, or a copy."""
    shape, inner = _weights(spec)
    if _same(shape, strides, inner):
        return Operand("w")
    packed = work.borrow("weights", prod(shape) * spec.itemsize)
    step = rearrange(spec.dtype, shape, Operand("w"), strides, packed, inner, "pack weights")
    work.steps.append(step)
    return packed
