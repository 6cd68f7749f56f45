"""The gradient of a recurrence: a walk back, and weight gradients that are convolutions."""

from collections.abc import Sequence
from dataclasses import replace

from faltung.geometry.conv import conv_spec
from faltung.geometry.expr import Expr, operand
from faltung.geometry.recurrent import PEEPHOLES, Cell, RecurrentSpec
from faltung.graph.backward import Backward, trimmed
from faltung.graph.ops import (
    Concat,
    ConvolveWeight,
    Elementwise,
    Op,
    Recurrence,
    RecurrenceGrad,
    Reduction,
    Slice,
)
from faltung.graph.recurrent import Part, alike, inputs_of, kept, only, outputs_of, shapes
from faltung.graph.value import Node, Value

A, B = operand(0), operand(1)


def recurrence(b: Backward, node: Node, grads: Sequence[Value | None]) -> None:
    """Directions with gradients for the same outputs walk back together."""
    op = node.op
    assert isinstance(op, Recurrence)
    parts, shared = inputs_of(op, node.inputs)
    made = outputs_of(op, node.outputs)
    found = dict(zip((value.name for value in node.outputs), grads, strict=True))
    given = [
        tuple(name for name in ("y", "h", "c") if found.get(_name(out, name)) is not None)
        for out in made
    ]
    for numbers in alike(given):
        if not given[numbers[0]]:
            continue
        spec = only(op.layer, numbers)
        inputs: list[Value] = []
        for d in numbers:
            inputs += [value for n in given[d] if (value := found[made[d][n].name]) is not None]
            inputs += [made[d][name] for name in kept(spec)]
            inputs += parts[d].recurrent
            inputs += parts[d].some("peepholes")
        inputs += [shared[name] for name in ("lengths",) if name in shared]
        back = RecurrenceGrad(spec, given[numbers[0]])
        values = b.nodes.add(back, inputs, *shapes(back) * len(numbers))
        samples = parts[numbers[0]]["x"].samples
        values = tuple(replace(value, samples=samples) for value in values)
        b.nodes.made[-1] = replace(b.nodes.made[-1], outputs=values)
        for d, out in zip(numbers, outputs_of(back, values), strict=True):
            _give(b, op.layer, op.layer.cell(d), parts[d], made[d], out)


def _name(part: Part, name: str) -> str:
    value = part.get(name)
    return "" if value is None else value.name


def _give(b: Backward, spec: RecurrentSpec, cell: Cell, part: Part, made: Part, out: Part) -> None:
    """The gradients of everything that a direction reads."""
    products = out.get("products") or out["x"]
    if b.needs(part["x"]):
        b.give(part["x"], out["x"])
    for name in ("h", "c"):
        value = part.get(name)
        if value is not None and value.batched and b.needs(value):
            b.give(value, out[name])
        elif value is not None:
            b.bias(value, out[name])
    bias = part.get("recurrent bias")
    if bias is not None:
        b.bias(bias, products)
    _weights(b, spec, cell, part, made, products)
    peepholes = part.get("peepholes")
    if peepholes is not None and b.needs(peepholes):
        _peepholes(b, spec, cell, peepholes, made, out["x"])


def _weights(
    b: Backward, spec: RecurrentSpec, cell: Cell, part: Part, made: Part, products: Value
) -> None:
    """Of each recurrent weight: what its products read, along the steps, with their gradient."""
    size = spec.hidden
    for number, weight in enumerate(part.recurrent):
        if not b.needs(weight):
            continue
        gates = (cell.first, cell.second)[number]
        read, grad = made["before"], products
        if number:
            read = _inner(b, spec, cell, made)
        if len(gates) < len(spec.gates):
            grad = _gates(b, spec, products, gates)
        rows = len(gates) * size
        conv = conv_spec((1, size, spec.steps), (rows, size, 1), dtype=b.graph.dtype)
        b.weight(ConvolveWeight(conv), weight, read, grad)


def _gates(b: Backward, spec: RecurrentSpec, products: Value, gates: Sequence[int]) -> Value:
    """The rows of some gates, which lie beside each other."""
    shape = (len(gates) * spec.hidden, spec.steps)
    return _add(b, Slice(gates[0] * spec.hidden), (products,), shape)


def _inner(b: Backward, spec: RecurrentSpec, cell: Cell, made: Part) -> Value:
    """What the second product read, again."""
    assert cell.inner is not None
    operands = [_sum(b, spec, made, g) for g in range(len(spec.gates))]
    return _formula(b, spec, cell.inner, [*operands, made["before"]])


def _sum(b: Backward, spec: RecurrentSpec, made: Part, gate: int) -> Value:
    """What the activation of a gate read."""
    shape = (spec.hidden, spec.steps)
    return _add(b, Slice(gate * spec.hidden), (made["sums"],), shape)


def _peepholes(
    b: Backward, spec: RecurrentSpec, cell: Cell, peepholes: Value, made: Part, x: Value
) -> None:
    """A weight between a cell and a gate: the sum of one times the gradient of the other."""
    size = spec.hidden
    shape = (size, spec.steps)
    sums = [_sum(b, spec, made, g) for g in range(len(spec.gates))]
    seen: list[Value] = []
    for k in range(len(PEEPHOLES)):
        seen += b.nodes.add(Slice(k * size), (peepholes,), (size,), batched=False)
    operands = [*sums, made["before"], made["cells"], *seen]
    after = _formula(b, spec, cell.states[1], operands)
    totals = []
    for letter in PEEPHOLES:
        grad = _add(b, Slice(spec.gates.index(letter) * size), (x,), shape)
        read = after if letter == "o" else made["cells"]
        totals += b.nodes.reduce(shape, (grad, read), Reduction(A * B, "channel"))
    whole = (len(PEEPHOLES) * size,)
    b.give(peepholes, *b.nodes.add(Concat(), totals, whole, batched=False))


def _formula(b: Backward, spec: RecurrentSpec, expr: Expr, values: Sequence[Value]) -> Value:
    formula, operands = trimmed(expr, values)
    shape = (spec.hidden, spec.steps)
    return _add(b, Elementwise(shape, (formula,)), operands, shape)


def _add(b: Backward, op: Op, inputs: Sequence[Value], shape: tuple[int, ...]) -> Value:
    """A node whose output has the samples of its first input."""
    (made,) = b.nodes.add(op, inputs, shape)
    made = replace(made, samples=inputs[0].samples)
    b.nodes.made[-1] = replace(b.nodes.made[-1], outputs=(made,))
    return made
