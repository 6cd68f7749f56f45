"""Parameters of PyTorch as the constants of programs for inference: packed, and packed again when
they change.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.graph.value import Parameter
from faltung.program.constants import Constants

Array = npt.NDArray[Any]


class Leaves(Constants):
    """Constants that may change where they lie. ``earlier``: those of other programs of the same
    tensors, which share what they pack.
    """

    changes = True

    def __init__(
        self,
        parameters: Sequence[Parameter],
        dtype: str,
        arrays: Mapping[str, Array],
        earlier: Sequence["Constants"] = (),
    ) -> None:
        super().__init__(parameters, dtype, arrays)
        if earlier:
            self.pool = earlier[0].pool

    @property
    def sources(self) -> list[Array]:
        return list(self._arrays.values())

    def token(self, name: str) -> Hashable:
        """By where the numbers are: equal numbers may become different ones."""
        array = self._arrays[name]
        return int(array.__array_interface__["data"][0]), array.shape, array.strides

    def shared(self, convolved: Collection[str]) -> bool:
        """Whether all numbers are read where the caller has them, and none as a copy."""
        placed = self.placed(convolved)
        return all(
            np.shares_memory(array, self._arrays[name]) or not array.size
            for name, array in placed.memories.items()
        )
