"""From nodes to a parallel region: buffers get memory, steps get barriers and addresses.

There is a barrier between two nodes only if one of them writes what the other reads or writes. The
branches of an Inception module have none between them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from faltung.geometry.record import dataclass
from faltung.graph.value import Node, Value
from faltung.machine.table import Machine
from faltung.methods.base.step import Operand, Step, Work, waiting
from faltung.plan.binding import Movable, Region, layout
from faltung.program.arena import Lifetime, placed
from faltung.program.bands import chained
from faltung.program.derived_weights import PASSING, Weights
from faltung.program.lower import lower
from faltung.program.lowering import Lowered, Lowering, renamed
from faltung.program.packing import Packing
from faltung.program.running import Running
from faltung.program.stored import Halves, item
from faltung.program.stored import lowered as lower_stored
from faltung.runtime.buffers import aligned
from faltung.runtime.memory import require

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes ``start`` to ``end`` of a memory; in them only the channels ``low`` to ``high`` of a
    buffer.
    """

    memory: str
    start: int
    end: int
    buffer: str
    low: int
    high: int

    def conflicts(self, other: "Range") -> bool:
        if self.buffer == other.buffer:
            return self.low < other.high and other.low < self.high
        return self.memory == other.memory and self.start < other.end and other.start < self.end


@dataclass(slots=True)
class Unit:
    """Steps that run together, and what they read and write."""

    steps: list[Step]
    reads: list[Range]
    writes: list[Range]


