"""What the lowering of every node shares: places, plans, unique names of buffers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import field, replace
from math import prod
from typing import Any

import numpy as np

from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.graph.ops import (
    ChannelConv,
    Convolve,
    ConvolveInput,
    ConvolveInteger,
    ConvolveWeight,
    Recurrence,
    RecurrenceGrad,
)
from faltung.graph.recurrent import inputs_of
from faltung.graph.value import Node, Value
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Strides
from faltung.methods.base.step import Matrix, Operand, Step, relocated, waiting
from faltung.methods.base.update import Update
from faltung.plan.choose import AUTO, Policy
from faltung.plan.plan import Plan
from faltung.plan.shelf import Shelf
from faltung.program.places import Places


@dataclass(frozen=True, slots=True)
class Chain:
    """Nodes that run together, a band of rows at a time. height: rows of the last map in a band;
    rings: for each map between them the rows for which a thread has memory, and the bytes of those;
    bytes: of these maps as a whole. before, after: nanoseconds as single layers, and as a chain.
    """

    nodes: tuple[Node, ...]
    height: int
    rings: tuple[tuple[int, int], ...]
    bytes: int
    before: float
    after: float


@dataclass(slots=True)
class Lowered:
    """The steps of one node. prepare: what packs weights. kept, scratch: buffers of its own, name
    -> bytes. cycles: a rough cost on one core. updated: parameters that it changes. chain: of
    several nodes that run as one, of which ``node`` is the last.
    """

    node: Node
    steps: list[Step]
    prepare: list[Step] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)
    scratch: dict[str, int] = field(default_factory=dict)
    cycles: float = 0.0
    plan: Plan | None = None
    updated: tuple[Value, ...] = ()
    chain: "Chain | None" = None

    @property
    def nodes(self) -> tuple[Node, ...]:
        return (self.node,) if self.chain is None else self.chain.nodes

    @property
    def reads(self) -> list[Value]:
        """The values that the steps read, and do not make."""
        inside = {value.name for node in self.nodes[:-1] for value in node.outputs}
        return [v for node in self.nodes for v in node.inputs if v.name not in inside]

    def price(self, batch: int) -> float:
        """Its cycles, or what reading and writing its values takes, about."""
        node = self.node
        values = (*node.inputs, *node.outputs)
        return self.cycles or 2.0 * sum(v.size * (batch if v.batched else 1) for v in values)

    @property
    def writes(self) -> tuple[Value, ...]:
        return self.node.outputs

    @property
    def packed(self) -> list[Value]:
        """What ``prepare`` may read: weights and biases; what an epilogue reads may not be there
        yet.
        """
        op, inputs = self.node.op, self.node.inputs
        if isinstance(op, Recurrence | RecurrenceGrad):
            return [value for part in inputs_of(op, inputs)[0] for value in part.recurrent]
        return list(inputs[1 : 3 if getattr(op, "bias", False) else 2])


@dataclass(frozen=True, slots=True)
class Updated:
    """The parameter of a gradient, and where the arrays and scalars of its update are."""

    parameter: Value
    update: Update
    operands: dict[str, Operand]


class Lowering:
    """Nodes of one program to steps. ``weights``: strides of each parameter in its unfolded shape,
    by name. ``policy``: the methods that its convolutions may use. ``about``: what the program is,
    in words by which its plans are found on disk; nothing: they are not kept there.
    """

    def __init__(
        self,
        places: Places,
        weights: dict[str, Strides],
        batch: int,
        dtype: str,
        machine: Machine,
        policy: Policy = AUTO,
        about: Iterable[str] = (),
    ) -> None:
        self.places = places
        self.weights = weights
        self.batch = batch
        self.dtype = dtype
        self.machine = machine
        self.policy = policy
        self.shelf = Shelf(machine, policy, about)
        self._packing = Shelf(machine, replace(policy, packs=True, priced=True))
        self.itemsize = np.dtype(dtype).itemsize
        # Bytes of a number, of buffers that are kept otherwise.
        self.items: dict[str, int] = {}
        self.constants: dict[str, np.ndarray[Any, Any]] = {}
        # What is done with gradients instead of storing them, by their names.
        self.updates: dict[str, Updated] = {}
        self._count = 0

    # Where things are ----------------------------------------------------------------------------

    def where(self, value: Value) -> Operand:
        place = self.places.place(value)
        return Operand(place.buffer, place.channel * self.items.get(place.buffer, self.itemsize))

    def pitch(self, value: Value) -> int:
        return self.places.place(value).pitch

    def samples(self, value: Value) -> int:
        """How many maps, or vectors, of its shape a value has in all."""
        return value.samples * (self.batch if value.batched else 1)

    def computed(self, value: Value) -> bool:
        """Whether a value is there in a run alone: an input, or what nodes make."""
        root = self.places.root(value)
        return root.batched or root.name in self.places.made

    def matrix(self, value: Value) -> Matrix:
        """Where the rows of a value lie."""
        return Matrix(self.where(value), self.pitch(value))

    def constant(self, values: Sequence[float]) -> Operand:
        """A buffer with these numbers."""
        name = f"constant {tuple(values)}"
        self.constants[name] = np.array(values, self.dtype)
        return Operand(name)

    def strides(self, value: Value, space: Sequence[int]) -> Strides:
        return self.places.strides(value, space)

    # Plans ---------------------------------------------------------------------------------------

    def plan(
        self, build: Callable[..., Plan], *arguments: Any, packs: bool = False, **named: Any
    ) -> Plan:
        """A plan of the engine; equal questions share one, also of other programs. packs: weights
        are packed in every run.
        """
        return (self._packing if packs else self.shelf).plan(build, arguments, named)

    def planned(self, node: Node, plan: Plan) -> Lowered:
        op = node.op
        inputs = list(map(self.where, node.inputs))
        out = self.where(node.output)
        if isinstance(op, ConvolveWeight):
            names = {"x": inputs[0], "w": out, "out": inputs[1]}
            updated = self.updates.get(node.output.name)
            names |= {} if updated is None else updated.operands
        elif isinstance(op, ChannelConv):
            names = {"x": inputs[0], "w": self.constant(op.weight), "out": out}
        else:
            assert isinstance(op, Convolve | ConvolveInput | ConvolveInteger)
            x, w, *rest = inputs
            names = {"x": x, "w": w, "out": out}
            if op.bias:
                names["bias"] = rest.pop(0)
            names |= {f"aux{i}": aux for i, aux in enumerate(rest)}
        work = plan.work
        steps, prepare, kept, scratch = work.steps, work.prepare, work.kept, work.scratch
        if isinstance(op, Convolve | ConvolveInput | ConvolveInteger) and self.packs(node):
            # What is packed is there only in the run: it is packed before the sums of each.
            first = [waiting(step, True) for step in steps[:1]] if prepare else steps[:1]
            steps, prepare = [*prepare, *first, *steps[1:]], []
            kept, scratch = {}, kept | scratch
        made = Lowered(
            node, list(steps), list(prepare), dict(kept), dict(scratch), plan.cycles, plan
        )
        if node.output.name in self.updates:
            made.updated = (self.updates[node.output.name].parameter,)
        return self.named(made, names)

    def packs(self, node: Node) -> bool:
        """Whether the weight or the bias of a convolution is computed, and packed in every run."""
        given = node.inputs[1 : 3 if getattr(node.op, "bias", False) else 2]
        return any(map(self.computed, given))

    def number(self) -> int:
        """A number that no other node has."""
        self._count += 1
        return self._count

    def named(self, made: Lowered, names: dict[str, Operand] | None = None) -> Lowered:
        """Rename the node's own buffers so that no other node has these names."""
        number = self.number()
        own = {name: Operand(f"{number} {name}") for name in (*made.kept, *made.scratch)}
        if names is None:
            made.steps = [renamed(step, own) for step in made.steps]
            made.prepare = [renamed(step, own) for step in made.prepare]
        else:
            every = names | own
            made.steps = [relocated(step, every) for step in made.steps]
            made.prepare = [relocated(step, every) for step in made.prepare]
        made.kept = {own[name].name: size for name, size in made.kept.items()}
        made.scratch = {own[name].name: size for name, size in made.scratch.items()}
        return made


