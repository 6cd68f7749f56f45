"""Memory for weights, biases and vectors that normalisation was folded into."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.graph.fold import Derived
from faltung.methods.base.correlation import Strides
from faltung.program.state import State, strides
from faltung.runtime.buffers import ALIGNMENT
from faltung.runtime.memory import require

Array = npt.NDArray[Any]


class Weights:
    """The parameters of a program for inference: those of ``state``, and what is derived from
    them.

    memories: name -> array. fixed: value -> (memory, byte offset). strides: of weights, by value.
    """

    def __init__(self, state: State, derived: Sequence[Derived]) -> None:
        self.state = state
        self._derived = tuple(derived)
        item = state.dtype.itemsize
        line = ALIGNMENT // item
        self._offsets: dict[str, int] = {}
        total = 0
        for d in self._derived:
            self._offsets[d.value.name] = total
            total += -(-d.value.size // line) * line
        require(2 * total * item, "the folded weights of this network")  # with what is computed
        self._memory: Array = np.zeros(max(1, total), state.dtype)
        self.memories = {"state": state.memory, "derived": self._memory}
        self.fixed = {name: ("state", state.offset(name) * item) for name in state.parameters}
        self.fixed |= {name: ("derived", at * item) for name, at in self._offsets.items()}
        self.strides: dict[str, Strides] = {
            name: strides(p) for name, p in state.parameters.items()
        }
        self.strides |= {
            d.value.name: self.strides[d.weight] for d in self._derived if d.kind == "weight"
        }

    def refresh(self) -> None:
        """Compute what is derived from the parameters as they are now."""
        names = {name for d in self._derived for name in (*d.sources, d.weight, d.bias) if name}
        parameters = {name: self.state.get(name) for name in names}
        for d in self._derived:
            made = d.compute(parameters)
            if d.kind == "weight":
                p = self.state.parameters[d.weight]
                made = made.reshape(p.inner).transpose(p.order)
            at = self._offsets[d.value.name]
            self._memory[at : at + made.size] = made.ravel()
