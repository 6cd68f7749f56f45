"""Parts of a model as programs: compiled, fed with arrays and read; and the weights that programs
of several sizes share.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.graph.foreign import Tensor
from faltung.graph.value import Graph, Parameter
from faltung.methods.rows.embedding import check_tokens
from faltung.onnx.importer import Part
from faltung.onnx.tensors import dtype_of
from faltung.plan.choose import Precision
from faltung.program.inference import Inference
from faltung.program.state import State

Array = npt.NDArray[Any]

# Sets of weights that are kept beside those in use.
MOST_STATES = 8


@dataclass(slots=True)
class Weights:
    """Parameters in memory. values: as they are there now. version: counts changes."""

    parameters: tuple[Parameter, ...]
    state: State
    values: dict[str, Array]
    version: int = 0

    def set(self, wanted: Mapping[str, Array]) -> None:
        """Write those that differ."""
        changed = [n for n, w in wanted.items() if not _same(self.values[n], w)]
        for name in changed:
            self.state.set(name, wanted[name])
            self.values[name] = wanted[name]
        self.version += bool(changed)


@dataclass(slots=True)
class Compiled:
    """A graph as a program. seen: the version of the weights that it was packed from."""

    inference: Inference
    weights: Weights
    seen: int = 0


@dataclass(slots=True)
class Program:
    """A part that can run. compiled: None where nothing is computed. wanted: the weights, where
    other programs may have written others.
    """

    part: Part
    compiled: Compiled | None
    wanted: dict[str, Array] | None = None

    def run(self, values: dict[str, Array], known: Mapping[str, Array]) -> None:
        """Add to ``values`` what later parts read, from the values and what is known."""
        part = self.part
        for name, rows in part.tokens.items():
            check_tokens(values[name], rows)
        if self.wanted is not None and self.compiled is not None:
            self.compiled.weights.set(self.wanted)
        results: dict[str, Array] = {}
        given: dict[str, Array] = {}
        for name, x in part.inputs:
            array = values[name] if name in values else known[name]
            results[x.value.name] = given[x.value.name] = _laid_out(x, array)
        if self.compiled is not None:
            made = self._computed(self.compiled, given)
            results |= {v.name: r for v, r in zip(part.values, made, strict=True)}
        for name, x in part.outputs.items():
            values[name] = told(x, results[x.value.name])

    def _computed(self, compiled: Compiled, given: Mapping[str, Array]) -> list[Array]:
        inference = compiled.inference
        if compiled.seen != compiled.weights.version:
            inference.refresh()
            compiled.seen = compiled.weights.version
        batch = inference.batch
        inference.feed(*(_fed(given[v.name], (batch, *v.shape)) for v in inference.graph.inputs))
        inference.run()
        return inference.results()


@dataclass(slots=True)
class Programs:
    """What compiles parts. precision: as ``Inference``."""

    precision: Precision
    weights: list[Weights] = field(default_factory=list)

    def made(self, part: Part, before: list[Program], settings: bool) -> Program:
        """A program for a part. before: those of the same nodes for other sizes or values.
        settings: whether the weights may follow from values that are given at each call. Then a
        program of the same graph gets other weights, instead of there being another.
        """
        if part.graph is None:
            return Program(part, None)
        wanted = part.weights if settings else None
        if settings:
            for other in before:
                if other.compiled and _like(other.part.graph, part.graph, other.part, part):
                    return Program(part, other.compiled, wanted)
        weights = self._weights(part.graph, part.weights, settings)
        inference = Inference(part.graph, weights.state, part.batch, precision=self.precision)
        if not settings:
            part.weights = {}
        return Program(part, Compiled(inference, weights, weights.version), wanted)

    def _weights(self, graph: Graph, wanted: dict[str, Array], alone: bool) -> Weights:
        """The parameters: those of another program, where they are the same."""
        if not alone:
            for found in self.weights:
                if found.parameters == graph.parameters and all(
                    _same(found.values[n], w) for n, w in wanted.items()
                ):
                    return found
        state = State(graph.parameters, graph.dtype)
        for name, value in wanted.items():
            state.set(name, value)
        made = Weights(graph.parameters, state, dict(wanted))
        if not alone:
            self.weights = [made, *self.weights[: MOST_STATES - 1]]
        return made


def _like(a: Graph | None, b: Graph | None, one: Part, other: Part) -> bool:
    """Whether two parts compute the same but for the numbers of their weights."""
    return a == b and one.batch == other.batch and one.values == other.values


def _same(a: Array, b: Array) -> bool:
    return a is b or (a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=True)))


# Arrays -------------------------------------------------------------------------------------------


def _laid_out(x: Tensor, array: Array) -> Array:
    """An input in the order in which the graph takes it."""
    return np.transpose(array, np.argsort(x.order)) if x.order else array


def _fed(array: Array, shape: tuple[int, ...]) -> Array:
    if array.dtype == np.bool_ or array.dtype.kind == "V":
        array = array.astype(np.float32)
    return array.reshape(shape)


def told(x: Tensor, result: Array) -> Array:
    """A result as its owner has it, in an array of its own."""
    array = x.told(result)
    wanted = dtype_of(x.dtype)
    if wanted == np.bool_ and array.dtype != np.bool_:
        return np.asarray(array > 0.5)
    with np.errstate(over="ignore"):
        return np.array(array, wanted, order="C")
