"""Accumulation of gradients: what the readers of each value contribute, and the nodes for it."""

from collections.abc import Collection, Mapping, Sequence

from faltung.geometry.expr import Expr, constant, operand
from faltung.graph.expand import Nodes, Statistics
from faltung.graph.ops import Concat, ConvolveWeight, Elementwise, Reduction, View
from faltung.graph.value import Graph, Node, Value

A = operand(0)


class Backward:
    """Gradients while they accumulate: for each value the contributions of its readers.

    ``frozen``: names of parameters that need none.
    """

    def __init__(
        self,
        graph: Graph,
        statistics: Mapping[str, Statistics | Node],
        frozen: Collection[str] = (),
    ) -> None:
        self.nodes = Nodes("'")
        self.graph = graph
        self.statistics = statistics
        # The node that made a value, by the value's name.
        self.makers = {value.name: node for node in graph.nodes for value in node.outputs}
        self._given: dict[str, list[Value]] = {}
        self._parts: dict[str, list[tuple[int, Value]]] = {}
        self._needed: set[str] = set()
        self.require(*(p.value for p in graph.parameters if p.trained and p.name not in frozen))

    def require(self, *values: Value) -> None:
        """Compute gradients for these values, all that depends on them, and nothing else."""
        self._needed = {value.name for value in values}
        for node in self.graph.nodes:
            if isinstance(node.op, View) and node.op.stops:
                continue
            if any(value.name in self._needed for value in node.inputs):
                self._needed.update(value.name for value in node.outputs)

    def needs(self, value: Value) -> bool:
        return value.name in self._needed

    def give(self, value: Value, grad: Value) -> None:
        """Add to the gradient of ``value``."""
        self._given.setdefault(value.name, []).append(grad)

    def give_part(self, value: Value, start: int, grad: Value) -> None:
        """Add to the gradient of the channels of ``value`` from ``start`` on."""
        self._parts.setdefault(value.name, []).append((start, grad))

    def _joined(self, value: Value) -> None:
        """Gradients of parts as gradients of the whole: those that do not overlap become one, and
        where there is none are zeros.
        """
        parts = sorted(self._parts.pop(value.name, []), key=lambda part: part[0])
        while parts:
            taken: list[Value] = []
            rest: list[tuple[int, Value]] = []
            end = 0
            for start, grad in parts:
                if start < end:
                    rest.append((start, grad))
                    continue
                taken += [*self._zeros(value, start - end), grad]
                end = start + grad.channels
            taken += self._zeros(value, value.channels - end)
            batched, samples = value.batched, value.samples
            whole = self.nodes.add(Concat(), taken, value.shape, batched=batched, samples=samples)
            self.give(value, *whole)
            parts = rest

    def _zeros(self, value: Value, channels: int) -> tuple[Value, ...]:
        """As many channels of zeros, none for 0."""
        shape = (channels, *value.space)
        if not channels:
            return ()
        batched, samples = value.batched, value.samples
        op = Elementwise(shape, (constant(0),), batched=batched)
        return self.nodes.add(op, (), shape, batched=batched, samples=samples)

    def gradient(self, value: Value) -> Value | None:
        """The gradient, the sum of all contributions; None if there are none."""
        self._joined(value)
        given = self._given.get(value.name)
        if not given:
            return None
        if len(given) > 1:
            total: Expr = A
            for number in range(1, len(given)):
                total = total + operand(number)
            batched = given[0].batched
            op = Elementwise(given[0].shape, (total,), batched=batched)
            given[:] = self.nodes.add(op, tuple(given), given[0].shape, batched=batched)
        return given[0]

    def bias(self, value: Value, grad: Value) -> None:
        """The gradient of what was added to every position of a channel."""
        if self.needs(value):
            (total,) = self.nodes.reduce(grad.shape, (grad,), Reduction(A, "channel"))
            self.give(value, total)

    def weight(self, op: ConvolveWeight, value: Value, x: Value, grad: Value) -> None:
        if self.needs(value):
            # A weight that is computed is one for all samples of a batch of one.
            (made,) = self.nodes.add(
                op, (x, grad), value.shape, batched=value.batched, samples=value.samples
            )
            self.give(value, made)


def trimmed(formula: Expr, operands: Sequence[Value]) -> tuple[Expr, list[Value]]:
    """The same formula over the operands that it reads, each listed once."""
    names = [value.name for value in operands]
    first = [names.index(name) for name in names]
    read = sorted({first[i] for i in formula.operands()})
    places = [operand(read.index(i)) if i in read else A for i in first]
    return formula.replaced(places), [operands[i] for i in read]