class Assembly(Running):
    """The steps of a program over its memories.

    nodes: in order. outside: memories of the caller, name -> array, and ``fixed``: the buffers in
    them, name -> (memory, byte offset). feeds: values that the caller writes before a run. kept:
    values that it reads after one. weights: given for inference, where ``prepare`` packs weights
    once; without them every run packs. ends: work after all nodes, behind a barrier. phases: how
    many of the nodes run at a time, each group as a region of its own: forward and backward. What a
    later one reads of an earlier one stays. bands: whether chains of nodes of inference run band by
    band. memory: gives at least so many bytes of memory, in which nothing stays from run to run.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        lowering: Lowering,
        *,
        outside: Mapping[str, Array] | None = None,
        fixed: Mapping[str, tuple[str, int]] | None = None,
        feeds: Sequence[Value],
        kept: Sequence[Value],
        weights: Weights | None = None,
        ends: Work | None = None,
        phases: Sequence[int] = (),
        bands: bool = True,
        halves: Halves | None = None,
        memory: Callable[[int], Array] = aligned,
    ) -> None:
        self.lowering = lowering
        self.machine: Machine = lowering.machine
        if halves is None:
            every = [lower(lowering, node) for node in nodes]
        else:
            every, halves = lower_stored(lowering, halves, nodes)
        self.halves: Mapping[str, str] = {} if halves is None else halves.kinds
        if weights is not None and bands:
            seen = {*(fixed or ()), *(value.name for value in kept)}
            every = chained(lowering, nodes, every, seen)
        lowering.shelf.save()
        groups = _groups(every, phases or (len(nodes),))
        lowered = [made for group in groups for made in group]
        self.lowered = lowered
        self.cycles = sum(made.price(lowering.batch) for made in lowered)
        self.packing = None if weights is None else Packing(lowered, weights)
        packs = self.packing is None
        self._fixed = dict(fixed or {})
        if self.packing is not None:
            self._fixed |= self.packing.fixed
        self._sizes = {} if packs else {n: size for m in lowered for n, size in m.kept.items()}
        self._feed(feeds)
        lifetimes = self._lifetimes(lowered, kept, packs)
        ends = ends or Work()
        last = len(lowered)
        own = {name: Operand(f"end {name}") for name in ends.scratch}
        lifetimes |= {
            own[name].name: Lifetime(size, last, last) for name, size in ends.scratch.items()
        }
        arena, arena_size = placed(lifetimes)
        self._fixed |= {name: ("arena", at) for name, at in arena.items()}
        self._sizes |= {name: life.size for name, life in lifetimes.items()}
        require(
            arena_size + (0 if self.packing is None else self.packing.bytes),
            f"batch={lowering.batch}: the program of this network",
            "choose a smaller batch" if lowering.batch > 1 else "choose a smaller network",
        )
        memories: dict[str, Array] = {
            "arena": memory(arena_size),
            "feed": self._feed_memory,
            "packed": aligned(0),
            **(outside or {}),
            **({} if self.packing is None else self.packing.memories()),
        }
        super().__init__(memories)
        slots = {name: number for number, name in enumerate((*self.memories, PASSING))}
        self._slots = {name: (slots[memory], at) for name, (memory, at) in self._fixed.items()}
        self.kernels = 0
        self.phases = [_with_barriers(self._units(group, packs)) for group in groups]
        self.ends = [
            waiting(renamed(step, own), step.barrier or not number)
            for number, step in enumerate(ends.steps)
        ]
        self.phases[-1] += self.ends
        self.steps = [step for phase in self.phases for step in phase]

    def every(self) -> Region:
        """All steps."""
        return self._region(self.steps)

    def movable(self, phase: int) -> Movable:
        """The steps of a phase, as ``moving``."""
        return self._region(self.phases[phase]).movable(self.addresses)

    def prepare(self, threads: int) -> None:
        """Fold and pack the weights as they are now."""
        assert self.packing is not None
        self.packing.run(self._region, self._addresses, threads)

    def part(self, steps: Sequence[Step]) -> Callable[[int], int]:
        """Some of the steps as a region of their own: called with a number of threads."""
        return self._region(steps).bind(self.addresses).run

    def release(self) -> None:
        """Let go of the memories of weights that no step of a run reads."""
        assert self.packing is not None
        words = (word for step in self.steps for word in step.arguments)
        read = {self._fixed[word.name][0] for word in words if isinstance(word, Operand)}
        for name in self.packing.release(read):
            del self.memories[name]

    def _region(self, steps: Sequence[Step]) -> Region:
        region = Region(steps, self._slots, self.machine, len(self._addresses) + 1)
        self.kernels += len(set(region.kernels))
        return region

    @property
    def constants(self) -> dict[int, Array]:
        """The constants of the steps, by their offsets in the memory "feed"."""
        return {self._fixed[n][1]: array for n, array in self.lowering.constants.items()}

    def _view(self, value: Value) -> Array:
        place, root = self.lowering.places.place(value), self.lowering.places.root(value)
        memory, at = self._fixed[root.name]
        raw = self.memories[memory].view(np.uint8)[at : at + self._bytes(root)]
        numbers = raw.view(self._held(root))
        if not root.batched:
            return numbers.reshape(root.shape if root.kind not in ("key", "rows") else ())
        if not value.batched:  # the first position of a map
            return numbers[place.channel : place.channel + value.size]
        samples = self.lowering.samples(value)
        if place.first or root.kind != "float":
            return numbers.reshape(samples, *root.shape)
        rows = numbers[place.channel :]
        steps = rows.itemsize * place.pitch, rows.itemsize
        matrix = as_strided(rows, (samples * value.positions, value.channels), steps)
        return _spread(matrix, (samples, *value.space))

    def _held(self, root: Value) -> str:
        """The dtype of the numbers in a buffer."""
        kind = self.halves.get(root.name, "")
        return kind if kind in ("uint8", "int8") else _dtype(root, self.lowering.dtype)

    # Memory --------------------------------------------------------------------------------------

    def _bytes(self, value: Value) -> int:
        size = value.size if value.kind not in ("key", "rows") else 1
        batch = self.lowering.batch if value.batched else 1
        if value.name in self.halves:
            return size * batch * item(self.halves[value.name])
        return size * batch * np.dtype(_dtype(value, self.lowering.dtype)).itemsize

    def _feed(self, feeds: Sequence[Value]) -> None:
        """Memory for what comes from outside, and for constants."""
        sizes = {value.name: self._bytes(value) for value in feeds}
        sizes |= {name: array.nbytes for name, array in self.lowering.constants.items()}
        offsets, total = layout(sizes)
        self._feed_memory = aligned(total)
        self._feed_memory[:] = 0
        self._fixed |= {name: ("feed", at) for name, at in offsets.items()}
        for name, array in self.lowering.constants.items():
            at = offsets[name]
            self._feed_memory[at : at + array.nbytes] = array.view(np.uint8)

    def _lifetimes(
        self, lowered: Sequence[Lowered], kept: Sequence[Value], packs: bool
    ) -> dict[str, Lifetime]:
        """From which node to which each buffer of the arena is alive."""
        found: dict[str, Lifetime] = {}
        last = len(lowered)

        def use(name: str, size: int, first: int, end: int) -> None:
            if name in self._fixed:
                return
            life = found.setdefault(name, Lifetime(size, first, end))
            life.first, life.last = min(life.first, first), max(life.last, end)

        for number, made in enumerate(lowered):
            for value in (*made.reads, *made.writes):
                root = self.lowering.places.root(value)
                use(root.name, self._bytes(root), number, number)
            for name, size in made.scratch.items():
                use(name, size, number, number)
            for name, size in made.kept.items() if packs else ():
                # Packed while the node before runs, so that the two share a barrier.
                use(name, size, max(0, number - 1), number)
        for value in kept:
            root = self.lowering.places.root(value)
            use(root.name, self._bytes(root), last, last)
        return found

    # Order ---------------------------------------------------------------------------------------

    def _units(self, lowered: Sequence[Lowered], packs: bool) -> list[Unit]:
        units: list[Unit] = []
        for made in lowered:
            reads = [self._range(value) for value in made.reads]
            writes = [self._range(value) for value in made.writes]
            writes += [self._whole(name) for name in made.scratch]
            writes += [self._range(value) for value in made.updated]
            unit = Unit(made.steps, reads, writes)
            if packs and made.prepare:
                packed = [self._whole(name) for name in made.kept]
                unit.reads += packed
                pack = Unit(made.prepare, [self._range(v) for v in made.packed], packed)
                units.insert(max(0, len(units) - 1), pack)
            units.append(unit)
        return units

    def _range(self, value: Value) -> Range:
        place = self.lowering.places.place(value)
        root = self.lowering.places.root(value)
        memory, at = self._fixed[root.name]
        whole = not value.batched or place.first or place.whole or value.kind != "float"
        low, high = (0, 1 << 62) if whole else (place.channel, place.channel + value.channels)
        return Range(memory, at, at + self._bytes(root), root.name, low, high)

    def _whole(self, name: str) -> Range:
        memory, at = self._fixed[name]
        return Range(memory, at, at + self._sizes[name], name, 0, 1 << 62)


def _groups(lowered: Sequence[Lowered | None], phases: Sequence[int]) -> list[list[Lowered]]:
    """The nodes of each phase that have steps."""
    made, at = [], 0
    for count in phases:
        made.append([one for one in lowered[at : at + count] if one is not None])
        at += count
    return made


def _with_barriers(units: Iterable[Unit]) -> list[Step]:
    """The steps of all units, with a barrier before one that conflicts with any since the last."""
    steps: list[Step] = []
    reads: list[Range] = []
    writes: list[Range] = []
    for unit in units:
        if not unit.steps:
            continue
        waits = any(a.conflicts(b) for a in unit.writes for b in (*reads, *writes)) or any(
            a.conflicts(b) for a in unit.reads for b in writes
        )
        if waits:
            reads, writes = [], []
        first, *others = unit.steps
        steps += [waiting(first, waits), *others]
        reads += unit.reads
        writes += unit.writes
    return steps


def _spread(matrix: Array, sizes: tuple[int, ...]) -> Array:
    """The rows of a matrix as several axes, without a copy."""
    steps = [matrix.strides[0] * prod(sizes[i + 1 :]) for i in range(len(sizes))]
    return as_strided(matrix, (*sizes, matrix.shape[1]), (*steps, matrix.strides[1]))


def _dtype(value: Value, dtype: str) -> str:
    if value.kind in ("int", "key"):
        return "int64"
    if value.kind == "index":
        return {"float32": "int32", "float64": "int64"}[dtype]
    return dtype
