"""A part of a model, and what its nodes read: the nouns of the importer."""

from dataclasses import field
from typing import Any

import numpy.typing as npt

from faltung.geometry.record import dataclass
from faltung.graph.foreign import Tensor
from faltung.graph.value import Graph, Value
from faltung.onnx.gaps import Gap
from faltung.onnx.read import Call

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """Numbers that are there when a part begins, and are others at each run. array: None where
    nothing runs, and only their shape is known.
    """

    shape: Shape
    dtype: str
    array: Array | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """The result of a node that runs after this part. shape: None where it is not known."""

    shape: Shape | None
    dtype: str


Entry = Tensor | Array | Held | Later


class Needed(Exception):
    """Numbers that must be known when a part is made, by name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(slots=True)
class Part:
    """What came of the nodes that could be said. graph: None where nothing has to be computed.
    inputs: of the graph, in its order, by the model's names, with how the arrays are laid out for
    it. outputs: what later parts or the caller read. values: the graph's outputs. known: arrays.
    later: nodes for after it. forced: of these why some run on the host, by id.
    fixed: constants that are inputs of the graph.
    """

    graph: Graph | None
    weights: dict[str, Array] = field(default_factory=dict)
    inputs: list[tuple[str, Tensor]] = field(default_factory=list)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    values: list[Value] = field(default_factory=list)
    known: dict[str, Array] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    later: list[Call] = field(default_factory=list)
    forced: dict[int, str] = field(default_factory=dict)
    said: list[Call] = field(default_factory=list)
    shapes: dict[str, Later] = field(default_factory=dict)
    fixed: dict[str, Array] = field(default_factory=dict)
