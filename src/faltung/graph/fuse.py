"""Fusion: formulas move to where their operands are in registers anyway.

In this order, because the epilogue of a convolution saves most: a formula into its only reader,
which may be a reduction; a formula into the reduction or the convolution before it; a short formula
into all of its readers, which then read its operands instead; sums into the formula whose result
they add up. The order of operations within an element stays the same. Fusion may change roundings:
a product that becomes a term of a sum is not rounded first (``codegen/expr.py``), and a sum that is
taken along with a formula may be divided into other bands. Where a formula ends up depends on the
graph alone, so the bits of a program depend neither on threads nor, for a sample, on the batch.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from faltung.codegen.expr import instructions
from faltung.geometry.expr import Expr, operand
from faltung.graph.broadcast import joint
from faltung.graph.contracted import takes_epilogue
from faltung.graph.fuse_levels import stored_levels
from faltung.graph.ops import (
    SAMPLES,
    Contract,
    Convolve,
    ConvolveInput,
    ConvolveInteger,
    Elementwise,
    Reduce,
    Reduction,
    Resample,
)
from faltung.graph.spelled import spelled
from faltung.graph.value import Node, Value, consumers
from faltung.plan.build import fuses_input_grad

# Operands of one formula that are full maps; with more, address registers run out.
MOST_OPERANDS = 8
# Operations of a formula that is cheaper to recompute than to store and load.
CHEAP_OPERATIONS = 3
# Instructions of such a formula for a vector: an exponential is cheap, an error function is not.
CHEAP_INSTRUCTIONS = 32
# Instructions of an epilogue, which a convolution has once for each of its accumulators: more take
# longer to compile than they save.
MOST_EPILOGUE = 128
# Channels from which a resampling takes a formula along: with fewer, vectors do not lie along them.
LEAST_CHANNELS = 4
# Operations of one formula, with repetitions: each of several activations in a row may read the one
# before it more than once, so the length of the formula could double with each.
MOST_OPERATIONS = 256
# Nesting of one formula; Python traverses it by recursion.
MOST_NESTING = 64


def fused(nodes: Sequence[Node], kept: Collection[str]) -> tuple[Node, ...]:
    """The same computation in fewer passes over memory; ``kept``: values that are read elsewhere.

    Nodes whose values nothing reads any more are removed.
    """
    made = tuple(nodes)
    stays = stored_levels(made)
    made = _inlined(
        made,
        kept,
        lambda producer, readers: len(readers) == 1 and producer.output.name not in stays,
        from_last=True,
    )
    made = _finished(made, kept)
    made = _into_convolutions(made, kept)
    made = _into_resamplings(made, kept)
    made = _inlined(made, kept, lambda producer, readers: _cheap(producer))
    made = _reductions_merged(made)
    return needed(made, kept)


def needed(nodes: Sequence[Node], kept: Collection[str]) -> tuple[Node, ...]:
    """The nodes whose results are read."""
    wanted, made = set(kept), []
    for node in reversed(nodes):
        if any(value.name in wanted for value in node.outputs):
            made.append(node)
            wanted.update(value.name for value in node.inputs)
    return tuple(reversed(made))


# Formulas into formulas --------------------------------------------------------------------------


def _inlined(
    nodes: tuple[Node, ...],
    kept: Collection[str],
    worth: Callable[[Node, list[Node]], bool],
    *,
    from_last: bool = False,
) -> tuple[Node, ...]:
    """Formulas substituted into their readers, where all of these are formulas.

    from_last: begin with the last one. Readers of a formula may become one: x * clip(x + 3).
    """
    made = dict(enumerate(nodes))
    readers: dict[str, list[int]] = {}
    for number, node in made.items():
        for name in {value.name for value in node.inputs}:
            readers.setdefault(name, []).append(number)
    for number in sorted(made, reverse=from_last):
        producer = made[number]
        numbers = readers.get(producer.output.name, [])
        found = [made[reader] for reader in numbers]
        if (
            not _plain(producer)
            or producer.output.name in kept
            or not found
            or not worth(producer, found)
            or not all(_joins(producer, reader) for reader in found)
        ):
            continue
        for reader, node in zip(numbers, found, strict=True):
            made[reader] = _inline(producer, node)
        del made[number], readers[producer.output.name]
        for name in {value.name for value in producer.inputs}:
            others = [reader for reader in readers[name] if reader != number]
            readers[name] = sorted({*others, *numbers})
    return tuple(made.values())


def _plain(node: Node) -> bool:
    """Whether a node is a formula with one result."""
    op = node.op
    return isinstance(op, Elementwise) and len(op.outputs) == 1 and not op.reductions


def _cheap(node: Node) -> bool:
    op = node.op
    assert isinstance(op, Elementwise)
    maps = [value for value in node.inputs if value.shape == op.shape and value.batched]
    (expr,) = op.outputs
    if expr.size() > CHEAP_OPERATIONS or instructions(expr) > CHEAP_INSTRUCTIONS:
        return False
    return len(maps) <= 2 and not expr.uses("random")


def _joins(producer: Node, reader: Node) -> bool:
    p, r = producer.op, reader.op
    if not (isinstance(p, Elementwise) and isinstance(r, Elementwise | Reduce)):
        return False
    names = {value.name for value in (*producer.inputs, *reader.inputs)}
    if len(names) - 1 > MOST_OPERANDS:
        return False
    if isinstance(r, Reduce):
        # Nothing but its operands says what a reduction is over.
        if not _same_map(producer, reader):
            return False
    elif (
        p.shape != r.shape or p.batched != r.batched or producer.output.samples != _samples(reader)
    ):
        return False
    own = extent(p.outputs[0])
    extents = [own if value.name == producer.output.name else (0, 0) for value in reader.inputs]
    return all(_fits(expr, extents) for expr in _formulas(r))


def _same_map(producer: Node, reader: Node) -> bool:
    """Whether the operands of a reduction make the same map after the producer has joined it."""
    if any(value.kind == "key" for value in producer.inputs):
        return False
    others = [value for value in reader.inputs if value.name != producer.output.name]
    return joint(reader.inputs) == joint([*producer.inputs, *others])


def _formulas(op: Elementwise | Reduce) -> tuple[Expr, ...]:
    if isinstance(op, Reduce):
        return op.exprs
    return (*op.outputs, *(each.expr for each in op.reductions))


def _samples(node: Node) -> int:
    """Those of the map that a formula is computed over."""
    op = node.op
    assert isinstance(op, Elementwise)
    return max(value.samples for value in (*node.inputs, *node.outputs[: len(op.outputs)]))


def _fits(expr: Expr, operands: Sequence[tuple[int, int]]) -> bool:
    """Whether a formula is small enough; ``operands``: the extents of what replaces them."""
    length, depth = extent(expr, operands)
    return length <= MOST_OPERATIONS and depth <= MOST_NESTING


def extent(expr: Expr, operands: Sequence[tuple[int, int]] = ()) -> tuple[int, int]:
    """How many operations a formula has, with repetitions, and how deeply they are nested."""
    if expr.op == "operand":
        return operands[int(expr.args[0])] if operands else (0, 0)  # type: ignore[arg-type]
    length = depth = 0
    for term in (terms := expr.terms):
        operations, levels = extent(term, operands)
        length, depth = length + operations, max(depth, levels)
    return (length + 1, depth + 1) if terms else (0, 0)


def _inline(producer: Node, reader: Node) -> Node:
    """The reader with the producer's formula substituted for its result."""
    p, r = producer.op, reader.op
    assert isinstance(p, Elementwise) and isinstance(r, Elementwise | Reduce)
    inputs: list[Value] = []

    def number(value: Value) -> Expr:
        if value not in inputs:
            inputs.append(value)
        return operand(inputs.index(value))

    places = []
    for value in reader.inputs:
        if value.name == producer.output.name:
            places.append(p.outputs[0].replaced([number(v) for v in producer.inputs]))
        else:
            places.append(number(value))
    made = [spelled(expr.replaced(places)) for expr in _formulas(r)]
    op: Elementwise | Reduce
    if isinstance(r, Reduce):
        op = replace(r, exprs=tuple(made))
    else:
        count = len(r.outputs)
        pairs = zip(r.reductions, made[count:], strict=True)
        reductions = tuple(replace(each, expr=expr) for each, expr in pairs)
        op = replace(r, outputs=tuple(made[:count]), reductions=reductions)
    return replace(reader, op=op, inputs=tuple(inputs), kind=None)


