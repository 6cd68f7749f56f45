"""A part of a model as a program with gradients: an ``autograd.Function`` over tensors of PyTorch.

What the backward phase reads of the forward phase lies in one block of memory, which is saved as
PyTorch saves tensors: so it is freed, checked and recomputed (by checkpointing) as those are.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import finalize

import numpy as np
import numpy.typing as npt
import torch

from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.graph.foreign import Tensor
from faltung.program.borrowed import Borrowed
from faltung.runtime.buffers import aligned
from faltung.torch.edges import Written
from faltung.torch.effects import written_by
from faltung.torch.importer import flat
from faltung.torch.part import Part, trainable
from faltung.torch.prefix import eager
from faltung.torch.programs import Given, Piece, Program

Array = npt.NDArray[Any]


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


class Trained(Program):
    """A program with gradients: its parameters are read in every call, where they lie."""

    def __init__(self, piece: Piece, part: Part) -> None:
        super().__init__(piece, part)
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
            precision=piece.precision,
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
        env: dict[str, Any] = dict(zip(self.piece.leaves, leaves, strict=True))
        self.prefix(env)
        env |= zip(self.piece.inputs, inputs, strict=True)
        given = [self._leaf(env, name) for name in self.leaf_names]
        mine = [inputs[place] for place, _, _ in self.reads]
        drawn = self.drawn()
        call = Call(self, list(inputs), list(leaves), [*mine, *given], [], drawn)
        found = _Function.apply(call, *mine, *given)
        written = {g.leaf for g in self.updated}
        named = zip(self.leaf_names, given, strict=True)
        call.given = [*mine, *(x.detach().clone() if n in written else x for n, x in named)]
        call.versions = list(map(version, call.given))
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


@dataclass(slots=True)
class Call:
    """A call of a program with gradients: what its graph, when it is kept, would begin with again.

    given: the tensors of the ``Function``. versions: as they were. drawn: PyTorch's random numbers,
    by the value that they are. ran: where the block of memory lies that a backward phase has used
    up.
    """

    program: Trained
    inputs: list[Any]
    leaves: list[torch.Tensor]
    given: list[torch.Tensor]
    versions: list[int]
    drawn: dict[str, torch.Tensor]
    ran: int = 0


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: torch.Tensor) -> Any:
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
        addresses |= {name: x.data_ptr() for name, x in call.drawn.items()}
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
    def backward(ctx: Any, *grads: torch.Tensor | None) -> Any:
        if torch.is_grad_enabled() or any(map(_is_batch, grads)):
            return (None, *_twice(ctx.call, grads))
        program: Trained = ctx.call.program
        borrowed = program.program
        arena, keys, *saved = ctx.saved_tensors
        addresses = {"arena": arena.data_ptr(), "keys": keys.data_ptr()}
        addresses |= _saved_addresses(program, saved)
        addresses |= {name: x.data_ptr() for name, x in ctx.call.drawn.items()}
        alive = []
        if ctx.call.ran == addresses["arena"]:
            alive += _again(ctx.call, addresses)
        ctx.call.ran = addresses["arena"]
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


def _is_batch(grad: torch.Tensor | None) -> bool:
    """Whether it stands for several gradients at once (``is_grads_batched``), without memory."""
    functorch = torch._C._functorch
    return grad is not None and (
        functorch.is_batchedtensor(grad) or functorch.is_legacy_batchedtensor(grad)
    )


def version(x: torch.Tensor) -> int:
    return -1 if x.is_inference() else x._version


def _again(call: Call, addresses: dict[str, int]) -> list[torch.Tensor]:
    """The forward phase once more, in a graph that is kept: its backward phase has used up what it
    found. Returns what must stay alive. RuntimeError: tensors have changed since.
    """
    program, count = call.program, len(call.program.reads)
    if list(map(version, call.given)) != call.versions:
        raise RuntimeError(
            "a tensor needed to compute a kept graph again has been modified by an inplace "
            "operation; call backward before it is, or once"
        )
    read = [how(x) for (_, _, how), x in zip(program.reads, call.given, strict=False)]
    leaves = [x.detach() for x in call.given[count:]]
    made = {i: how.empty() for i, how in program.writes.items()}
    found = program.addresses(read, leaves)
    found |= {f"output {i}": x.data_ptr() for i, x in made.items()}
    spare = {
        g.parameter: torch.empty_like(program.part.leaves[g.leaf].tensor) for g in program.updated
    }
    found |= {f"new {name}": x.data_ptr() for name, x in spare.items()}
    found |= {name: addresses[name] for name in ("arena", "keys", *call.drawn)}
    program.program.run(0, found)
    addresses |= found
    return [*read, *leaves, *made.values(), *spare.values()]


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
    if program.prefix.changes:
        raise FaltungError(
            "create_graph: a second differentiation of what changes buffers is not possible here; "
            "run the model without faltung for it"
        )
    if program.program.keys or program.draws:
        raise FaltungError(
            "create_graph: a second differentiation of random numbers is not possible here; "
            "run the model without faltung for it"
        )
    return eager_gradients(program, call, grads)


def eager_gradients(
    program: Trained, call: Call, grads: Sequence[torch.Tensor | None]
) -> list[torch.Tensor | None]:
    piece = program.piece
    written = {g.leaf for g in program.updated}
    written |= {x.name for node in piece.nodes for x in written_by(node)}
    leaves = {
        name: x.clone() if name in written else x
        for name, x in zip(piece.leaves, call.leaves, strict=True)
    }
    env: dict[str, Any] = {**leaves, **dict(zip(piece.inputs, call.inputs, strict=True))}
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        eager(piece.nodes, env)
    outputs = [env[name] for name in piece.outputs]
    tensors = [x for x in flat(outputs) if isinstance(x, torch.Tensor)]
    mine = [call.inputs[place] for place, _, _ in program.reads]
    given = [env.get(name, program.part.leaves[name].tensor) for name in program.leaf_names]
    wanted = [x for x in (*mine, *given) if x.requires_grad]
    pairs = _paired(program, tensors, grads)
    found = torch.autograd.grad(
        [y for y, _ in pairs], wanted, [g for _, g in pairs], create_graph=again, allow_unused=True
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
