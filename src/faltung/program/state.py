"""The parameters of a network, contiguous in memory, so that one step can update all of them.

First those with weight decay, then the other trained ones, then running statistics. Each begins on
a cache line; the gaps are zero and stay zero.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.geometry.check import show
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.graph.value import Graph, Parameter
from faltung.methods.base.correlation import Strides
from faltung.program.derived_weights import Placed
from faltung.runtime.buffers import ALIGNMENT, aligned

Array = npt.NDArray[Any]


class State:
    """Parameters of one dtype: ``memory``, and a view of it for each name.

    decayed, trained: how many elements, from the start, weight decay and training touch.
    """

    changes = True
    stored = ""
    halves: Collection[str] = ()
    pool = None  # they change: no program can use what another has packed
    sources = ()

    def __init__(self, parameters: Sequence[Parameter], dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self.parameters = {p.name: p for p in sorted(parameters, key=_rank)}
        self._offsets: dict[str, int] = {}
        self.decayed = self.trained = 0
        self._lay_out()

    def _lay_out(self) -> None:
        """Where each begins, in elements, and memory for all of them."""
        line = ALIGNMENT // self.dtype.itemsize
        total = self.decayed = self.trained = 0
        for p in self.parameters.values():
            self._offsets[p.name] = total
            total += -(-p.size // line) * line
            if p.trained:
                self.trained = total
                self.decayed = total if p.decay else self.decayed
        self.size = total
        self.memory = self.zeros()

    def check(self, graph: Graph) -> None:
        """ValueError if a parameter of ``graph`` is missing or differs; there may be others here,
        of heads that exist only in training.
        """
        check_parameters(self.parameters, self.dtype, graph)

    def zeros(self, trained: bool = False) -> Array:
        """Zeros in the same layout: for gradients, momenta."""
        size = (self.trained if trained else self.size) * self.dtype.itemsize
        return aligned(size, zeros=True).view(self.dtype)

    def offset(self, name: str) -> int:
        """Where a parameter begins, in elements."""
        return self._offsets[name]

    def view(self, name: str, memory: Array | None = None) -> Array:
        """A parameter in its unfolded shape, (out, C, *space) for a layer that reads a map."""
        p = self.parameters[name]
        start = self._offsets[name]
        flat = (self.memory if memory is None else memory)[start : start + p.size]
        if len(p.order) == 1:
            return flat
        stored = flat.reshape([p.inner[axis] for axis in p.order])
        return stored.transpose(np.argsort(p.order))

    def token(self, name: str) -> str:
        return name

    def release(self, names: Collection[str]) -> None:
        """Nothing: they may change."""

    def placed(self, convolved: Collection[str]) -> Placed:
        """All in one memory, each in the order of its parameter."""
        item = self.dtype.itemsize
        return Placed(
            {"state": self.memory},
            {name: ("state", at * item) for name, at in self._offsets.items()},
            {name: strides(p) for name, p in self.parameters.items()},
        )

    def get(self, name: str, memory: Array | None = None) -> Array:
        """A copy of a parameter in the shape that users see."""
        return np.array(self.view(name, memory)).reshape(self.parameters[name].shape)

    def set(self, name: str, value: npt.ArrayLike, memory: Array | None = None) -> None:
        """Write a parameter. ValueError: another shape."""
        p = self.parameters[name]
        given = np.asarray(value, self.dtype)
        if given.shape != p.shape:
            raise FaltungError(f"{name}.shape={given.shape}: must be {p.shape}")
        self.view(name, memory)[...] = given.reshape(p.inner)

    def all(self) -> dict[str, Array]:
        """Copies of all parameters, in the order in which they are stored."""
        return {name: self.get(name) for name in self.parameters}

    def update(self, values: Mapping[str, npt.ArrayLike]) -> None:
        """Write the parameters named. ValueError, before anything is written: an unknown name, a
        wrong shape.
        """
        if not isinstance(values, Mapping):
            raise FaltungTypeError(f"values={show(values)}: must be a mapping of names to arrays")
        for name, value in values.items():
            p = self.parameters.get(name)
            if p is None:
                raise FaltungError(
                    f"parameters={name!r}: the network has no parameter of this name"
                )
            if np.shape(value) != p.shape:
                raise FaltungError(f"{name}.shape={np.shape(value)}: must be {p.shape}")
        for name, value in values.items():
            self.set(name, value)


def check_parameters(
    parameters: Mapping[str, Parameter], dtype: np.dtype[Any], graph: Graph
) -> None:
    """ValueError if a parameter of ``graph`` is missing or differs."""
    if dtype != np.dtype(graph.dtype):
        raise FaltungError(f"state.dtype={dtype}: must be that of the graph, {graph.dtype}")
    for p in graph.parameters:
        if parameters.get(p.name) != p:
            raise FaltungError(f"state: must have the graph's {p.name!r} of shape {p.shape}")


def strides(p: Parameter) -> Strides:
    """Strides of the axes of ``inner``, in elements."""
    found, step = [0] * len(p.inner), 1
    for axis in reversed(p.order):
        found[axis] = step
        step *= p.inner[axis]
    return tuple(found)


def _rank(p: Parameter) -> int:
    return (0 if p.decay else 1) if p.trained else 2
