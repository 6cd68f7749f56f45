"""Builds plans of integer convolutions (``methods/integer/integer.py`` says what they compute)."""

from collections.abc import Sequence

from faltung.geometry.conv import ConvSpec
from faltung.geometry.expr import operand
from faltung.geometry.levels import Grid
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Strides, contiguous
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.base.step import Work
from faltung.methods.integer import integer
from faltung.methods.integer.inner import Inner
from faltung.methods.integer.problem import problem_of
from faltung.plan.choose import AUTO, Policy
from faltung.plan.offer import Candidate
from faltung.plan.plan import Plan


def build_integer(
    spec: ConvSpec,
    x: Strides,
    w: Strides,
    out: Strides,
    *,
    bias: bool,
    grid: Grid,
    machine: Machine,
    result: Grid | None = None,
    epilogue: Epilogue | None = None,
    aux: Sequence[Strides] = (),
    grids: Sequence[Grid | None] = (),
    weights: str = "float32",
    narrow: bool = False,
    inner: Inner | None = None,
    policy: Policy = AUTO,
) -> Plan:
    """Plan the convolution of levels on ``grid`` with whole numbers, all exact.

    x, out, aux: strides of arrays in elements, in the order N, C, *space; w: of (C_out, C_in //
    groups, *kernel). result: the grid of what is stored, None for float32. grids: of the arrays of
    the epilogue, None for float32. weights: "float32" or "int8". narrow: their levels are from -64
    to 64, which is faster on some machines. inner: an inner product other than that of the machine.
    ValueError: as ``problem_of``.
    """
    work = Work(packs=policy.packs)
    made = Plan(spec, "forward", machine, work, [], 0.0, len(aux))
    p = problem_of(
        spec,
        x,
        w,
        out,
        grid=grid,
        result=result,
        epilogue=epilogue,
        aux=aux,
        grids=grids,
        narrow=narrow,
    )
    if spec.batch == 0:
        return made
    chosen = integer.plan(p, machine, work, bias=bias, weights=weights, inner=inner)
    made.cycles = integer.cycles(p, machine, chosen)
    ns = machine.speed.ns(made.cycles, integer.traffic(p), machine.l1, machine.l2)
    detail = integer.describe(p, chosen)
    made.reasons.append(("forward", [Candidate("integer", None, made.cycles, ns, detail=detail)]))
    return made


def plan_integers(spec: ConvSpec, narrow: bool = False) -> Plan:
    """The plan of a layer as quantised networks have it: levels from 0 to 255 in and out, channels
    last, a bias, a scale for each channel; ``narrow``: and weights of 7 bits.
    """
    x, out = (contiguous(shape, True) for shape in (spec.input_shape, spec.output_shape))
    return build_integer(
        spec,
        x,
        contiguous(spec.weight_shape, False),
        out,
        bias=True,
        grid=Grid(0.0625),
        result=Grid(0.09375),
        epilogue=Epilogue(operand(0) * operand(1), 1),
        aux=((0, 1, *(0 for _ in spec.axes)),),
        machine=current(),
        narrow=narrow,
    )
