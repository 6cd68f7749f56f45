"""Weights in the order in which kernels read them: packed once, shared by programs that can.

Programs of one model for other sizes mostly pack the same weights in the same way, and that takes
longer than all of their planning. What is packed is found again by the steps that pack it.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import field
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.jit.compile import identity
from faltung.methods.base.step import Argument, Operand, Step
from faltung.plan.binding import Region
from faltung.program.derived_weights import Weights
from faltung.program.lowering import Lowered
from faltung.program.pool import Block

Array = npt.NDArray[Any]

# Folded weights that only packing reads exist together up to so many bytes: all those of a large
# network would take as much memory as its parameters, and would be read from far away.
PASSING_BYTES = 4 << 20


@dataclass(slots=True)
class Group:
    """Steps that pack weights together. names: derived values that they alone read."""

    names: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    bytes: int = 0


class Packing:
    """The packed weights of a program. fixed: each value and each packed array -> (memory, byte
    offset). bytes: of those that no earlier program has packed.
    """

    def __init__(self, lowered: Sequence[Lowered], weights: Weights) -> None:
        self._weights = weights
        self._pool = weights.numbers.pool
        self._blocks: dict[str, Block] = {}
        self._packed: dict[str, tuple[str, int]] = {}
        self._own = Block("packed") if self._pool is None else self._pool.block()
        own: list[Lowered] = []
        for made in lowered:
            if not made.kept:
                continue
            key = None if self._pool is None else _key(made, weights)
            block = None if self._pool is None else self._pool.find(key)
            if block is None:
                block = self._own
                block.add(key, made.kept.values())
                own.append(made)
            self._blocks[block.name] = block
            places = zip(made.kept, block.places[key], strict=True)
            self._packed |= {name: (block.name, at) for name, at in places}
        self._groups, lasting = _groups(own, lowered, weights)
        weights.place(lasting, [group.names for group in self._groups])
        self._regions: list[Region] = []

    @property
    def fixed(self) -> dict[str, tuple[str, int]]:
        return self._weights.fixed | self._packed

    @property
    def bytes(self) -> int:
        return self._own.size

    def memories(self) -> dict[str, Array]:
        """The memories of weights, allocated here."""
        self._own.allocate()
        packed = {name: block.memory for name, block in self._blocks.items()}
        return self._weights.memories | packed

    @property
    def groups(self) -> list[tuple[list[str], Region]]:
        """What is derived and packed together, once it was, of parameters that change."""
        return [(g.names, made) for g, made in zip(self._groups, self._regions, strict=False)]

    @property
    def weights(self) -> Weights:
        return self._weights

    def release(self, read: Collection[str]) -> list[str]:
        """Let go of constants whose memories are not among those that are ``read``; their names."""
        if self._pool is None or self._groups:
            raise FaltungError("release: must be of constants, when they are packed")
        self._own.sources = ()
        return self._weights.release(read)

    def run(
        self, region: Callable[[Sequence[Step]], Region], addresses: Sequence[int], threads: int
    ) -> None:
        """Fold and pack the weights as they are now, a group at a time."""
        weights = self._weights
        regions = self._regions or [region(group.steps) for group in self._groups]
        names = [group.names for group in self._groups]
        weights.pack(zip(names, regions, strict=True), addresses, threads)
        if weights.numbers.changes:
            self._regions = regions
        if self._pool is not None:
            self._pool.keep(self._own, weights.numbers.sources)
            self._groups = self._groups if weights.numbers.changes else []


def _key(made: Lowered, weights: Weights) -> Hashable:
    """What the packed arrays of a node contain: the steps that fill them, over which numbers."""
    own = {name: number for number, name in enumerate(made.kept)}

    def word(argument: Argument) -> Hashable:
        if isinstance(argument, Operand):
            number = own.get(argument.name)
            return argument.offset, weights.token(argument.name) if number is None else number
        if isinstance(argument, np.ndarray):
            return argument.shape, hashlib.sha256(argument.data).digest()
        return argument

    steps = [
        (identity(step.recipe), step.items, step.barrier, *map(word, step.arguments))
        for step in made.prepare
    ]
    return (*made.kept.values(), *steps)


def _groups(
    packed: Sequence[Lowered], lowered: Iterable[Lowered], weights: Weights
) -> tuple[list[Group], list[str]]:
    """The steps that pack, in groups of a few megabytes of what is derived; and the derived values
    that last, because a run reads them, or several groups.
    """
    lasting = {name for made in lowered for name in _read(made.steps) if name in weights.derived}
    needs = [[n for n in _read(made.prepare) if n in weights.derived] for made in packed]
    times = Counter(name for names in needs for name in names)
    lasting |= {name for name, count in times.items() if count > 1}
    groups = [Group()]
    for made, names in zip(packed, needs, strict=True):
        passing = [name for name in names if name not in lasting]
        size = sum(weights.bytes(name) for name in passing)
        if groups[-1].bytes and groups[-1].bytes + size > PASSING_BYTES:
            groups.append(Group())
        groups[-1].names += passing
        groups[-1].steps += made.prepare
        groups[-1].bytes += size
    return groups, sorted(lasting)


def _read(steps: Iterable[Step]) -> Iterator[str]:
    """The arrays that steps name, each once."""
    words = (word for step in steps for word in step.arguments)
    return iter(dict.fromkeys(word.name for word in words if isinstance(word, Operand)))
