"""Parameters whose weights are kept in 16 bits."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import one_of
from faltung.geometry.conv import NARROW
from faltung.geometry.errors import FaltungError
from faltung.graph.value import Parameter
from faltung.program.derived_weights import Placed
from faltung.program.state import State, strides
from faltung.runtime.buffers import ALIGNMENT, aligned
from faltung.runtime.halves import HELD, halved, whole

Array = npt.NDArray[Any]


class HalfState(State):
    """Parameters of which matrices and filters, tables and positions hold 16 bits: all with more
    than one axis. Vectors, such as biases, gains and running statistics, are float32: they are few,
    and are added to sums or multiply them.

    Numbers are given and taken in float32; setting a weight rounds it. It cannot be trained.
    """

    def __init__(self, parameters: Sequence[Parameter], stored: str) -> None:
        one_of("stored", stored, NARROW)
        self.stored = stored
        self.halves = frozenset(p.name for p in parameters if len(p.shape) > 1)
        super().__init__(parameters, "float32")

    def _lay_out(self) -> None:
        """Where each begins, in bytes."""
        at = 0
        self._offsets = {}
        for p in self.parameters.values():
            self._offsets[p.name] = at
            size = p.size * (2 if p.name in self.halves else 4)
            at += -(-size // ALIGNMENT) * ALIGNMENT
        self.size = at
        self.memory = aligned(at, zeros=True)

    def _held(self, name: str) -> Array:
        """A parameter as it is in memory, in its unfolded shape."""
        p, at = self.parameters[name], self._offsets[name]
        kind = HELD[self.stored] if name in self.halves else np.dtype(np.float32)
        flat = self.memory[at : at + p.size * kind.itemsize].view(kind)
        if len(p.order) == 1:
            return flat
        lies = flat.reshape([p.inner[axis] for axis in p.order])
        return lies.transpose(np.argsort(p.order))

    def view(self, name: str, memory: Array | None = None) -> Array:
        """The numbers of a parameter, in its unfolded shape; of a weight a copy in float32."""
        held = self._held(name)
        return whole(held, self.stored) if name in self.halves else held

    def get(self, name: str, memory: Array | None = None) -> Array:
        """A copy of a parameter in the shape that users see."""
        return np.array(self.view(name)).reshape(self.parameters[name].shape)

    def words(self, name: str) -> Array:
        """A copy as it is in memory, in the shape that users see: float16, words of bfloat16, or
        float32 for vectors.
        """
        return np.array(self._held(name)).reshape(self.parameters[name].shape)

    def set(self, name: str, value: npt.ArrayLike, memory: Array | None = None) -> None:
        """Write a parameter, rounded to 16 bits. ValueError: another shape."""
        p = self.parameters[name]
        given = np.asarray(value, np.float32)
        if given.shape != p.shape:
            raise FaltungError(f"{name}.shape={given.shape}: must be {p.shape}")
        made = halved(given, self.stored) if name in self.halves else given
        self._held(name)[...] = made.reshape(p.inner)

    def placed(self, convolved: Collection[str]) -> Placed:
        """All in one memory, each in the order of its parameter."""
        fixed: Mapping[str, tuple[str, int]] = {
            name: ("state", at) for name, at in self._offsets.items()
        }
        every = {name: strides(p) for name, p in self.parameters.items()}
        return Placed({"state": self.memory}, fixed, every)


def state_of(parameters: Sequence[Parameter], dtype: str) -> State:
    """The parameters of a network of any dtype of ``Model``."""
    return HalfState(parameters, dtype) if dtype in NARROW else State(parameters, dtype)