# Formulas after reductions ------------------------------------------------------------------------


def _finished(nodes: tuple[Node, ...], kept: Collection[str]) -> tuple[Node, ...]:
    """A formula of nothing but the result of a reduction is applied before that is stored."""
    made: dict[int, Node] = dict(enumerate(nodes))
    readers = consumers(nodes)
    places = {node.output.name: number for number, node in made.items()}
    for here, node in enumerate(nodes):
        if not _plain(node) or len(node.inputs) != 1 or node.inputs[0].name not in places:
            continue
        (value,), there = node.inputs, places[node.inputs[0].name]
        reduce, formula = made[there], node.op
        assert isinstance(formula, Elementwise)
        if (
            not isinstance(reduce.op, Reduce)
            or len(reduce.outputs) > 1
            or value.name in kept
            or len(readers[value.name]) > 1
            or not _is_like(value, node.output)
        ):
            continue
        expr = formula.outputs[0].replaced([reduce.op.finish])
        if _fits(expr, []):
            made[here] = replace(node, op=replace(reduce.op, finish=expr), inputs=reduce.inputs)
            del made[there]
    return tuple(made.values())


# Formulas into convolutions ----------------------------------------------------------------------


def _into_convolutions(nodes: tuple[Node, ...], kept: Collection[str]) -> tuple[Node, ...]:
    """A formula becomes the epilogue of the last convolution or product among its operands, if that
    makes a map of the formula's shape. The other operands may be broadcast.
    """
    made: dict[int, Node] = dict(enumerate(nodes))
    readers = consumers(nodes)
    places = {node.output.name: number for number, node in made.items()}
    for here, node in enumerate(nodes):
        if not _plain(node):
            continue
        op = node.op
        assert isinstance(op, Elementwise)
        if op.outputs[0].uses("random"):
            continue
        able = [
            places[value.name]
            for value in node.inputs
            if value.name in places
            and value.name not in kept
            and _is_like(value, node.output)
            and len(readers[value.name]) == 1
            and _takes_epilogue(made[places[value.name]])
            and all(_reaches(v, node.output, made[places[value.name]]) for v in node.inputs)
        ]
        joined = _with_epilogue(made[max(able)], node, op.outputs[0]) if able else None
        if joined is not None:
            del made[max(able)]
            made[here] = joined
    return tuple(made.values())


