"""Packed weights that several programs over the same constants share."""

from collections.abc import Collection, Hashable, Iterable
from typing import Any
from weakref import WeakValueDictionary

import numpy.typing as npt

from faltung.plan.binding import layout
from faltung.runtime.buffers import aligned

Array = npt.NDArray[Any]


class Block:
    """Memory with packed weights, there for as long as a program uses it. places: for each key the
    byte offsets of its arrays. sources: arrays whose addresses stand for them in the keys.
    """

    __slots__ = ("__weakref__", "memory", "name", "places", "size", "sources")

    def __init__(self, name: str) -> None:
        self.name = name
        self.size = 0
        self.memory = aligned(0)
        self.places: dict[Hashable, tuple[int, ...]] = {}
        self.sources: tuple[Array, ...] = ()

    def add(self, key: Hashable, sizes: Iterable[int]) -> None:
        """Room for arrays of these sizes, behind the others."""
        places, size = layout({str(number): size for number, size in enumerate(sizes)})
        self.places[key] = tuple(self.size + at for at in places.values())
        self.size += size

    def allocate(self) -> None:
        self.memory = aligned(self.size)


class Pool:
    """Packed weights of several programs over the same constants."""

    def __init__(self) -> None:
        self._found: WeakValueDictionary[Hashable, Block] = WeakValueDictionary()
        self._count = 0

    def find(self, key: Hashable) -> Block | None:
        return self._found.get(key)

    def block(self) -> Block:
        """New memory, with a name that no other has."""
        self._count += 1
        return Block("packed" if self._count == 1 else f"packed {self._count}")

    def keep(self, block: Block, sources: Collection[Array]) -> None:
        """From now on others may use what was packed into ``block``."""
        block.sources = tuple(sources)
        self._found.update(dict.fromkeys(block.places, block))
