"""Which weights change as soon as their gradient is complete, and the order of nodes for that.

The optimizer reads and writes each parameter, its gradient and its slots once: memory bounds it. Of
a large matrix the gradient need not pass through memory at all: the tile that has summed a part of
it changes the weight there. That is so where gradients are not clipped by their norm, which would
need all of them first, and nothing else reads the gradient. What else reads the weight has to come
before.
"""

from collections.abc import Collection, Mapping, Sequence

from faltung.graph.ops import Convolve, ConvolveInput, ConvolveWeight
from faltung.graph.value import Node, Value
from faltung.methods.base.step import Operand
from faltung.methods.base.update import Update
from faltung.program import lower_conv
from faltung.program.lowering import Lowering, Updated
from faltung.program.optimizer import Rule
from faltung.program.state import State

# Smaller parameters stay in the caches until the optimizer goes over all of them.
MIN_ELEMENTS = 1 << 16


def fusible(nodes: Sequence[Node], gradients: Mapping[str, str]) -> dict[str, str]:
    """Gradients that may be used at once: their names and those of the parameters.

    gradients: the same of all that are trained.
    """
    read = {value.name for node in nodes for value in node.inputs}
    known = {
        value.name
        for node in nodes
        for value in node.inputs
        if not isinstance(node.op, Convolve | ConvolveInput)
    }
    return {
        node.output.name: gradients[node.output.name]
        for node in nodes
        if isinstance(node.op, ConvolveWeight)
        and node.output.size >= MIN_ELEMENTS
        and set(node.op.spec.kernel) == {1}
        and node.output.name in gradients
        and node.output.name not in read
        and gradients[node.output.name] not in known
    }


def ordered(nodes: Sequence[Node], found: Mapping[str, str]) -> list[Node]:
    """The nodes, with those that make the gradients ``found`` behind all that read the weight."""
    last = {value.name: number for number, node in enumerate(nodes) for value in node.inputs}
    moved: dict[int, list[Node]] = {}
    made: list[Node] = []
    for number, node in enumerate(nodes):
        behind = last.get(found.get(node.output.name, ""), -1) if node.outputs else -1
        if behind > number:
            moved.setdefault(behind, []).append(node)
        else:
            made.append(node)
        made += moved.pop(number, [])
    return made


def fuse(
    low: Lowering,
    nodes: Sequence[Node],
    found: Mapping[str, str],
    state: State,
    optimizer: Rule,
) -> set[str]:
    """Tell the lowering what to do with the gradients ``found``; the parameters of those for which
    its plans do it.
    """
    formulas = optimizer.formulas()
    update = Update(formulas, len(optimizer.scalars))
    item, done = state.dtype.itemsize, set[str]()
    for node in nodes:
        name = found.get(node.output.name) if node.outputs else None
        if name is None:
            continue
        at = state.offset(name)
        arrays = zip(update.arrays, ("parameters", *optimizer.slots), strict=True)
        operands = {known: Operand(memory, at * item) for known, memory in arrays}
        scalars = zip(update.numbers, scalars_of(optimizer, at < state.decayed), strict=True)
        operands |= {known: Operand(f"optimizer.{scalar}") for known, scalar in scalars}
        parameter = Value(name, state.parameters[name].inner, batched=False)
        low.updates[node.output.name] = Updated(parameter, update, operands)
        if lower_conv.updates(low, node):
            done.add(name)
        else:
            del low.updates[node.output.name]
    return done


def scalars_of(optimizer: Rule, decayed: bool) -> list[str]:
    """The scalars of an update, by name; without decay "none" in its place."""
    given: Collection[str] = optimizer.scalars
    return [name if name != "decay" or decayed else "none" for name in given]