def _reaches(value: Value, out: Value, maker: Node) -> bool:
    """Whether an epilogue that makes ``out`` can read a value: all maps of it, or one for all."""
    if value.kind != "float":
        return False
    if not value.batched or (isinstance(maker.op, Contract) and value.samples == 1):
        return value.samples == 1
    return value.samples == out.samples


def _is_like(value: Value, other: Value) -> bool:
    """Whether two values have as many numbers in the same order."""
    return (value.shape, value.batched, value.samples) == (
        other.shape,
        other.batched,
        other.samples,
    )


def _takes_epilogue(node: Node) -> bool:
    op = node.op
    if isinstance(op, Convolve | ConvolveInteger):
        return True
    if isinstance(op, Contract):
        return takes_epilogue(node)
    return isinstance(op, ConvolveInput) and fuses_input_grad(op.spec)


def _with_epilogue(conv: Node, node: Node, formula: Expr) -> Node | None:
    """The convolution with the formula as its epilogue, or after the one that it has; None where
    that is too much for one.
    """
    op = conv.op
    assert isinstance(op, Convolve | ConvolveInput | ConvolveInteger | Contract)
    count = 3 if not isinstance(op, Contract) and op.bias else 2
    read = (*conv.inputs[count:], *(value for value in node.inputs if value != conv.output))
    aux = list(dict.fromkeys(read))
    total = operand(0) if op.epilogue is None else op.epilogue
    places = [
        total if value == conv.output else operand(1 + aux.index(value)) for value in node.inputs
    ]
    made = spelled(formula.replaced(places))
    if instructions(made) > MOST_EPILOGUE or len(aux) > MOST_OPERANDS or not _fits(made, []):
        return None
    inputs = (*conv.inputs[:count], *aux)
    return Node(replace(op, epilogue=made), inputs, node.outputs, conv.layer)


# Formulas into resamplings ------------------------------------------------------------------------


