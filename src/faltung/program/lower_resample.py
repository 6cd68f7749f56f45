"""Resampling, and sampling at places, as steps."""

from dataclasses import replace

from faltung.geometry.expr import Expr
from faltung.graph.fuse import beside
from faltung.graph.ops import GridSample, GridSampleGrid, GridSampleInput, Resample
from faltung.graph.value import Node, Value
from faltung.machine.table import Machine
from faltung.methods.base.step import Work
from faltung.methods.resample import grid as grids
from faltung.methods.resample.resample import Aux, Finish, order_of, resample
from faltung.program.lowering import Lowering


def resample_map(low: Lowering, node: Node, work: Work) -> None:
    op, x = node.op, node.inputs[0]
    assert isinstance(op, Resample)
    resample(
        work,
        low.dtype,
        low.machine,
        samples=low.samples(x),
        shape=x.shape,
        tables=op.tables,
        source=low.matrix(x),
        target=low.matrix(node.output),
        fill=op.fill,
        finish=None if op.epilogue is None else _finish(low, op.epilogue, node),
        order=op.order,
    )


def in_order(op: Resample, x: Value, dtype: str, machine: Machine) -> Resample:
    """A resampling whose parts are computed as the whole of ``x`` is."""
    return replace(op, order=order_of(dtype, machine, shape=x.shape, tables=op.tables))


def _finish(low: Lowering, formula: Expr, node: Node) -> Finish:
    """The epilogue with what it reads beside the result."""
    out, aux = node.output, []
    for value in node.inputs[1:]:
        kind = beside(value, out)
        assert kind is not None
        aux.append(Aux(kind, low.matrix(value), low.samples(value) < low.samples(out)))
    return Finish(formula, tuple(aux))


def _problem(low: Lowering, op: object, x: Value, grid: Value, y: Value) -> grids.Problem:
    assert isinstance(op, GridSample | GridSampleInput | GridSampleGrid)
    samples = low.samples(y)
    return grids.Problem(
        op.how,
        low.dtype,
        samples,
        x.channels,
        x.space,
        grid.space,
        x_alone=low.samples(x) < samples,
        grid_alone=low.samples(grid) < samples,
    )


def grid_sample(low: Lowering, node: Node, work: Work) -> None:
    x, grid = node.inputs
    p = _problem(low, node.op, x, grid, node.output)
    read, places, made = map(low.matrix, (x, grid, node.output))
    grids.sample(p, work, read, places, made, low.machine)


def grid_sample_input(low: Lowering, node: Node, work: Work) -> None:
    g, grid = node.inputs
    p = _problem(low, node.op, node.output, grid, g)
    read, places, made = map(low.matrix, (g, grid, node.output))
    grids.map_grad(p, work, read, places, made, low.machine)


def grid_sample_grid(low: Lowering, node: Node, work: Work) -> None:
    x, grid, g = node.inputs
    p = _problem(low, node.op, x, grid, g)
    read, places, slopes, made = map(low.matrix, (x, grid, g, node.output))
    grids.grid_grad(p, work, read, places, slopes, made, low.machine)
