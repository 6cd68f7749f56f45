"""A call of a model that is one program, in as few steps of Python as there can be.

What a call looks at (which nodes run on the host, which program fits, how arrays are looked at) is
the same for arrays of the same shapes and types. After a program has run twice, this is what is
left of it: the arrays are compared, lent to the program, and its results copied.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.graph.foreign import Tensor
from faltung.onnx.programs import Program, Settings
from faltung.onnx.read import Port
from faltung.onnx.tensors import dtype_of

Array = npt.NDArray[Any]


class Direct:
    """A program that is all of a model, for arrays of some shapes and types.

    inputs: for each in the program's order the name, the dtype and the shape of what is given, and
    the shape in which the program takes the same numbers. results: arrays of the program's memory,
    as the caller sees them.
    """

    __slots__ = ("_inference", "_inputs", "_results")

    def __init__(
        self,
        program: Program,
        inputs: Sequence[tuple[str, np.dtype[Any], tuple[int, ...], tuple[int, ...]]],
        results: Sequence[Array],
    ) -> None:
        assert program.compiled is not None
        self._inference = program.compiled.inference
        self._inputs = tuple(inputs)
        self._results = tuple(results)

    def run(self, given: Mapping[str, npt.ArrayLike]) -> list[Array] | None:
        """The outputs; None where something else is given than this is for."""
        if len(given) != len(self._inputs):
            return None
        arrays = []
        for name, dtype, shape, inner in self._inputs:
            array = given.get(name)
            if type(array) is not np.ndarray or array.dtype != dtype or array.shape != shape:
                return None
            arrays.append(array if shape == inner else array.reshape(inner))
        inference = self._inference
        inference.lend(*arrays)
        inference.run()
        return [result.copy() for result in self._results]


def direct(program: Program, arrays: Mapping[str, Array], outputs: Sequence[Port]) -> Direct | None:
    """The short way for a program that is all of a model and has run on these arrays, if there is
    one.
    """
    part, compiled = program.part, program.compiled
    if compiled is None or isinstance(compiled.weights, Settings):
        return None
    if part.tokens or part.fixed or len(part.inputs) != len(arrays):
        return None
    inputs = []
    for name, x in part.inputs:
        array = arrays.get(name)
        inner = None if array is None else _inner(x, array)
        if array is None or inner is None or array.dtype != compiled.weights.dtype:
            return None
        inputs.append((name, array.dtype, array.shape, inner))
    order = {x.value.name: entry for entry, (_, x) in zip(inputs, part.inputs, strict=True)}
    if len(order) != len(inputs):
        return None
    made = dict(
        zip((v.name for v in part.values), compiled.inference.outputs_in_memory, strict=True)
    )
    results = []
    for port in outputs:
        y = part.outputs.get(port.name)
        result = None if y is None else made.get(y.value.name)
        if y is None or result is None:
            return None
        seen = y.told(result)
        wanted = dtype_of(port.dtype)
        if not np.may_share_memory(seen, result) or not seen.dtype == wanted == dtype_of(y.dtype):
            return None
        results.append(seen)
    values = compiled.inference.graph.inputs
    return Direct(program, [order[value.name] for value in values], results)


def _inner(x: Tensor, array: Array) -> tuple[int, ...] | None:
    """The shape in which a program takes an array; None where its numbers are in another order."""
    numbers = np.arange(array.size).reshape(array.shape)
    inner = x.laid_out(numbers)
    return inner.shape if np.array_equal(inner.ravel(), numbers.ravel()) else None