def _into_resamplings(nodes: tuple[Node, ...], kept: Collection[str]) -> tuple[Node, ...]:
    """A formula becomes the epilogue of the last resampling among its operands."""
    made: dict[int, Node] = dict(enumerate(nodes))
    readers = consumers(nodes)
    places = {node.output.name: number for number, node in made.items()}
    for here, node in enumerate(nodes):
        op = node.op
        if not _plain(node) or node.output.channels < LEAST_CHANNELS:
            continue
        assert isinstance(op, Elementwise)
        (formula,) = op.outputs
        if formula.uses("random") or any(beside(v, node.output) is None for v in node.inputs):
            continue
        able = [
            places[value.name]
            for value in node.inputs
            if value.name in places
            and value.name not in kept
            and _is_like(value, node.output)
            and len(readers[value.name]) == 1
            and _finishes(made[places[value.name]].op)
        ]
        if not able or instructions(formula) > MOST_EPILOGUE:
            continue
        maker = made.pop(max(able))
        aux = list(dict.fromkeys(value for value in node.inputs if value != maker.output))
        numbers = [0 if v == maker.output else 1 + aux.index(v) for v in node.inputs]
        resample = maker.op
        assert isinstance(resample, Resample)
        made_of = formula.replaced(list(map(operand, numbers)))
        resample = replace(resample, epilogue=made_of)
        made[here] = Node(resample, (maker.inputs[0], *aux), node.outputs, maker.layer)
    return tuple(made.values())


def _finishes(op: object) -> bool:
    """Whether a resampling can have an epilogue."""
    return isinstance(op, Resample) and op.epilogue is None and op.tables[0] is None


def beside(value: Value, out: Value) -> str | None:
    """What a value is to an epilogue of a resampling that makes ``out``: a "map" like it, a vector
    of its "channels", or a "number"; None for anything else.
    """
    each = value.samples == out.samples if value.batched == out.batched else not value.batched
    if value.kind != "float" or not (each or value.samples == 1):
        return None
    if value.batched and not out.batched:
        return None
    if value.shape == out.shape:
        return "map"
    if value.size == 1 and not value.batched:
        return "number"
    vector = value.channels == out.channels and value.positions == 1
    return "channels" if vector and value.channels > 1 else None


# Sums into formulas ------------------------------------------------------------------------------


def _reductions_merged(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Sums of a formula's result are taken while it is computed, if their operands exist then."""
    made: dict[int, Node] = dict(enumerate(nodes))
    places = {value.name: number for number, node in made.items() for value in node.outputs}
    for here, node in enumerate(nodes):
        node = _as_sums(node)
        op = node.op
        if not isinstance(op, Elementwise) or op.outputs or not op.reductions:
            continue
        target = max((places.get(value.name, -1) for value in node.inputs), default=-1)
        if target < 0:
            continue
        producer = made[target]
        p = producer.op
        if not isinstance(p, Elementwise) or not p.outputs or p.shape != op.shape:
            continue
        if not p.batched or not op.batched:
            continue
        merged = _with_reductions(producer, node)
        if merged is not None:
            made[target] = merged
            del made[here]
            places |= {value.name: target for value in node.outputs}
    return tuple(made.values())


def _as_sums(node: Node) -> Node:
    """A reduction over all positions of each map, as sums that can be taken beside formulas."""
    op = node.op
    if not isinstance(op, Reduce) or op.kind not in ("sum", "mean") or op.finish != operand(0):
        return node
    whole = joint(node.inputs)
    axes = [axis for axis, size in enumerate(whole.shape) if size > 1]
    if op.batch or [axis for axis in axes if axis] != [a for a in sorted(op.axes) if a in axes]:
        return node
    if not whole.batched or (SAMPLES in op.axes and whole.samples > 1):
        return node
    sums = tuple(Reduction(expr, "sample", mean=op.kind == "mean") for expr in op.exprs)
    return replace(node, op=Elementwise(whole.shape, (), sums))


def _with_reductions(producer: Node, node: Node) -> Node | None:
    """The producer with the sums of ``node`` beside its results; None where that is too
    much for one formula.
    """
    p, op = producer.op, node.op
    assert isinstance(p, Elementwise) and isinstance(op, Elementwise)
    inputs = list(producer.inputs)
    results = {value.name: i for i, value in enumerate(producer.outputs[: len(p.outputs)])}
    places = []
    for value in node.inputs:
        if value.name in results:
            places.append(p.outputs[results[value.name]])
            continue
        if value.name in {v.name for v in producer.outputs}:
            return None  # a sum of the producer is complete only after all of it
        if value not in inputs:
            inputs.append(value)
        places.append(operand(inputs.index(value)))
    extents = list(map(extent, places))
    if len(inputs) > MOST_OPERANDS or not all(_fits(each.expr, extents) for each in op.reductions):
        return None
    reductions = tuple(replace(each, expr=each.expr.replaced(places)) for each in op.reductions)
    return Node(
        replace(p, reductions=(*p.reductions, *reductions)),
        tuple(inputs),
        (*producer.outputs, *node.outputs),
        producer.layer,
    )
