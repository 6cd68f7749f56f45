"""Convolutions of levels as steps."""

from dataclasses import replace

from faltung.graph.ops import ConvolveInteger
from faltung.graph.value import Node
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.base.step import Work
from faltung.plan.build_integer import build_integer
from faltung.plan.plan import Plan
from faltung.program.lower_conv import aux_strides, weight_strides
from faltung.program.lowering import Lowering


def convolve_integer(low: Lowering, node: Node, work: Work) -> Plan:
    op = node.op
    assert isinstance(op, ConvolveInteger)
    x, w, *rest = node.inputs
    aux, space = rest[1:] if op.bias else rest, op.spec.output
    return low.plan(
        build_integer,
        replace(op.spec, batch=low.samples(x)),
        low.strides(x, op.spec.size),
        weight_strides(low, op.spec, w),
        low.strides(node.output, space),
        bias=op.bias,
        grid=op.x,
        result=op.result,
        epilogue=None if op.epilogue is None else Epilogue(op.epilogue, len(aux)),
        aux=tuple(aux_strides(low, value, node.output, space) for value in aux),
        grids=op.grids or (None,) * len(aux),
        narrow=op.narrow,
        packs=low.packs(node),
    )
