"""Parts of a model as programs: compiled, fed with arrays and read; and the weights that programs
of several sizes share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any
from weakref import ref

import numpy as np
import numpy.typing as npt

from faltung.geometry.record import dataclass
from faltung.graph.foreign import Tensor
from faltung.graph.value import Graph
from faltung.methods.rows.embedding import check_tokens
from faltung.onnx.part import Part
from faltung.onnx.tensors import dtype_of
from faltung.plan.words import Precision
from faltung.program.constants import Constants
from faltung.program.inference import Inference
from faltung.program.state import State

Array = npt.NDArray[Any]


@dataclass(slots=True)
class Settings:
    """Parameters that follow from what a call gives. values: as they are in memory now. version:
    counts changes.
    """

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
    """A graph as a program. seen: the version of the settings that it was packed from."""

    inference: Inference
    weights: Constants | Settings
    seen: int = 0


@dataclass(slots=True)
class Program:
    """A part that can run. compiled: None where nothing is computed. wanted: the parameters, where
    they follow from what calls give, so that others may be there.
    """

    part: Part
    compiled: Compiled | None
    wanted: dict[str, Array] | None = None

    def run(self, values: dict[str, Array]) -> None:
        """Add to ``values`` what later parts read."""
        part = self.part
        fixed = part.fixed
        for name, rows in part.tokens.items():
            check_tokens(fixed[name] if name in fixed else values[name], rows)
        results: dict[str, Array] = {}
        given = {
            x.value.name: x.laid_out(fixed[name] if name in fixed else values[name])
            for name, x in part.inputs
        }
        if self.compiled is not None:
            made = self._computed(self.compiled, given)
            results = {v.name: r for v, r in zip(part.values, made, strict=True)}
        for name, x in part.outputs.items():
            result = results.get(x.value.name)
            if result is None:  # an input, looked at otherwise
                result = np.moveaxis(given[x.value.name], 1, -1)
            values[name] = told(x, result)

    def _computed(self, compiled: Compiled, given: Mapping[str, Array]) -> list[Array]:
        inference, weights = compiled.inference, compiled.weights
        if isinstance(weights, Settings) and self.wanted is not None:
            weights.set(self.wanted)
            if compiled.seen != weights.version:
                inference.refresh()
                compiled.seen = weights.version
        inference.lend(*(_fed(given[value.name]) for value in inference.graph.inputs))
        inference.run()
        return inference.outputs_in_memory


@dataclass(slots=True)
class Programs:
    """What compiles parts. precision: as ``Inference``. shared: constants of the programs that
    there are, the latest first.
    """

    precision: Precision
    shared: list[ref[Constants]] = field(default_factory=list)

    def made(self, part: Part, before: Sequence[Program], settings: bool) -> Program:
        """A program for a part. before: those of the same nodes for other sizes or values.
        settings: whether parameters may follow from values that are given at each call. From the
        second such values on, a program of the same graph gets other parameters, instead of there
        being another.
        """
        graph = part.graph
        if graph is None:
            return Program(part, None)
        same = [p for p in before if p.compiled is not None and _like(p.part, part)]
        for other in same if settings else ():
            assert other.compiled is not None
            changing = isinstance(other.compiled.weights, Settings)
            if changing or _equal(other.wanted or {}, part.weights):
                return Program(part, other.compiled, part.weights)
        weights = self._changing(graph, part) if settings and same else self._fixed(graph, part)
        state = weights.state if isinstance(weights, Settings) else weights
        wanted = part.weights if settings else None
        if not settings:
            part.weights = {}
        inference = Inference(graph, state, 1, precision=self.precision)
        return Program(part, Compiled(inference, weights), wanted)

    def _fixed(self, graph: Graph, part: Part) -> Constants:
        earlier = [found for each in self.shared if (found := each()) is not None]
        made = Constants(graph.parameters, graph.dtype, part.weights, earlier)
        self.shared = [ref(made), *map(ref, earlier)]
        return made

    def _changing(self, graph: Graph, part: Part) -> Settings:
        state = State(graph.parameters, graph.dtype)
        for name, value in part.weights.items():
            state.set(name, value)
        return Settings(state, dict(part.weights))


def _like(one: Part, other: Part) -> bool:
    """Whether two parts compute the same but for the numbers of their parameters."""
    return one.graph == other.graph and one.values == other.values


def _equal(one: Mapping[str, Array], other: Mapping[str, Array]) -> bool:
    return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)


def _same(a: Array, b: Array) -> bool:
    return a is b or (a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=True)))


# Arrays -------------------------------------------------------------------------------------------


def _fed(array: Array) -> Array:
    few = array.dtype == np.bool_ or array.dtype.kind == "V"
    return array.astype(np.float32) if few else array


def told(x: Tensor, result: Array) -> Array:
    """A result as its owner has it, in an array of its own."""
    array = x.told(result)
    wanted = dtype_of(x.dtype)
    if wanted == np.bool_ and array.dtype != np.bool_:
        return np.asarray(array > 0.5)
    if array.dtype == wanted:
        return array.copy()
    with np.errstate(over="ignore"):
        return np.array(array, wanted, order="C")
