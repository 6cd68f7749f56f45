"""A network as text: its nodes, the shapes of its values and of its parameters, without numbers.

The text is JSON, packed. Reading it makes nothing but the classes that are listed here, and every
node is looked at (``sound.py``) before anything is made of it.
"""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from math import prod
from typing import Any

from faltung.geometry.axis import Axis
from faltung.geometry.check import integer
from faltung.geometry.conv import ConvSpec, Float
from faltung.geometry.errors import FaltungError
from faltung.geometry.expr import Expr
from faltung.geometry.grid import Sampling
from faltung.geometry.pool import PoolSpec
from faltung.geometry.record import dataclass
from faltung.geometry.recurrent import RecurrentSpec, Squash
from faltung.geometry.resample import Table
from faltung.graph import ops
from faltung.graph.sound import RULES
from faltung.graph.value import Graph, Node

# Bytes of a text without its compression at most, and entries that one axis or list has.
MOST_BYTES = 1 << 26
PARTS = (Axis, ConvSpec, Expr, PoolSpec, RecurrentSpec, Squash, Sampling, Table, ops.Reduction)
CLASSES = {kind.__name__: kind for kind in (*PARTS, *RULES)}
# What names consist of, so that none is like that of a value.
_WORD = re.compile(r"[\w/-]+")
# Where a network reads a key of random numbers.
KEY = -1


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter. name: where it stands, the layer's path and its name there."""

    name: str
    shape: tuple[int, ...]
    inner: tuple[int, ...]
    order: tuple[int, ...]
    trained: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A node. inputs: numbers of values: 0 is what the network reads, then come the parameters,
    then what the nodes make. outputs: shape and samples of each. layer: its path; kind: its class.
    """

    op: Any
    inputs: tuple[int, ...]
    outputs: tuple[tuple[tuple[int, ...], int], ...]
    layer: str
    kind: str


@dataclass(frozen=True, slots=True)
class Written:
    """A network. output: the number of the value that it gives."""

    shape: tuple[int, ...]
    tokens: bool
    weights: tuple[Weight, ...]
    steps: tuple[Step, ...]
    output: int


# Writing ------------------------------------------------------------------------------------------


def described(
    graph: Graph, names: Mapping[str, str], layers: Mapping[str, tuple[str, str]]
) -> Written:
    """A graph of one input and one output. names: of its parameters; layers: for those of its
    nodes the path and the class. FaltungError: an operation that networks do not have.
    """
    numbers = {graph.input.name: 0}
    weights = []
    for p in graph.parameters:
        numbers[p.name] = len(numbers)
        weights.append(Weight(names[p.name], p.shape, p.inner, p.order, p.trained))
    steps = []
    for node in graph.nodes:
        if type(node.op) not in RULES:
            raise FaltungError(f"{type(node.op).__name__}: is no operation of a network here")
        inputs = tuple(
            KEY if value.kind == "key" else _number(numbers, node, value.name)
            for value in node.inputs
        )
        for value in node.outputs:
            numbers[value.name] = len(numbers)
        made = tuple((value.shape, value.samples) for value in node.outputs)
        path, kind = layers[node.layer]
        steps.append(Step(node.op, inputs, made, path, kind))
    tokens = graph.input.kind == "int"
    output = numbers[graph.output.name]
    return Written(graph.input.shape, tokens, tuple(weights), tuple(steps), output)


def _number(numbers: Mapping[str, int], node: Node, name: str) -> int:
    if name not in numbers:
        raise FaltungError(f"{node.layer}: reads {name!r}, which no node makes")
    return numbers[name]


def written(network: Written) -> str:
    """The text."""
    rows = [_encoded(part) for part in _rows(network)]
    data = json.dumps(rows, separators=(",", ":")).encode("ascii")
    return base64.b85encode(zlib.compress(data, 9)).decode("ascii")


def _rows(network: Written) -> Iterator[Any]:
    yield network.shape, network.tokens, network.output
    yield tuple((w.name, w.shape, w.inner, w.order, w.trained) for w in network.weights)
    yield tuple((s.op, s.inputs, s.outputs, s.layer, s.kind) for s in network.steps)


def _encoded(x: Any) -> Any:
    """Tuples as lists; a part of an operation as an object with one name."""
    if isinstance(x, tuple):
        return [_encoded(item) for item in x]
    if is_dataclass(x) and not isinstance(x, type):
        return {type(x).__name__: [_encoded(getattr(x, name)) for name in _names(type(x))]}
    return x


def _names(kind: type) -> list[str]:
    return [each.name for each in fields(kind) if each.init]


# Reading ------------------------------------------------------------------------------------------


@lru_cache(8)
def network_of(text: str) -> Written:
    """What ``written`` wrote. FaltungError: anything else."""
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b85decode(text), MOST_BYTES)
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise FaltungError(f"structure: must not have more than {MOST_BYTES:,} bytes")
        return _network(_decoded(json.loads(data)))
    except (binascii.Error, zlib.error, RecursionError, KeyError, IndexError):
        raise FaltungError("structure: is not the text of a network") from None
    except FaltungError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise FaltungError(f"structure: is not the text of a network, {error}") from None


def _decoded(x: Any) -> Any:
    if isinstance(x, list):
        return tuple(map(_decoded, x))
    if isinstance(x, dict):
        ((name, values),) = x.items()
        kind = CLASSES[name]
        given = tuple(map(_decoded, values))
        names = _names(kind)
        if len(given) != len(names):
            raise FaltungError(f"structure: {name} does not have {len(given)} fields")
        return kind(*given)
    return x


def _network(rows: Any) -> Written:
    (shape, tokens, output), weights, steps = rows
    made = Written(
        _sizes(shape),
        tokens is True,
        tuple(_weight(*row) for row in weights),
        tuple(_step(*row) for row in steps),
        _whole(output),
    )
    if not made.shape:
        raise FaltungError("structure: has no shape of a sample")
    if len({weight.name for weight in made.weights}) < len(made.weights):
        raise FaltungError("structure: has two parameters of one name")
    known = 1 + len(made.weights)
    for step in made.steps:
        if not step.inputs or not KEY <= min(step.inputs) <= max(step.inputs) < known:
            raise FaltungError("structure: a node reads what comes after it")
        known += len(step.outputs)
    if not 1 + len(made.weights) <= made.output < known:
        raise FaltungError("structure: gives what no node makes")
    return made


def _weight(name: Any, shape: Any, inner: Any, order: Any, trained: Any) -> Weight:
    if "." not in _path(name):
        raise FaltungError(f"structure: {name!r} is in no layer")
    made = Weight(name, _sizes(shape), _sizes(inner), _sizes(order, 0), trained is True)
    fits = prod(made.shape) == prod(made.inner)
    if not fits or sorted(made.order) != [*range(len(made.inner))]:
        raise FaltungError(f"structure: {made.name!r} has no shape {made.shape}")
    return made


def _step(op: Any, inputs: Any, outputs: Any, layer: Any, kind: Any) -> Step:
    if type(op) not in RULES or not isinstance(kind, str):
        raise FaltungError("structure: has a node without an operation")
    made = tuple((_sizes(shape), _whole(samples, 1)) for shape, samples in outputs)
    if not all(shape for shape, _ in made) or len({count for _, count in made}) != 1:
        raise FaltungError("structure: has a node that makes nothing")
    return Step(op, tuple(map(_whole, inputs)), made, _path(layer), kind)


def _sizes(x: Any, least: int = 1) -> tuple[int, ...]:
    if not isinstance(x, tuple):
        raise FaltungError("structure: has no shape where there must be one")
    return tuple(_whole(n, least) for n in x)


def _whole(x: Any, least: int = KEY) -> int:
    found = integer(x)
    if found is None or not least <= found < 1 << 62:
        raise FaltungError(f"structure: {x!r} must be a whole number from {least}")
    return found


def _path(x: Any) -> str:
    if not isinstance(x, str) or not all(map(_WORD.fullmatch, x.split("."))):
        raise FaltungError("structure: has no name where there must be one")
    return x


# Changing -----------------------------------------------------------------------------------------


def in_dtype(op: Any, dtype: Float) -> Any:
    """The operation for numbers of another type."""
    spec = getattr(op, "spec", None)
    if isinstance(spec, ConvSpec | PoolSpec):
        return replace(op, spec=replace(spec, dtype=dtype))
    return op


def with_outputs(network: Written, count: int) -> Written:
    """The network with another number of outputs. FaltungError: it does not end in a layer that has
    such a number.
    """
    first = 1 + len(network.weights)
    makers: dict[int, int] = {}
    for number, step in enumerate(network.steps):
        for _ in step.outputs:
            makers[first + len(makers)] = number
    steps, at = list(network.steps), network.output
    before = _outputs_of(network)
    while at in makers:
        number = makers[at]
        step = steps[number]
        if isinstance(step.op, ops.Convolve) and step.op.spec.groups == 1:
            return _widened(network, steps, number, count)
        alone = len(step.outputs) == 1 and step.outputs[0][0] == before
        if not alone or not isinstance(step.op, ops.View | ops.Reshape | ops.Softmax | ops.Dropout):
            break
        steps[number] = replace(step, outputs=(((count, *before[1:]), step.outputs[0][1]),))
        at = step.inputs[0]
    raise FaltungError("classes: the network does not end in a layer whose outputs can be changed")


def _outputs_of(network: Written) -> tuple[int, ...]:
    """The shape of what the network gives."""
    flat = [shape for step in network.steps for shape, _ in step.outputs]
    return flat[network.output - 1 - len(network.weights)]


def _widened(network: Written, steps: list[Step], number: int, count: int) -> Written:
    step, weights = steps[number], list(network.weights)
    op = step.op
    steps[number] = replace(
        step,
        op=replace(op, spec=replace(op.spec, channels_out=count)),
        outputs=(((count, *step.outputs[0][0][1:]), step.outputs[0][1]),),
    )
    for index in step.inputs[1:]:
        held = weights[index - 1]
        weights[index - 1] = replace(
            held, shape=(count, *held.shape[1:]), inner=(count, *held.inner[1:])
        )
    return replace(network, weights=tuple(weights), steps=tuple(steps))
