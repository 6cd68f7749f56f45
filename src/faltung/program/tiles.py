"""A network over a map that is too large to be computed at once: part by part, the same bits.

A tile is a part of the output; its program computes what that part reads, of each layer as much as
is needed (``graph/windows.py``). Tiles that are alike share one program: all but those near an end.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from math import ceil, prod
from typing import Any
from weakref import WeakSet

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.part import Span
from faltung.geometry.record import dataclass
from faltung.graph.ops import Concat, Convolve, Resample
from faltung.graph.value import Graph, Node, Value
from faltung.graph.windows import Cut, Window, circular, cut, period, why_whole
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.plan.choose import policy_of
from faltung.plan.placed import grid_of
from faltung.program.inference import Inference
from faltung.program.inferring import Part, simplified
from faltung.program.lower_resample import in_order
from faltung.program.state import State
from faltung.runtime.buffers import aligned

Array = npt.NDArray[Any]
# Programs that are kept; they share one memory, and each has its own plan and packed weights.
MAX_PROGRAMS = 12
# What a program takes beside the values of its layers: inputs and results, transforms.
MARGIN = 1.15


@dataclass(frozen=True)
class Arrangement:
    """Tiles that cover an output: the spans along each axis of space."""

    along: tuple[tuple[Span, ...], ...]

    @property
    def count(self) -> int:
        return prod(map(len, self.along))

    def __iter__(self) -> Iterator[Window]:
        return iter(product(*self.along))


class Memory:
    """The arena of programs that run one at a time, as large as the largest of them needs."""

    def __init__(self) -> None:
        self._array = aligned(0)
        self._users: WeakSet[Tiles] = WeakSet()

    @property
    def bytes(self) -> int:
        """How large it is now."""
        return self._array.nbytes

    def take(self, user: "Tiles", size: int) -> Array:
        """The memory, with room for ``size`` bytes."""
        self._users.add(user)
        if self._array.nbytes < size:
            for each in self._users:  # or what is too small would stay
                each.forget()
            self._array = aligned(0)
            self._array = aligned(size)
        return self._array


class Tiles:
    """The parts of a network, built for the whole map. Of one input and one output; used by one
    thread at a time.

    state: of the parameters, which may change before ``changed`` is called. softmax, precision: as
    ``Inference``. memory: in which the programs run; several networks that take turns may share it.
    """

    def __init__(
        self,
        graph: Graph,
        state: State,
        *,
        softmax: bool = False,
        precision: str = "fast",
        memory: "Memory | None" = None,
        machine: Machine | None = None,
    ) -> None:
        state.check(graph)
        self.graph, self.state, self.precision = graph, state, precision
        self.machine = machine or current()
        simple = simplified(graph, softmax, not state.stored)
        nodes = tuple(self._ordered(node) for node in simple.nodes)
        self.simple = simple._replace(nodes=nodes)
        self.output = simple.outputs[0]
        self._grids: dict[str, tuple[int, ...]] = {}
        self._programs: dict[tuple[int, ...] | None, Inference] = {}
        self.memory = memory or Memory()
        self._kinds: dict[tuple[int, Span], tuple[int, Span]] = {}
        self._known: list[dict[tuple[Node, ...], int]] = [{} for _ in self.output.space]

    def _ordered(self, node: Node) -> Node:
        """A resampling that says how it is computed as a whole."""
        if not isinstance(node.op, Resample):
            return node
        dtype = self.graph.dtype
        return replace(node, op=in_order(node.op, node.inputs[0], dtype, self.machine))

    # Where parts may lie -------------------------------------------------------------------------

    @property
    def why_not(self) -> str:
        """Which layer sees the whole map, and how; "" where none does."""
        for node in self.simple.nodes:
            if why := why_whole(node):
                return f"layer {node.layer!r} {why}"
        return "" if self.output.space else "its output has no positions"

    def grid(self, node: Node) -> tuple[int, ...]:
        """The multiples at which parts of the output of a node begin and end."""
        if not isinstance(node.op, Convolve):
            return (1,) * len(node.output.space)
        found = self._grids.get(node.output.name)
        if found is None:
            found = grid_of(node.op.spec, self.machine, policy_of(self.precision))
            self._grids[node.output.name] = found
        return found

    @property
    def period(self) -> tuple[int, ...]:
        """Along each axis of the output: two tiles so far apart are alike, away from the ends."""
        return period(self.simple.nodes, self.simple.outputs, self.grid)

    def cut(self, window: Window) -> Cut:
        """The part that makes a window of the output. ValueError: a layer sees the whole map."""
        inputs, outputs = self.graph.inputs, self.simple.outputs
        return cut(self.simple.nodes, inputs, outputs, window, self.grid)

    def reads(self, window: Window) -> Window:
        """The positions of the input that a window of the output needs."""
        return tuple(self._kind(axis, span)[1] for axis, span in enumerate(window))

    def _kind(self, axis: int, span: Span) -> tuple[int, Span]:
        """Which tiles are alike along an axis, as a number, and what is read of it. Axes do not
        depend on each other.
        """
        key = axis, span
        if key not in self._kinds:
            whole = tuple((0, size) for size in self.output.space)
            made = self.cut((*whole[:axis], span, *whole[axis + 1 :]))
            known = self._known[axis]
            number = known.setdefault(made.nodes, len(known))
            self._kinds[key] = number, made.windows[self.graph.input.name][axis]
        return self._kinds[key]

    def kind(self, window: Window) -> tuple[int, ...]:
        """Tiles of one kind have one program."""
        return tuple(self._kind(axis, span)[0] for axis, span in enumerate(window))

    # How large -----------------------------------------------------------------------------------

    def bytes(self, window: Window) -> int:
        """About what the program of a part takes."""
        batch = np.dtype(self.graph.dtype).itemsize
        return int(MARGIN * batch * _live(self.cut(window)))

    def arranged(self, tile: Sequence[int]) -> Arrangement:
        """Tiles of this size; those at the end of an axis are what is left."""
        sizes = zip(self.output.space, tile, strict=True)
        return Arrangement(
            tuple(
                tuple((a, min(a + step, size)) for a in range(0, size, step))
                for size, step in sizes
            )
        )

    def chosen(self, most: int) -> tuple[int, ...]:
        """The size of tiles whose program takes at most ``most`` bytes: as large as may be, because
        neighbours compute what both of them read, of nearly one size, and not along axes that are
        circular. MemoryError is left to the program: a tile is at least one period.
        """
        space = self.output.space
        if self.bytes(tuple((0, size) for size in space)) <= most:
            return space
        around = circular(self.simple.nodes, len(space))
        steps = self.period

        def tile(edge: int) -> tuple[int, ...]:
            sides = []
            for size, step, whole in zip(space, steps, around, strict=True):
                count = 1 if whole else max(1, ceil(size / max(step, edge // step * step)))
                each = ceil(size / count)
                sides.append(size if count == 1 else min(size, ceil(each / step) * step))
            return tuple(sides)

        def fits(edge: int) -> bool:
            middle = []
            for size, side, step in zip(space, tile(edge), steps, strict=True):
                first = (size - side) // 2 // step * step
                middle.append((first, first + side))
            return self.bytes(tuple(middle)) <= most

        low, high = 1, max(space)
        while low < high:
            edge = (low + high + 1) // 2
            low, high = (edge, high) if fits(edge) else (low, edge - 1)
        return tile(low)

    # Running -------------------------------------------------------------------------------------

    def program(self, window: Window) -> Inference:
        """The program of a part, and of all that are alike."""
        return self._program(self.kind(window), lambda: self.cut(window))

    def _program(self, key: tuple[int, ...] | None, make: Callable[[], Cut]) -> Inference:
        """The program of a kind of parts, or of the whole."""
        found = self._programs.pop(key, None)
        if found is None:
            while len(self._programs) >= MAX_PROGRAMS:
                del self._programs[next(iter(self._programs))]
            part = Part(self.simple, make())
            found = Inference(
                self.graph,
                self.state,
                1,
                precision=self.precision,
                part=part,
                memory=partial(self.memory.take, self),
                machine=self.machine,
            )
        self._programs[key] = found
        return found

    def run(self, window: Window, x: Array) -> Array:
        """A window of the output (C, *sizes), of what it reads (C, *sizes), as ``reads`` says."""
        sizes = tuple(stop - first for first, stop in self.reads(window))
        if x.shape[1:] != sizes:
            raise FaltungError(f"x.shape={x.shape}: must have the sizes {sizes}")
        made: Array = self.program(window)(x[np.newaxis])[0]
        return made

    def at_once(self, x: Array) -> Array:
        """The whole output (C, *sizes) of the whole input (C, *sizes), by methods that do not need
        to see the whole: the bits of all tiles together. Layers that see the whole are no obstacle.
        """
        inputs, simple = self.graph.inputs, self.simple
        program = self._program(None, lambda: Cut(simple.nodes, inputs, simple.outputs, {}))
        made: Array = program(x[np.newaxis])[0]
        return made

    def forget(self) -> None:
        """Let go of all programs, and so of the memory that they run in."""
        self._programs.clear()

    def changed(self) -> None:
        """The parameters have other values."""
        for program in self._programs.values():
            program.refresh()


def _live(made: Cut) -> int:
    """The most numbers of values of a part that are alive at once. A value that is a part of a
    concatenation lies in it.
    """
    last: dict[str, int] = {}
    inside: dict[str, str] = {}
    for node in reversed(made.nodes):
        if isinstance(node.op, Concat):
            inside |= {value.name: node.output.name for value in node.inputs}
    for number, node in enumerate(made.nodes):
        for value in node.inputs:
            last[value.name] = number
    for name in reversed([v.name for node in made.nodes for v in node.outputs]):
        if name in inside:
            last[name] = max(last.get(name, 0), last.get(inside[name], 0))
    end = len(made.nodes)
    last |= {value.name: end for value in made.outputs}
    alive: dict[str, Value] = {value.name: value for value in made.inputs}
    most = 0
    for number, node in enumerate(made.nodes):
        if not isinstance(node.op, Concat):
            alive |= {value.name: value for value in node.outputs if value.batched}
        most = max(most, sum(value.size for value in alive.values()))
        alive = {name: v for name, v in alive.items() if last.get(name, -1) > number}
    return most
