"""Parameters that never change: arrays of the caller, used where they are."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.graph.value import Graph, Parameter
from faltung.program.derived_weights import Placed
from faltung.program.pool import Pool
from faltung.program.state import check_parameters, strides

Array = npt.NDArray[Any]

# Arrays up to so many bytes are told apart by their contents, larger ones by where they are.
SMALL_BYTES = 1 << 14


class Constants:
    """Parameters that never change, by name. earlier: those of other programs of one model: where
    numbers are the same, so are the arrays, and what programs pack of them.
    """

    # Whether programs may be asked to pack again.
    changes = False
    stored = ""
    halves: Collection[str] = ()

    def __init__(
        self,
        parameters: Sequence[Parameter],
        dtype: str,
        arrays: Mapping[str, Array],
        earlier: Sequence["Constants"] = (),
    ) -> None:
        self.dtype = np.dtype(dtype)
        self.pool: Pool = earlier[0].pool if earlier else Pool()
        self.parameters = {p.name: p for p in parameters}
        self._arrays: dict[str, Array] = {}
        for name, p in self.parameters.items():
            given = np.require(arrays[name], self.dtype, "A").reshape(p.inner)
            found = (found for other in earlier if (found := other._equal(name, given)) is not None)
            self._arrays[name] = next(found, given)

    def _equal(self, name: str, array: Array) -> Array | None:
        """The parameter of this name, if it is large and has these numbers in this order."""
        mine = self._arrays.get(name)
        if mine is None or mine.nbytes <= SMALL_BYTES or mine.strides != array.strides:
            return None
        if mine.shape != array.shape:
            return None
        return mine if _address(mine) == _address(array) or np.array_equal(mine, array) else None

    @property
    def sources(self) -> list[Array]:
        return [array for array in self._arrays.values() if array.nbytes > SMALL_BYTES]

    def check(self, graph: Graph) -> None:
        """ValueError if a parameter of ``graph`` is missing or differs."""
        check_parameters(self.parameters, self.dtype, graph)

    def view(self, name: str) -> Array:
        return self._arrays[name]

    def token(self, name: str) -> Hashable:
        array = self._arrays[name]
        large = array.nbytes > SMALL_BYTES
        what: Hashable = _address(array) if large else array.tobytes()
        return what, array.shape, array.strides if large else self.parameters[name].order

    def release(self, names: Collection[str]) -> None:
        """Let go of the arrays of some parameters."""
        for name in names:
            del self._arrays[name]

    def placed(self, convolved: Collection[str]) -> Placed:
        """Each in a memory of its own: where it is, or in the order of its parameter."""
        memories, steps = {}, {}
        for name, p in self.parameters.items():
            array = self._arrays[name]
            if name in convolved and _dense(array):
                steps[name] = tuple(n // array.itemsize for n in array.strides)
            else:
                steps[name] = strides(p)
                array = np.ascontiguousarray(array.transpose(p.order))
            memories[name] = array
        return Placed(memories, {name: (name, 0) for name in memories}, steps)


def _dense(array: Array) -> bool:
    """Whether the entries fill a stretch of memory, in the order of some axes."""
    axes = sorted((step, size) for step, size in zip(array.strides, array.shape, strict=True))
    whole = array.itemsize
    for step, size in axes:
        if size > 1 and step != whole:
            return False
        whole *= size
    return True


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])
