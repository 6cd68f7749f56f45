"""Plans of local layers over arrays of any strides.

Arrays that are feature maps, channels beside each other and positions equally far apart, are read
and written where they are. Others, and the weights, are rearranged before or after.
"""

from math import prod

from faltung.geometry.conv import ConvSpec
from faltung.machine.table import Machine
from faltung.methods.correlation import Strides
from faltung.methods.local import local_forward, local_input_grad, local_weight_grad
from faltung.methods.stage import rearrange
from faltung.methods.step import Operand, Work
from faltung.plan.plan import Plan, contiguous

# ``layouts``: strides in elements of what stands in the places of input, weight and output; the
# weight (*output, C_out, C_in, *kernel), the others (N, C, *space).


def build_local(spec: ConvSpec, layouts: tuple[Strides, ...], bias: bool, machine: Machine) -> Plan:
    """The layer itself; ``bias``: there is one, (*output, C_out)."""
    work = Work()
    x, x_pitch = _read(work, "x", spec.input_shape, layouts[0], spec)
    w = _packed(work, spec, layouts[1])
    out, out_pitch = _target(work, spec.output_shape, layouts[2], spec)
    given = Operand("bias") if bias else None
    local_forward(spec, work, x, x_pitch, w, given, out, out_pitch, machine=machine, after=True)
    _written(work, out, spec.output_shape, layouts[2], spec)
    return _made(spec, "local forward", machine, work)


def build_local_input_grad(
    spec: ConvSpec, layouts: tuple[Strides, ...], bias: bool, machine: Machine
) -> Plan:
    """The gradient for the input; the output gradient stands in the input's place."""
    work = Work()
    grad, grad_pitch = _read(work, "x", spec.output_shape, layouts[0], spec)
    w = _packed(work, spec, layouts[1])
    out, out_pitch = _target(work, spec.input_shape, layouts[2], spec)
    local_input_grad(spec, work, grad, grad_pitch, w, out, out_pitch, machine=machine, after=True)
    _written(work, out, spec.input_shape, layouts[2], spec)
    return _made(spec, "local input_grad", machine, work)


def build_local_weight_grad(
    spec: ConvSpec, layouts: tuple[Strides, ...], bias: bool, machine: Machine
) -> Plan:
    """The gradient for the weight, over the weight; the output's place has its gradient."""
    work = Work()
    x, x_pitch = _read(work, "x", spec.input_shape, layouts[0], spec)
    grad, grad_pitch = _read(work, "out", spec.output_shape, layouts[2], spec)
    shape, inner = _weights(spec)
    sums = Operand(work.borrow("sums", prod(shape) * spec.itemsize))
    local_weight_grad(spec, work, x, x_pitch, grad, grad_pitch, sums, machine=machine, after=True)
    out, strides = Operand("w"), layouts[1]
    step = rearrange(spec.dtype, shape, sums, inner, out, strides, "unpack weights", after=True)
    work.steps.append(step)
    return _made(spec, "local weight_grad", machine, work)


def _made(spec: ConvSpec, direction: str, machine: Machine, work: Work) -> Plan:
    cycles = spec.macs / machine.lanes(spec.dtype) / 2
    return Plan(spec, direction, machine, work, [], cycles)


def _weights(spec: ConvSpec) -> tuple[tuple[int, ...], Strides]:
    """The shape people see, (*output, C_out, C_in, *kernel), and its strides in the memory of the
    kernels, (*output, *kernel, C_in, C_out).
    """
    shape = (*spec.output, *spec.weight_shape)
    order = [*range(spec.rank), *range(spec.rank + 2, len(shape)), spec.rank + 1, spec.rank]
    strides = {axis: prod(shape[i] for i in order[at + 1 :]) for at, axis in enumerate(order)}
    return shape, tuple(strides[axis] for axis in range(len(shape)))


def _packed(work: Work, spec: ConvSpec, strides: Strides) -> Operand:
    shape, inner = _weights(spec)
    packed = Operand(work.borrow("weights", prod(shape) * spec.itemsize))
    step = rearrange(spec.dtype, shape, Operand("w"), strides, packed, inner, "pack weights")
    work.steps.append(step)
    return packed


def _pitch(shape: tuple[int, ...], strides: Strides) -> int | None:
    """Elements between neighbouring positions of (N, C, *space), where that is a map: channels
    beside each other, positions and samples equally far apart.
    """
    if shape[1] > 1 and strides[1] != 1:
        return None
    pitch, inner = None, 1
    places = [(size, strides[i]) for i, size in enumerate(shape) if i != 1]
    for size, stride in reversed(places):
        if size > 1:
            pitch = stride if pitch is None else pitch
            if stride != pitch * inner:
                return None
        inner *= size
    return shape[1] if pitch is None else pitch


def _read(
    work: Work, name: str, shape: tuple[int, ...], strides: Strides, spec: ConvSpec
) -> tuple[Operand, int]:
    """The array as a map, copied unless it is one; and its pitch."""
    pitch = _pitch(shape, strides)
    if pitch is not None:
        return Operand(name), pitch
    copied = Operand(work.borrow("staged", prod(shape) * spec.itemsize))
    target = contiguous(shape, True)
    step = rearrange(spec.dtype, shape, Operand(name), strides, copied, target, f"stage {name}")
    work.steps.append(step)
    return copied, shape[1]


def _target(
    work: Work, shape: tuple[int, ...], strides: Strides, spec: ConvSpec
) -> tuple[Operand, int]:
    """The array to write, or a map in its place."""
    pitch = _pitch(shape, strides)
    if pitch is not None:
        return Operand("out"), pitch
    return Operand(work.borrow("result", prod(shape) * spec.itemsize)), shape[1]


def _written(
    work: Work, made: Operand, shape: tuple[int, ...], strides: Strides, spec: ConvSpec
) -> None:
    """From the map to the array that was asked for."""
    out = Operand("out")
    if made != out:
        source = contiguous(shape, True)
        step = rearrange(spec.dtype, shape, made, source, out, strides, "write result", after=True)
        work.steps.append(step)
