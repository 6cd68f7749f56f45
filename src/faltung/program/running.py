"""A program in memory: its arrays, and its steps over them, bound to addresses."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy.typing as npt

from faltung.graph.value import Value
from faltung.plan.binding import Bound, Laid, Movable, Region

Array = npt.NDArray[Any]

# The memories of a program. arena: temporary buffers. feed: what comes from outside, and constants.
# packed: weights as kernels read them, where they outlive a run; those that other programs have
# packed are in memories of these.
OWN = ("arena", "feed", "packed")


class Running:
    """What ``Assembly`` and ``Restored`` share. memories: by name, in the order of their slots,
    which ``PASSING`` follows. cycles: of one core, about.
    """

    cycles: float

    def __init__(self, memories: Mapping[str, Array]) -> None:
        self.memories = dict(memories)
        self._addresses = [_address(memory) for memory in self.memories.values()]
        # Arrays that were asked for, by the names of their values.
        self.asked: dict[str, Array] = {}

    @property
    def addresses(self) -> Sequence[int]:
        """Of all memories, and nothing for what is only there while weights are packed."""
        return [*self._addresses, 0]

    def every(self) -> Region:
        """All steps."""
        raise NotImplementedError

    def array(self, value: Value) -> Array:
        """The memory of a value: (samples, *space, C) for a map, else in the value's shape."""
        made = self.asked[value.name] = self._view(value)
        return made

    def _view(self, value: Value) -> Array:
        raise NotImplementedError

    def prepare(self, threads: int) -> None:
        """Fold and pack the weights as they are now."""
        raise NotImplementedError

    @cached_property
    def _every(self) -> Region:
        return self.every()

    @property
    def laid(self) -> Laid:
        """All steps as numbers."""
        return self._every.laid

    @cached_property
    def region(self) -> Bound:
        """All steps, over the memories as they are now."""
        return self._every.bind(self.addresses)

    @cached_property
    def moving(self) -> Movable:
        """All steps, over memories that may move: the slot of each is ``slot(name)``."""
        return self._every.movable(self.addresses)

    def slot(self, memory: str) -> int:
        return list(self.memories).index(memory)

    @property
    def bytes(self) -> int:
        """Bytes of the program's own memory, without parameters and what follows from them."""
        return sum(self.memories[name].nbytes for name in OWN)


def _address(memory: Array) -> int:
    return int(memory.__array_interface__["data"][0])