def broadcast_strides(low: Lowering, value: Value, shape: tuple[int, ...]) -> Strides:
    """Strides of an operand along the axes of memory of a map of ``shape``: the batch, samples,
    space and channels; 0 where it is the same.

    ValueError: a parameter that does not lie in memory as maps do.
    """
    pitch, space = low.pitch(value), [1] * (len(shape) - 1)
    if len(value.shape) == len(shape):
        space = list(value.shape[1:])
    steps = [0 if n == 1 else pitch * prod(space[i + 1 :]) for i, n in enumerate(space)]
    one = pitch * value.positions
    wanted = (int(value.channels > 1), *steps)
    given = low.weights.get(value.name, ())
    if len(given) == len(shape) == len(value.shape):
        lies = [step if n > 1 else 0 for step, n in zip(given, value.shape, strict=True)]
        if lies != [*wanted]:
            raise FaltungError(f"{value.name}.order: must be that of maps, channels last")
    return (
        one * value.samples if value.batched else 0,
        one if value.samples > 1 else 0,
        *steps,
        int(value.channels > 1),
    )


def renamed(step: Step, own: dict[str, Operand]) -> Step:
    """The same step with its own buffers renamed."""
    if not own:
        return step
    names = {
        argument.name: Operand(argument.name)
        for argument in step.arguments
        if isinstance(argument, Operand)
    }
    return relocated(step, names | own)
