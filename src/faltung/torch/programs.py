"""A part of a model as a program over tensors of PyTorch, for one combination of sizes."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import fx

from faltung.geometry.record import dataclass
from faltung.graph.foreign import Tensor
from faltung.graph.ops import Convolve
from faltung.program.borrowed import Borrowed
from faltung.runtime.buffers import aligned
from faltung.torch.edges import Read, Written
from faltung.torch.importer import flat
from faltung.torch.leaves import Leaves
from faltung.torch.part import Leaf, Part
from faltung.torch.prefix import Prefix

Array = npt.NDArray[Any]
Precision = Literal["fast", "strict"]
# Whose random numbers: ours, made of keys while a program runs, or those that PyTorch would draw.
Random = Literal["faltung", "torch"]

COMPUTE = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, slots=True)
class Piece:
    """Nodes that become programs; inputs, leaves, outputs: as for ``Region``."""

    nodes: Sequence[fx.Node]
    inputs: Sequence[str]
    leaves: Sequence[str]
    outputs: Sequence[str]
    precision: Precision
    random: Random


@dataclass(frozen=True, slots=True)
class Given:
    """A parameter of the graph: the leaf that it is, and where it begins there."""

    parameter: str
    leaf: str
    offset: int


class Program:
    """What programs with and without gradients share."""

    def __init__(self, piece: Piece, part: Part) -> None:
        # Leaves whose numbers are a part of the program, by number, and what they were then.
        self.contains: list[tuple[int, tuple[int, int]]] = []
        self.piece, self.part = piece, part
        graph = part.graph
        self.dtype = torch.float32 if graph is None else COMPUTE[graph.dtype]
        by_value = {x.value.name: name for name, x in part.inputs.items()}
        values = () if graph is None else tuple(value.name for value in graph.inputs)
        # What PyTorch draws in each call: by the name of the value, empty for what nothing reads.
        self.draws = [
            (x.value.name if x.value.name in values else "", one.draw)
            for one in part.draws
            for x in (one.tensor,)
        ]
        names = [by_value[value] for value in values if value in by_value]
        self.reads = [
            (piece.inputs.index(name), part.inputs[name].value.name, self._read(name))
            for name in names
        ]
        self.first = [
            part.inputs[name].value.name
            for name in names
            if len(part.inputs[name].shape) > 2 and self._is_first(part.inputs[name])
        ]
        number = {value.name: i for i, value in enumerate(part.values)}
        made = [x for x in flat(part.outputs.values()) if isinstance(x, Tensor)]
        self.writes: dict[int, Written] = {}
        for x in made:
            if x.value.name in number:
                self.writes[number[x.value.name]] = Written.of(x, self.dtype)
        self.number = number
        leaves = {leaf for leaf in part.leaves.values()}
        self.given = [
            Given(name, b.leaf.name, _offset(b.array, b.leaf.array))
            for name, b in part.bound.items()
            if b.leaf is not None and b.shared and b.leaf in leaves
        ]
        read = {g.leaf for g in self.given} | {leaf.name for leaf in part.baked}
        read |= {x.name for x in flat(part.outputs.values()) if isinstance(x, Leaf)}
        self.prefix = Prefix(part, {name.split("[")[0] for name in read})
        # Numbers of ours: constants, and copies of leaves.
        orders = {} if graph is None else {p.name: p.order for p in graph.parameters}
        self.own = {
            name: _laid_out(b.array, orders.get(name, ()))
            for name, b in part.bound.items()
            if name not in {g.parameter for g in self.given}
        }

    def drawn(self) -> dict[str, torch.Tensor]:
        """Random numbers of PyTorch, drawn in the order in which the model would."""
        made = [(name, draw()) for name, draw in self.draws]
        return {name: x.to(self.dtype).contiguous() for name, x in made if name}

    def _read(self, name: str) -> Read:
        x = self.part.inputs[name]
        whole = x.value.kind == "int"
        dtype = torch.int64 if whole else self.dtype
        last = x.rank > 2 and not x.straight and not self._is_first(x)
        return Read(name, dtype, last, self.part.tokens.get(name))

    def _is_first(self, x: Tensor) -> bool:
        name = next(n for n, y in self.part.inputs.items() if y is x)
        return name in self.part.first

    def results(self, made: Mapping[int, torch.Tensor], env: Mapping[str, Any]) -> list[Any]:
        return [self._result(x, made, env) for x in self.part.outputs.values()]

    def _result(self, x: Any, made: Mapping[int, torch.Tensor], env: Mapping[str, Any]) -> Any:
        if isinstance(x, list):
            return [self._result(one, made, env) for one in x]
        if isinstance(x, Leaf):
            return env.get(x.name, x.tensor)
        if isinstance(x, Tensor):
            found = self.number.get(x.value.name)
            return env[self._input_of(x)] if found is None else made[found]
        return x

    def _input_of(self, x: Tensor) -> str:
        return next(n for n, y in self.part.inputs.items() if y.value.name == x.value.name)


def _laid_out(array: Array, order: Sequence[int]) -> Array:
    """A copy with its axes in this order in memory."""
    if len(order) != array.ndim or not order:
        return np.array(array, order="C")  # ``ascontiguousarray`` gives a number an axis
    moved = np.ascontiguousarray(array.transpose(order))
    return moved.transpose(np.argsort(order).tolist())


def _offset(array: Array, whole: Array) -> int:
    """How many bytes into a leaf a parameter begins."""
    here, there = (int(a.__array_interface__["data"][0]) for a in (array, whole))
    return here - there


class Inferred(Program):
    """A program without gradients, over the parameters as they are packed."""

    def __init__(self, piece: Piece, part: Part, earlier: Sequence[Leaves]) -> None:
        super().__init__(piece, part)
        graph = part.graph
        self.numbers: Leaves | None = None
        self.program: Borrowed | None = None
        # Whether the outputs are what the program writes, in its order.
        outputs = list(part.outputs.values())
        names = [x.value.name for x in outputs if isinstance(x, Tensor)]
        self._plain = names == [value.name for value in part.values] and len(names) == len(outputs)
        self._plain &= all(w.wanted == w.dtype for w in self.writes.values())
        # Of what PyTorch computes of parameters only what is returned, or written, is not known.
        returned = {x.name.split("[")[0] for x in flat(outputs) if isinstance(x, Leaf)}
        self._each = Prefix(part, returned)
        self._plain &= not self._each.nodes
        if graph is None:
            return
        arrays = {name: b.array for name, b in part.bound.items()} | self.own
        self.numbers = Leaves(graph.parameters, graph.dtype, arrays, earlier)
        self.program = Borrowed(
            graph, first=self.first, numbers=self.numbers, precision=piece.precision
        )
        convolved = {n.inputs[1].name for n in graph.nodes if isinstance(n.op, Convolve)}
        self._in_place = self.numbers.shared(convolved)
        # Leaves that are read where they lie, and only packed.
        hard = {leaf.name for leaf in part.baked}
        self._soft = {g.leaf for g in self.given} & set(piece.leaves) - hard
        self._blocks: list[Block] = []

    def renewed(self, names: set[str]) -> bool:
        """Pack again after these leaves have changed; False: the program must be made anew."""
        if self.program is None or not self._in_place or not names <= self._soft:
            untouched = self.program is not None and names.isdisjoint(self._needs())
            return untouched
        self.program.refresh()
        return True

    def _needs(self) -> set[str]:
        read = {g.leaf for g in self.given} | {leaf.name for leaf in self.part.baked}
        for node in self.prefix.nodes:
            read.update(x.name for x in node.all_input_nodes)
        return read

    def __call__(self, inputs: Sequence[Any], leaves: Sequence[torch.Tensor]) -> list[Any]:
        made: dict[int, torch.Tensor] = {}
        if self.program is not None:
            try:
                block = self._blocks.pop()
            except IndexError:
                block = Block(self)
            made = block.run(inputs)
            self._blocks.append(block)
        if self._plain:
            return list(made.values())
        env: dict[str, Any] = dict(zip(self.piece.inputs, inputs, strict=True))
        if self._each.nodes or not self._plain:
            env |= zip(self.piece.leaves, leaves, strict=True)
            # What follows from parameters alone has gradients, which PyTorch computes.
            with torch.set_grad_enabled(self.program is None and torch.is_grad_enabled()):
                self._each(env)
        told = {i: self.writes[i].told(x) for i, x in made.items()}
        return self.results(told, env)


class Block:
    """The memory and the arguments of one call at a time."""

    __slots__ = ("arena", "drawn", "keys", "move", "program", "reads", "steps", "writes")

    def __init__(self, owner: Inferred) -> None:
        program = owner.program
        assert program is not None
        self.program = program
        self.arena = aligned(program.bytes)
        self.steps = program.movable(0)
        self.move = self.steps.move
        slots = program.slots
        self.move(slots["arena"], self.arena.__array_interface__["data"][0])
        self.reads = [(slots.get(name, -1), place, read) for place, name, read in owner.reads]
        self.writes = [(slots[f"output {i}"], i, how) for i, how in owner.writes.items()]
        self.drawn = owner.drawn if owner.draws else dict
        self.keys = torch.empty(len(program.keys), dtype=torch.int64)
        if program.keys:
            self.move(slots["keys"], self.keys.data_ptr())

    def run(self, inputs: Sequence[Any]) -> dict[int, torch.Tensor]:
        move = self.move
        alive = []
        for slot, place, read in self.reads:
            x = read(inputs[place])
            alive.append(x)
            if slot >= 0:
                move(slot, x.data_ptr())
        made = {}
        for slot, i, how in self.writes:
            x = made[i] = how.empty()
            move(slot, x.data_ptr())
        if self.program.keys:
            self.keys.random_()
        drawn = self.drawn()
        for name, x in drawn.items():
            move(self.program.slots[name], x.data_ptr())
        self.steps.run(self.program.threads)
        return made
