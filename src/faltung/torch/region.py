"""Nodes of a model as one program for each combination of sizes, called with tensors of PyTorch.

Tensors are read and written where they lie. Weights of inference are packed once, and again when
PyTorch says that they have changed; those of training are read in every call. A call that asks for
gradients is one ``autograd.Function``; what its backward phase reads of its forward phase is saved
as PyTorch saves tensors, and so is freed, checked and recomputed (by checkpointing) as those are.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from typing import Any, Literal
from weakref import finalize

import numpy as np
import numpy.typing as npt
import torch
from torch import fx

from faltung.geometry.conv import Float
from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Tensor
from faltung.graph.ops import Convolve
from faltung.methods.rows.embedding import check_tokens
from faltung.program.borrowed import Borrowed
from faltung.runtime.buffers import aligned
from faltung.torch.importer import flat, imported, lies_last
from faltung.torch.leaves import Leaves
from faltung.torch.part import DTYPES, Feed, Gap, Leaf, Part, trainable

Array = npt.NDArray[Any]
Precision = Literal["fast", "strict"]

# Programs of one region that are kept, each for other sizes.
MOST_PROGRAMS = 32
COMPUTE = {"float32": torch.float32, "float64": torch.float64}


class Region:
    """One piece of a model.

    Parameters
    ----------
    nodes : sequence of fx.Node
        Of an ATen graph, in order.
    inputs, leaves : sequence of str
        Names of the nodes whose results are given at each call: tensors or numbers, and parameters
        and buffers.
    outputs : sequence of str
        Names of the nodes whose results a call returns.
    precision : {"fast", "strict"}
        As for ``faltung.conv2d``.
    """

    def __init__(
        self,
        nodes: Sequence[fx.Node],
        inputs: Sequence[str],
        leaves: Sequence[str],
        outputs: Sequence[str],
        *,
        precision: Precision = "fast",
    ) -> None:
        self.nodes, self.inputs, self.leaves = list(nodes), list(inputs), list(leaves)
        self.outputs, self.precision = list(outputs), precision
        self._programs: dict[Any, Inferred | Trained] = {}
        self._seen: list[torch.Tensor] = []
        self._marks: list[tuple[int, int]] = []
        self._lock = threading.RLock()

    def __call__(self, inputs: Sequence[Any], leaves: Sequence[torch.Tensor]) -> list[Any]:
        """The outputs. UnsupportedError: gaps."""
        gradients = torch.is_grad_enabled() and _any_requires(inputs, leaves)
        key = _key(inputs, leaves, gradients)
        if not gradients:
            self._look_at(leaves)
        program = self._programs.get(key)
        if program is None:
            with self._lock:
                program = self._programs.get(key) or self._made(key, inputs, leaves, gradients)
        return program(inputs, leaves)

    def gaps(self, inputs: Sequence[Any], leaves: Sequence[torch.Tensor]) -> list[Gap]:
        """What cannot be said for inputs of these sizes."""
        gradients = torch.is_grad_enabled() and _any_requires(inputs, leaves)
        return self._part(inputs, leaves, gradients).gaps

    @property
    def programs(self) -> list["Inferred | Trained"]:
        """Those that there are, the oldest first."""
        return list(self._programs.values())

    def _part(self, inputs: Sequence[Any], leaves: Sequence[torch.Tensor], gradients: bool) -> Part:
        given: dict[str, Any] = {}
        for name, x in zip(self.inputs, inputs, strict=True):
            given[name] = _feed(x, gradients) if isinstance(x, torch.Tensor) else x
        given |= zip(self.leaves, leaves, strict=True)
        tensors = [x for x in (*inputs, *leaves) if isinstance(x, torch.Tensor)]
        wide = any(x.dtype == torch.float64 for x in tensors)
        dtype: Float = "float64" if wide else "float32"
        return imported(self.nodes, given, self.outputs, dtype, gradients)

    def _made(
        self, key: Any, inputs: Sequence[Any], leaves: Sequence[torch.Tensor], gradients: bool
    ) -> "Inferred | Trained":
        part = self._part(inputs, leaves, gradients)
        if part.gaps:
            raise _unsupported(part.gaps)
        made: Inferred | Trained
        if gradients and (part.graph is not None):
            made = Trained(self, part)
        else:
            earlier = [p.numbers for p in self.programs if isinstance(p, Inferred) and p.numbers]
            made = Inferred(self, part, earlier[:1])
        self._programs[key] = made
        while len(self._programs) > MOST_PROGRAMS:
            del self._programs[next(iter(self._programs))]
        return made

    # Parameters that change ----------------------------------------------------------------------

    def _look_at(self, leaves: Sequence[torch.Tensor]) -> None:
        """Whether parameters are still what programs have packed."""
        try:
            marks = [(x._version, x.data_ptr()) for x in leaves]
        except RuntimeError:  # tensors that were made in inference mode have no version
            marks = list(map(_mark, leaves))
        if marks == self._marks and all(map(is_, leaves, self._seen)):
            return
        with self._lock:
            if marks != self._marks or not all(map(is_, leaves, self._seen)):
                self._changed(leaves, marks)

    def _changed(self, leaves: Sequence[torch.Tensor], marks: list[tuple[int, int]]) -> None:
        old = self._marks or [(-1, -1)] * len(marks)
        moved = not self._marks or any(a[1] != b[1] for a, b in zip(old, marks, strict=True))
        names = {n for n, a, b in zip(self.leaves, old, marks, strict=True) if a != b}
        for key, program in list(self._programs.items()):
            if isinstance(program, Inferred) and (moved or not program.renewed(names)):
                del self._programs[key]
        self._seen, self._marks = list(leaves), marks


def _any_requires(inputs: Sequence[Any], leaves: Sequence[torch.Tensor]) -> bool:
    return any(x.requires_grad for x in leaves) or any(
        isinstance(x, torch.Tensor) and x.requires_grad for x in inputs
    )


def _mark(x: torch.Tensor) -> tuple[int, int]:
    return (-1 if x.is_inference() else x._version), x.data_ptr()


def _key(inputs: Sequence[Any], leaves: Sequence[torch.Tensor], gradients: bool) -> Any:
    """All of a call but where its tensors lie, and their numbers."""
    if not gradients:
        return tuple(
            [(x.shape, x.stride(), x.dtype) if isinstance(x, torch.Tensor) else x for x in inputs]
        )
    given = [
        (x.shape, x.stride(), x.dtype, x.requires_grad) if isinstance(x, torch.Tensor) else x
        for x in inputs
    ]
    return tuple(given), tuple([x.requires_grad for x in leaves])


def _feed(x: torch.Tensor, gradients: bool) -> Feed:
    dtype = DTYPES.get(x.dtype, str(x.dtype).removeprefix("torch."))
    return Feed(tuple(x.shape), dtype, lies_last(x), gradients and x.requires_grad)


def _unsupported(gaps: Sequence[Gap]) -> FaltungError:
    from faltung.geometry.errors import UnsupportedError

    return UnsupportedError("; ".join(f"{gap.node.target}: {gap.reason}" for gap in gaps))


# Tensors ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Read:
    """How a program reads an input: as this dtype, and in the order of ``memory`` or of its axes.
    rows: of a table that its numbers select from.
    """

    name: str
    dtype: torch.dtype
    last: bool
    rows: int | None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype != self.dtype:
            x = x.detach().to(self.dtype)
        if not self.last:
            if not x.is_contiguous():
                x = x.detach().contiguous()
        elif not lies_last(x):
            x = _last(x.detach())
        if self.rows is not None:
            check_tokens(x.detach().numpy(), self.rows)
        return x


def _last(x: torch.Tensor) -> torch.Tensor:
    """With the channels last in memory."""
    order = (0, *range(2, x.dim()), 1)
    back = (0, x.dim() - 1, *range(1, x.dim() - 1))
    return x.permute(order).contiguous().permute(back)


@dataclass(frozen=True, slots=True)
class Written:
    """How a program writes a tensor: its axes in the order of memory."""

    shape: tuple[int, ...]
    memory: tuple[int, ...]
    back: tuple[int, ...]
    straight: bool
    dtype: torch.dtype
    wanted: torch.dtype

    @staticmethod
    def of(x: Tensor, dtype: torch.dtype) -> "Written":
        memory = x.memory
        back = tuple(sorted(range(x.rank), key=memory.__getitem__))
        wanted = next((t for t, name in DTYPES.items() if name == x.dtype), dtype)
        straight = memory == tuple(range(x.rank))
        return Written(tuple(x.shape[i] for i in memory), memory, back, straight, dtype, wanted)

    def empty(self) -> torch.Tensor:
        made = torch.empty(self.shape, dtype=self.dtype)
        return (
            made
            if self.memory == self.back == tuple(range(len(self.memory)))
            else (made.permute(self.back))
        )

    def told(self, x: torch.Tensor) -> torch.Tensor:
        """In the dtype that PyTorch gives it."""
        if self.wanted == self.dtype:
            return x
        return x > 0.5 if self.wanted == torch.bool else x.to(self.wanted)


@dataclass(frozen=True, slots=True)
class Given:
    """A parameter of the graph: the leaf that it is, and where it begins there."""

    parameter: str
    leaf: str
    offset: int


class Prefix:
    """What PyTorch computes of parameters before each call. nodes: in order, those that are read."""

    def __init__(self, part: Part, wanted: set[str]) -> None:
        self.nodes: list[fx.Node] = []
        needed = set(wanted)
        for node in reversed(part.prefix):
            if node.name in needed or _mutates(node):
                self.nodes.append(node)
                needed.update(x.name for x in node.all_input_nodes)
        self.nodes.reverse()
        self.constants = {n: leaf.tensor for n, leaf in part.leaves.items() if n in needed}

    def __call__(self, env: dict[str, Any]) -> dict[str, Any]:
        for node in self.nodes:
            args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: self._value(env, n))
            found = node.target(*args, **kwargs)  # type: ignore[operator]
            env[node.name] = found
            if isinstance(found, list | tuple):
                env |= {f"{node.name}[{i}]": x for i, x in enumerate(found)}
        return env

    def _value(self, env: dict[str, Any], node: fx.Node) -> Any:
        if node.name in env:
            return env[node.name]
        if node.op == "get_attr":
            return attribute(node)
        return self.constants[node.name]


def attribute(node: fx.Node) -> Any:
    """What a get_attr node names."""
    found: Any = node.graph.owning_module
    for name in str(node.target).split("."):
        found = getattr(found, name)
    return found


def _mutates(node: fx.Node) -> bool:
    target: Any = node.target
    return isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable


# Programs -----------------------------------------------------------------------------------------


class _Program:
    """What programs with and without gradients share."""

    def __init__(self, region: Region, part: Part) -> None:
        self.region, self.part = region, part
        graph = part.graph
        self.dtype = torch.float32 if graph is None else COMPUTE[graph.dtype]
        by_value = {x.value.name: name for name, x in part.inputs.items()}
        names = [] if graph is None else [by_value[value.name] for value in graph.inputs]
        self.reads = [
            (region.inputs.index(name), part.inputs[name].value.name, self._read(name))
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
        self.own = {
            name: np.ascontiguousarray(b.array)
            for name, b in part.bound.items()
            if name not in {g.parameter for g in self.given}
        }

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


def _offset(array: Array, whole: Array) -> int:
    """How many bytes into a leaf a parameter begins."""
    here, there = (int(a.__array_interface__["data"][0]) for a in (array, whole))
    return here - there


class Inferred(_Program):
    """A program without gradients, over the parameters as they are packed."""

    def __init__(self, region: Region, part: Part, earlier: Sequence[Leaves]) -> None:
        super().__init__(region, part)
        graph = part.graph
        self.numbers: Leaves | None = None
        self.program: Borrowed | None = None
        # Whether the outputs are what the program writes, in its order.
        outputs = list(part.outputs.values())
        names = [x.value.name for x in outputs if isinstance(x, Tensor)]
        self._plain = names == [value.name for value in part.values] and len(names) == len(outputs)
        self._plain &= all(w.wanted == w.dtype for w in self.writes.values())
        self._plain &= not self.prefix.nodes
        if graph is None:
            return
        arrays = {name: b.array for name, b in part.bound.items()} | self.own
        self.numbers = Leaves(graph.parameters, graph.dtype, arrays, earlier)
        self.program = Borrowed(
            graph, first=self.first, numbers=self.numbers, precision=region.precision
        )
        convolved = {n.inputs[1].name for n in graph.nodes if isinstance(n.op, Convolve)}
        self._in_place = self.numbers.shared(convolved)
        # Leaves that are read where they lie, and only packed.
        hard = {leaf.name for leaf in part.baked}
        self._soft = {g.leaf for g in self.given} & set(region.leaves) - hard
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
        env: dict[str, Any] = dict(zip(self.region.inputs, inputs, strict=True))
        if self.prefix.nodes:
            env |= zip(self.region.leaves, leaves, strict=True)
            with torch.no_grad():
                self.prefix(env)
        told = {i: self.writes[i].told(x) for i, x in made.items()}
        return self.results(told, env)


class Block:
    """The memory and the arguments of one call at a time."""

    __slots__ = ("arena", "keys", "move", "program", "reads", "steps", "writes")

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
        self.steps.run(self.program.threads)
        return made


def drawn(count: int) -> torch.Tensor:
    """Keys of random numbers, from PyTorch's own generator."""
    return torch.empty(count, dtype=torch.int64).random_()


