"""A graph under construction: layers add nodes and parameters to it, one after the other."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod

from faltung.geometry.axis import Axis
from faltung.geometry.check import integer, integers, is_sequence, one_of, show, truth
from faltung.geometry.conv import FLOATS, Float
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.expr import Expr, operand
from faltung.geometry.field import Field, join
from faltung.geometry.record import dataclass
from faltung.graph.ops import Elementwise, Op, Reshape
from faltung.graph.value import Auxiliary, Follows, Graph, Kind, Node, Parameter, Value, samples_of

Fields = tuple[Field, ...] | None


def sample_shape(given: object) -> tuple[int, ...]:
    """The argument ``input_shape``, the shape of one sample. ValueError, TypeError: none."""
    if (one := integer(given)) is not None:
        raise FaltungTypeError(
            f"input_shape={one}: must be the shape of a sample, as ({one},) for vectors or "
            f"(1, {one}, {one}) for pictures"
        )
    sizes: list[object] = list(given) if is_sequence(given) else []  # type: ignore[call-overload]
    if sizes and (sizes[0] is None or integer(sizes[0]) == -1):
        raise FaltungTypeError(
            f"input_shape={show(given)}: is the shape of one sample, without the batch; write "
            f"{show(tuple(sizes[1:]))}"
        )
    shape = integers("input_shape", given)
    if not shape or min(shape) < 1:
        raise FaltungError(f"input_shape={shape}: must be (C, *space), all at least 1")
    return shape


class Builder:
    """What layers build with. ``training``: batch statistics, dropout, auxiliary heads.

    input_shape: (C, *space) without the batch, or (length,) with ``tokens``. samples: of the input,
    for each sample of the batch. ValueError, TypeError: an invalid shape or dtype.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        *,
        dtype: Float = "float32",
        training: bool = False,
        tokens: bool = False,
        samples: int = 1,
    ) -> None:
        shape = sample_shape(input_shape)
        one_of("dtype", dtype, FLOATS)
        truth("tokens", tokens)
        truth("training", training)
        self.dtype = dtype
        self.training = training
        kind = "int" if tokens else "float"
        self.input = Value("input", shape, kind=kind, samples=samples)
        self._inputs = [self.input]
        self._nodes: list[Node] = []
        self._parameters: list[Parameter] = []
        self._auxiliaries: list[Auxiliary] = []
        self._updates: list[tuple[Value, Value]] = []
        self._scopes: list[str] = []
        self._names: list[set[str]] = [set()]
        # For each kind, the last number that is taken in the scope.
        self._taken: list[Counter[str]] = [Counter()]
        self._layer = ""
        self._kind: Kind | None = None
        self._origin: dict[str, str] = {}
        space = () if tokens else shape[1:]
        self._fields: dict[str, Fields] = {"input": tuple(Field() for _ in space)}
        if tokens:
            self._fields["input"] = (Field(),)

    # Names ---------------------------------------------------------------------------------------

    @contextmanager
    def layer(self, kind: str, name: str | None, layer: object = None) -> Iterator[str]:
        """Everything built in the block belongs to this layer. Without a name it gets its kind and
        a number. layer: the layer itself, for the ``Kind`` of its nodes.

        ValueError: a name with a dot, or one that a layer in the same scope has.
        """
        names = self._names[-1]
        if name is None:
            name = self._numbered(kind.lower())
        elif not isinstance(name, str) or not name or "." in name or name in names:
            rule = "must be unique in its scope, not empty and without a dot"
            raise FaltungError(f"name={show(name)}: the name of a layer {rule}")
        names.add(name)
        before = self._layer, self._kind
        self._scopes.append(name)
        self._layer, self._kind = ".".join(self._scopes), Kind(kind, layer)
        self._names.append(set())
        self._taken.append(Counter())
        try:
            yield self._layer
        finally:  # an importer goes on after an operator that it cannot say
            self._names.pop()
            self._taken.pop()
            self._scopes.pop()
            self._layer, self._kind = before

    @contextmanager
    def within(self, layers: Sequence[str], kind: str = "") -> Iterator[None]:
        """Everything built in the block belongs to a layer in these layers, which may have been
        built in before: an imported network gives its nodes in any order.
        """
        before = self._layer, self._kind
        depth = len(self._scopes)
        self._scopes += layers
        self._layer = ".".join(self._scopes)
        self._kind = Kind(kind) if kind else self._kind
        try:
            yield
        finally:
            del self._scopes[depth:]
            self._layer, self._kind = before

    def _numbered(self, kind: str) -> str:
        """The kind with the first number that no layer in this scope has."""
        taken = self._taken[-1]
        while True:
            taken[kind] += 1
            if (name := f"{kind}{taken[kind]}") not in self._names[-1]:
                return name

    @property
    def current(self) -> str:
        """The name of the layer that is built now."""
        return self._layer

    def after(self, x: Value) -> str:
        """Where a value comes from, for messages: "after 'pool2'"."""
        return f"after {self._origin[x.name]!r}" if x.name in self._origin else "from the input"

    # Values --------------------------------------------------------------------------------------

    def node(
        self,
        op: Op,
        inputs: Sequence[Value],
        *shapes: tuple[int, ...],
        fields: Fields = None,
        kind: str | None = None,
        samples: int | None = None,
    ) -> Value:
        """Add a node with one output for each shape; the first is returned.

        fields: of the output. kind: the name of the node's ``Kind``, where it is not the layer's.
        samples: of the outputs, where they are not those of the inputs.
        """
        return self.nodes(op, inputs, *shapes, fields=fields, kind=kind, samples=samples)[0]

    def nodes(
        self,
        op: Op,
        inputs: Sequence[Value],
        *shapes: tuple[int, ...],
        fields: Fields = None,
        kind: str | None = None,
        samples: int | None = None,
        batched: int | None = None,
    ) -> tuple[Value, ...]:
        """The same with all outputs returned. batched: of how many of them, the first ones, there
        is one for each sample; by default of all.
        """
        stem = f"{self._layer}:{len(self._nodes)}"
        count = samples_of(inputs) if samples is None else samples
        first = len(shapes) if batched is None else batched
        made = tuple(
            Value(stem + ("", *"bcdef")[i], shape, i < first, samples=count if i < first else 1)
            for i, shape in enumerate(shapes)
        )
        maker = self._kind if kind is None else Kind(kind)
        self._nodes.append(Node(op, tuple(map(_plain, inputs)), made, self._layer, maker))
        for value in made:
            self._origin[value.name] = self._layer
            self._fields[value.name] = fields
        return made

    def maker(self, value: Value) -> Node | None:
        """The node that made a value; None: it is an input."""
        return next((node for node in reversed(self._nodes) if value in node.outputs), None)

    def elementwise(
        self, expr: Expr, first: Value, *others: Value, kind: str | None = None
    ) -> Value:
        """A formula at every element of the map ``first``, which is operand 0."""
        maps = [x for x in (first, *others) if x.shape == first.shape and x.batched]
        fields = list(map(self.fields, maps))
        op = Elementwise(first.shape, (expr,))
        made = self.node(op, (first, *others), first.shape, fields=joined(fields), kind=kind)
        return self.flatten(made) if self.flat(first) else made

    def add(self, a: Value, b: Value) -> Value:
        return self.elementwise(operand(0) + operand(1), a, b, kind="Add")

    def outside(self, name: str, shape: tuple[int, ...] = (), kind: str = "float") -> Value:
        """A value without a batch that comes from outside: a key, a learning rate."""
        return Value(f"{self._layer}.{name}", shape, batched=False, kind=kind)

    def fields(self, x: Value) -> Fields:
        """What a unit sees along each axis of the input; None once positions are gone."""
        return self._fields[x.name]

    def through(self, x: Value, axes: Sequence[Axis]) -> Fields:
        """The fields of what reads ``x`` through these axes."""
        fields = self.fields(x)
        if fields is None or len(fields) != len(axes):
            return None
        return tuple(field.through(axis) for field, axis in zip(fields, axes, strict=True))

    def back(self, x: Value, axes: Sequence[Axis]) -> Fields:
        """The fields of what the transposes of these axes make of ``x``."""
        fields = self.fields(x)
        if fields is None or len(fields) != len(axes):
            return None
        pairs = tuple(zip(fields, axes, strict=True))
        if any(field.jump % axis.stride for field, axis in pairs):
            return None  # units are closer together than the entries of the input
        return tuple(field.back(axis) for field, axis in pairs)

    def parameter(
        self,
        name: str,
        shape: tuple[int, ...],
        *,
        inner: tuple[int, ...] | None = None,
        order: Sequence[int] | None = None,
        fan_in: int = 1,
        gain: float = 2.0,
        initial: str | float = "normal",
        decay: bool = True,
        trained: bool = True,
        follows: Follows | None = None,
    ) -> Value:
        """A new parameter of the layer; as ``Parameter`` says."""
        unfolded = inner or shape
        value = Value(f"{self._layer}.{name}", shape, batched=False)
        given = tuple(range(len(unfolded)) if order is None else order)
        self._parameters.append(
            Parameter(value, shape, unfolded, given, fan_in, gain, initial, decay, trained, follows)
        )
        return value

    def update(self, parameter: Value, value: Value) -> None:
        """The new value of a parameter that is not trained, after a step; instead of an earlier
        one, which this one has been made of.
        """
        self._updates = [pair for pair in self._updates if pair[0] != parameter]
        self._updates.append((parameter, value))

    def updated(self, parameter: Value) -> Value:
        """The value of a parameter after all updates until now."""
        return next((new for old, new in self._updates if old == parameter), parameter)

    def auxiliary(self, output: Value, weight: float) -> None:
        self._auxiliaries.append(Auxiliary(self.settled(output), weight))

    # Flattening ----------------------------------------------------------------------------------

    def flatten(self, x: Value) -> Value:
        """``x`` seen as a vector. Nothing is copied: layers that can read the map do so."""
        return _Flat(x.name, x.shape, x.batched, x.kind, x.samples) if x.space else x

    def flat(self, x: Value) -> bool:
        return isinstance(x, _Flat)

    def settled(self, x: Value) -> Value:
        """``x`` as any layer can read it: a flattened map becomes a vector, channels first."""
        return self.node(Reshape(), (x,), (prod(x.shape),), kind="Flatten") if self.flat(x) else x

    def add_input(
        self, name: str, shape: tuple[int, ...], kind: str = "float", samples: int = 1
    ) -> Value:
        """A further input of the network, (C, *space) without the batch."""
        made = Value(name, shape, kind=kind, samples=samples)
        self._inputs.append(made)
        self._fields[name] = tuple(Field() for _ in shape[1:])
        return made

    def graph(self, *outputs: Value) -> Graph:
        settled = tuple(map(self.settled, outputs))
        if settled[0].name == self.input.name:
            raise FaltungError("net: must have at least one layer that does something")
        return Graph(
            tuple(self._inputs),
            settled,
            tuple(self._nodes),
            tuple(self._parameters),
            self.dtype,
            self.training,
            tuple(self._auxiliaries),
            tuple(self._updates),
            dict(self._fields),
        )


@dataclass(frozen=True, slots=True)
class _Flat(Value):
    """A map that the layer after ``Flatten`` reads as a vector."""


def _plain(x: Value) -> Value:
    return Value(x.name, x.shape, x.batched, x.kind, x.samples) if isinstance(x, _Flat) else x


def joined(fields: Sequence[Fields]) -> Fields:
    """The fields where branches meet; None if one of them has no positions any more."""
    known = [axis for axis in fields if axis is not None]
    if len(known) < len(fields) or not known:
        return None
    try:
        return tuple(join(axis) for axis in zip(*known, strict=True))
    except ValueError:  # jumps differ: units of the branches do not correspond
        return None


def sizes(values: Sequence[int]) -> str:
    """A size for a message: 5x5."""
    return "x".join(map(str, values)) or show(tuple(values))