class Arenas:
    """Blocks of memory for what a backward phase reads, used again."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._free: list[Array] = []

    def lent(self) -> torch.Tensor:
        """A block as a tensor; it comes back when nothing refers to the tensor's memory."""
        try:
            memory = self._free.pop()
        except IndexError:
            memory = aligned(max(64, self.size))
        view = memory.view()
        finalize(view, self._free.append, memory).atexit = False
        return torch.from_numpy(view)


class Trained(_Program):
    """A program with gradients: its parameters are read in every call, where they lie."""

    def __init__(self, region: Region, part: Part) -> None:
        super().__init__(region, part)
        graph = part.graph
        assert graph is not None
        item = np.dtype(graph.dtype).itemsize
        wanted = [x.value.name for name, x in part.inputs.items() if name in part.trained]
        trained = {g.parameter for g in self.given if part.leaves[g.leaf].trained}
        steps = {
            name: tuple(n // item for n in b.array.strides) for name, b in part.bound.items()
        } | {name: tuple(n // item for n in a.strides) for name, a in self.own.items()}
        self.program = Borrowed(
            graph,
            first=self.first,
            strides=steps,
            gradient_strides={n: steps[n] for n in trained if len(steps[n]) > 1},
            wanted={*wanted, *trained},
            precision=region.precision,
        )
        program = self.program
        self.arenas = Arenas(program.bytes)
        self.leaf_names = list(dict.fromkeys(g.leaf for g in self.given))
        self.updated = self._updated()
        self.seeds = {
            i: Written.of(self._tensor(i), self.dtype)
            for i, seed in enumerate(program.seeds)
            if seed is not None
        }
        self.input_grads = {
            value: Written.of(part.inputs[read.name], self.dtype)
            for _, value, read in self.reads
            if value in program.gradients
        }

    def _tensor(self, number: int) -> Tensor:
        name = self.part.values[number].name
        return next(
            x
            for x in flat(self.part.outputs.values())
            if isinstance(x, Tensor) and x.value.name == name
        )

    def _updated(self) -> list[Given]:
        new = {p.name for p, _ in self.program.updates}
        return [g for g in self.given if g.parameter in new]

    def __call__(self, inputs: Sequence[Any], leaves: Sequence[torch.Tensor]) -> list[Any]:
        env: dict[str, Any] = dict(zip(self.region.leaves, leaves, strict=True))
        self.prefix(env)
        env |= zip(self.region.inputs, inputs, strict=True)
        given = [self._leaf(env, name) for name in self.leaf_names]
        mine = [inputs[place] for place, _, _ in self.reads]
        call = Call(self, list(inputs), list(leaves))
        found = _Function.apply(call, *mine, *given)
        made = dict(zip(self.writes, found, strict=True))
        told = {i: self.writes[i].told(x) for i, x in made.items()}
        return self.results(told, env)

    def _leaf(self, env: Mapping[str, Any], name: str) -> torch.Tensor:
        leaf = self.part.leaves[name]
        found = env.get(name, leaf.tensor)
        return trainable(found) if leaf.trained else found

    # The two phases ------------------------------------------------------------------------------

    def addresses(self, read: Sequence[torch.Tensor], leaves: Sequence[torch.Tensor]) -> Any:
        found = {name: x.data_ptr() for (_, name, _), x in zip(self.reads, read, strict=True)}
        at = {name: x.data_ptr() for name, x in zip(self.leaf_names, leaves, strict=True)}
        found |= {g.parameter: at[g.leaf] + g.offset for g in self.given}
        found |= {n: a.__array_interface__["data"][0] for n, a in self.own.items()}
        return found


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a program with gradients: what a second differentiation would begin with."""

    program: Trained
    inputs: list[Any]
    leaves: list[torch.Tensor]


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: torch.Tensor) -> Any:  # type: ignore[override]
        program = call.program
        borrowed, count = program.program, len(program.reads)
        read = [how(x) for (_, _, how), x in zip(program.reads, tensors, strict=False)]
        leaves = [x.detach() for x in tensors[count:]]
        addresses = program.addresses(read, leaves)
        made = {i: how.empty() for i, how in program.writes.items()}
        addresses |= {f"output {i}": x.data_ptr() for i, x in made.items()}
        for g in program.updated:
            addresses[f"new {g.parameter}"] = addresses[g.parameter]
        arena, keys = program.arenas.lent(), drawn(len(borrowed.keys))
        addresses |= {"arena": arena.data_ptr(), "keys": keys.data_ptr()}
        borrowed.run(0, addresses)
        _changed(program, tensors[count:])
        ctx.call = call
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(arena, keys, *_read_later(program, read, leaves, made))
        outputs = tuple(made.values())
        flat_out = [x for i, x in made.items() if i not in program.seeds]
        ctx.mark_non_differentiable(*flat_out)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> Any:  # type: ignore[override]
        if torch.is_grad_enabled():
            return (None, *_twice(ctx.call, grads))
        program: Trained = ctx.call.program
        borrowed = program.program
        arena, keys, *saved = ctx.saved_tensors
        addresses = {"arena": arena.data_ptr(), "keys": keys.data_ptr()}
        addresses |= _saved_addresses(program, saved)
        alive = []
        for i, grad in zip(program.writes, grads, strict=True):
            if i in program.seeds:
                seed = _seed(program.seeds[i], grad)
                alive.append(seed)
                addresses[f"seed {i}"] = seed.data_ptr()
        made: dict[str, torch.Tensor] = {}
        for name in borrowed.gradients:
            made[name] = _gradient_memory(program, name, ctx.call)
            addresses[f"gradient of {name}"] = made[name].data_ptr()
        borrowed.run(1, addresses)
        return (None, *_gradients(program, made))


def _seed(how: Written, grad: torch.Tensor | None) -> torch.Tensor:
    """The gradient of an output as the program reads it; zeros where there is none."""
    if grad is None:
        return torch.zeros(how.shape, dtype=how.dtype)
    return grad.to(how.dtype).permute(how.memory).contiguous()


def _read_later(
    program: Trained,
    read: Sequence[torch.Tensor],
    leaves: Sequence[torch.Tensor],
    made: Mapping[int, torch.Tensor],
) -> list[torch.Tensor]:
    """What the backward phase reads, in the order of ``_saved_addresses``."""
    later = program.program.read
    found = [x for (_, name, _), x in zip(program.reads, read, strict=True) if name in later]
    by_name = dict(zip(program.leaf_names, leaves, strict=True))
    found += [by_name[g.leaf] for g in program.given if g.parameter in later]
    found += [x for i, x in made.items() if f"output {i}" in later]
    return found


def _saved_addresses(program: Trained, saved: Sequence[torch.Tensor]) -> dict[str, int]:
    later, rest = program.program.read, iter(saved)
    found = {name: next(rest).data_ptr() for _, name, _ in program.reads if name in later}
    for g in program.given:
        if g.parameter in later:
            found[g.parameter] = next(rest).data_ptr() + g.offset
    for i in program.writes:
        if f"output {i}" in later:
            found[f"output {i}"] = next(rest).data_ptr()
    return found | {n: a.__array_interface__["data"][0] for n, a in program.own.items()}


def _gradient_memory(program: Trained, name: str, call: Call) -> torch.Tensor:
    how = program.input_grads.get(name)
    if how is not None:
        return how.empty()
    leaf = next(g.leaf for g in program.given if g.parameter == name)
    tensor = program.part.leaves[leaf].tensor
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)


def _gradients(program: Trained, made: Mapping[str, torch.Tensor]) -> list[torch.Tensor | None]:
    """For each tensor of the call its gradient."""
    found: list[torch.Tensor | None] = [made.get(name) for _, name, _ in program.reads]
    totals: dict[str, torch.Tensor] = {}
    for g in program.given:
        if g.parameter in made:
            grad = made[g.parameter]
            totals[g.leaf] = totals[g.leaf] + grad if g.leaf in totals else grad
    return found + [totals.get(name) for name in program.leaf_names]


def _changed(program: Trained, leaves: Sequence[torch.Tensor]) -> None:
    """Tell PyTorch which buffers the program has written."""
    at = dict(zip(program.leaf_names, leaves, strict=True))
    for name in {g.leaf for g in program.updated}:
        torch.autograd.graph.increment_version(at[name])


def _twice(call: Call, grads: Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
    """Gradients that can be differentiated again: PyTorch computes all of it once more."""
    program = call.program
    if program.program.keys:
        raise FaltungError(
            "create_graph: a second differentiation of random numbers is not possible here; "
            "run the model without faltung for it"
        )
    return eager_gradients(program, call, grads)


def eager_gradients(
    program: Trained, call: Call, grads: Sequence[torch.Tensor | None]
) -> list[torch.Tensor | None]:
    region = program.region
    written = {g.leaf for g in program.updated}
    leaves = {
        name: x.clone() if name in written else x
        for name, x in zip(region.leaves, call.leaves, strict=True)
    }
    env: dict[str, Any] = {**leaves, **zip(region.inputs, call.inputs, strict=True)}
    run: Callable[..., Any] = eager(region.nodes, env)
    del run
    outputs = [env[name] for name in region.outputs]
    tensors = [x for x in flat(outputs) if isinstance(x, torch.Tensor)]
    mine = [call.inputs[place] for place, _, _ in program.reads]
    given = [env.get(name, program.part.leaves[name].tensor) for name in program.leaf_names]
    wanted = [x for x in (*mine, *given) if x.requires_grad]
    pairs = _paired(program, tensors, grads)
    found = torch.autograd.grad(
        [y for y, _ in pairs], wanted, [g for _, g in pairs], create_graph=True, allow_unused=True
    )
    rest = iter(found)
    return [next(rest) if x.requires_grad else None for x in (*mine, *given)]


def _paired(
    program: Trained, tensors: Sequence[torch.Tensor], grads: Sequence[torch.Tensor | None]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Outputs with their gradients."""
    entries = list(flat(program.part.outputs.values()))
    made = []
    for i, grad in zip(program.writes, grads, strict=True):
        name = program.part.values[i].name
        place = next(
            n for n, x in enumerate(entries) if isinstance(x, Tensor) and x.value.name == name
        )
        if grad is not None:
            made.append((tensors[place], grad))
    return made


def eager(nodes: Sequence[fx.Node], env: dict[str, Any]) -> Any:
    """Run nodes by PyTorch; their results are added to ``env``."""
    for node in nodes:
        if node.name in env or node.op in ("placeholder", "output"):
            continue
        if node.op == "get_attr":
            env[node.name] = attribute(node)
            continue
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: env[n.name])
        env[node.name] = node.target(*args, **kwargs)  # type: ignore[operator]
    return env
