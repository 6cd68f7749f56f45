"""A part of a model of PyTorch as a graph, for given sizes.

A walk over the nodes of an ATen graph in their order. What depends on leaves alone (parameters,
buffers, constants) is left to PyTorch, which also differentiates it; its results are leaves, too.
What depends on the inputs becomes operations of a graph. What the graph cannot say although it
should is collected, so that one error names all of it.
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import fx

from faltung.geometry.conv import Float
from faltung.geometry.errors import FaltungError
from faltung.graph.foreign import Tensor, Unsaid, numbers
from faltung.graph.fuse import needed
from faltung.graph.ops import ITSELF, Elementwise
from faltung.graph.value import Value
from faltung.torch import attention, convolve, norms, pads, pools, products, recurrent, resize
from faltung.torch.aliases import Aliases
from faltung.torch.arguments import Arguments, Call, Graphed
from faltung.torch.part import DTYPES, Entry, Feed, Gap, Leaf, Outside, Part, Shape, trainable
from faltung.torch.prefix import run
from faltung.torch.sizes import value
from faltung.torch.table import TABLE

# Data that graphs compute with, or look rows up by.
NUMBERS = frozenset(
    [
        "float32",
        "float64",
        "float16",
        "bfloat16",
        "bool",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint8",
    ]
)
# Operators that repeat a leaf, as for each sample of a batch; and those whose bits PyTorch makes
# depend on how many rows there are.
SPREADING = frozenset(["expand", "expand_as", "repeat", "tile"])
ROWS = frozenset({*products.TABLE, *convolve.TABLE, *recurrent.TABLE, *attention.TABLE})
# Operators that read (samples, C, *space), whose channels are therefore last in memory.
SPATIAL = frozenset({*convolve.TABLE, *pools.TABLE, *resize.SPATIAL, *norms.SPATIAL})


def imported(
    nodes: Sequence[fx.Node],
    given: Mapping[str, Feed | torch.Tensor | int | float | bool | None],
    wanted: Sequence[str],
    dtype: Float,
    training: bool = False,
    their_random: bool = False,
) -> Part:
    """Nodes of a graph as a part.

    given: what stands for each placeholder, and for each result of a node that is not among
    ``nodes``, by name: a tensor is a leaf. wanted: names of nodes that are read afterwards.
    training: gradients are asked for, of leaves and feeds that are trained. their_random: random
    numbers are PyTorch's.
    """
    f = Graphed(dtype, training)
    f.their_random = their_random
    return _Importer(f, given).run(nodes, wanted)


class _Importer:
    def __init__(self, f: Graphed, given: Mapping[str, Any]) -> None:
        self.f = f
        self.part = Part()
        self.env: dict[str, Entry] = {}
        self.given = dict(given)
        self.maps: set[str] = set()
        self.notes: dict[str, int] = {}
        self.cuts: dict[str, Tensor] = {}
        self.constants: dict[int, Leaf] = {}
        self.spread: set[str] = set()
        # Results by the name of their value.
        self.looks: dict[str, Tensor] = {}
        self.aliases = Aliases(f, self.env, self.handled, self.seen_as, self.fed)

    def run(self, nodes: Sequence[fx.Node], wanted: Sequence[str]) -> Part:
        self.maps = _maps(nodes)
        for name, entry in self.given.items():
            if isinstance(entry, Feed):
                self.env[name] = self.feed(name, entry)
            elif isinstance(entry, torch.Tensor):
                self.env[name] = self.leaf(name, entry)
            else:
                self.env[name] = entry
        for node in nodes:
            self.node(node)
        self.finish(nodes, wanted)
        return self.part

    def feed(self, name: str, feed: Feed) -> Tensor | Outside:
        if feed.dtype not in NUMBERS:
            return Outside(name, feed.shape, feed.dtype)
        if feed.trained:
            self.part.trained.add(name)
        memory = _as_map(feed.shape) if feed.last or name in self.maps else None
        if memory is not None and not feed.last:
            self.part.first.add(name)
        made = self.part.inputs[name] = self.f.input(feed.shape, feed.dtype, memory)
        return made

    # One node ------------------------------------------------------------------------------------

    def node(self, node: fx.Node) -> None:
        if node.op in ("placeholder", "output"):
            return
        if node.op == "get_attr":
            self.env[node.name] = self.constant(node)
            return
        try:
            try:
                if node.target is operator.getitem:
                    whole, index = self.read(node.args[0]), self.read(node.args[1])
                    self.env[node.name] = self.item(node, whole, index)
                    self.aliases.made(node, index)
                    return
                self.env[node.name] = self.result(node)
                self.aliases.made(node)
            except Unsaid as error:
                self.gap(node, str(error))
        except MemoryError:
            raise
        except FaltungError as error:
            self.gap(node, str(error))
        except (ValueError, TypeError, LookupError, ArithmeticError, AssertionError) as error:
            # Nothing above expected it: PyTorch computes the node, or says what is wrong.
            said = " ".join(str(error).split())
            self.gap(node, f"{type(error).__name__}: {said}" if said else type(error).__name__)

    def read(self, argument: Any) -> Any:
        """An argument of a node with what its nodes have become."""
        if isinstance(argument, fx.Node):
            return self.aliases.current(argument)
        if isinstance(argument, list | tuple):
            return [self.read(x) for x in argument]
        return argument

    def item(self, node: fx.Node, whole: Any, index: Any) -> Any:
        if isinstance(whole, list):
            if isinstance(whole[index], Leaf):
                self.part.prefix.append(node)
            return whole[index]
        assert isinstance(whole, Outside)
        return self.outside(node)

    def constant(self, node: fx.Node) -> Entry:
        found: Any = node.graph.owning_module
        for name in str(node.target).split("."):
            found = getattr(found, name)
        if id(found) not in self.constants:  # several nodes may name one tensor, which is written
            self.constants[id(found)] = self.leaf(node.name, found)
        return self.constants[id(found)]

    def leaf(self, name: str, tensor: torch.Tensor) -> Leaf:
        trained = self.f.training and tensor.requires_grad
        found = trainable(tensor) if trained else tensor
        made = self.part.leaves[name] = Leaf(name, found, trained)
        return made

    def result(self, node: fx.Node) -> Entry:
        target = node.target
        if not isinstance(target, torch._ops.OpOverload):
            return self.computed_size(node)
        call = called(node, self.read)
        reads = list(flat(call.given.values()))
        random = torch.Tag.nondeterministic_seeded in target.tags
        if not random and not any(isinstance(x, Tensor | Outside) for x in reads):
            made = self.by_rows(node, call)
            return self.in_prefix(node, call) if made is None else made
        if "float64" in call.dtypes and self.f.dtype == "float32":
            raise Unsaid("float64 within what is computed in float32")
        self.aliases.reads(node)
        for x in reads:
            if isinstance(x, Outside):
                self.fed(x)
        arguments = Arguments(self.f, call, self.fed)
        made = self.in_graph(node, arguments)
        return self.aliases.write(node, made) if _writes(target._schema) else made

    def in_graph(self, node: fx.Node, arguments: Arguments) -> Any:
        with self.f.b.layer(arguments.op, self.f.name(node.name)):
            made = self.handled(arguments)
        for name, rows in arguments.notes.items():
            self.notes[name] = min(rows, self.notes.get(name, rows))
        return self.checked(arguments.call, made)

    def by_rows(self, node: fx.Node, call: Call) -> Any:
        """What a leaf leads to that is repeated for each sample, where PyTorch's bits would depend
        on how many there are; None: of anything else.
        """
        read = {x.name for x in flat(call.given.values()) if isinstance(x, Leaf)}
        if self.f.training or call.op not in ROWS or read.isdisjoint(self.spread):
            return None
        try:
            return self.in_graph(node, Arguments(self.f, call, self.fed))
        except Unsaid:
            return None

    def handled(self, arguments: Arguments) -> Any:
        """What an operation makes."""
        handler = TABLE.get(arguments.op)
        if handler is None:
            raise Unsaid("no such operator here")
        given = flat(arguments.call.given.values())
        self.f.near = [x for x in given if isinstance(x, Leaf)]
        return handler(arguments)

    def seen_as(self, node: fx.Node, parent: fx.Node, value: Tensor) -> Arguments:
        """The arguments of a node, one of which is something else now."""

        def read(x: Any) -> Any:
            if isinstance(x, list | tuple):
                return [read(one) for one in x]
            return value if x is parent else self.read(x)

        return Arguments(self.f, called(node, read), self.fed)

    def computed_size(self, node: fx.Node) -> Entry:
        """Arithmetic of sizes, in Python."""
        arguments = [self.read(x) for x in node.args]
        if not all(isinstance(x, int | float | bool) for x in flat(arguments)):
            raise Unsaid("numbers that follow from values")
        return node.target(*arguments)

    def in_prefix(self, node: fx.Node, call: Call) -> Any:
        """What leaves alone lead to, as PyTorch computes it."""
        target: Any = node.target
        schema = target._schema
        written = [name for name, x in call.given.items() if _is_written(schema, name)]
        self.part.prefix.append(node)
        if any(isinstance(call.given[name], Leaf) for name in written) and self.aliases.late(node):
            return call.given[written[0]]
        self.aliases.is_late(node)
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: _plain(self.env[n.name]))
        with torch.set_grad_enabled(self.f.training):
            made = run(node, args, kwargs)
        if isinstance(made, list | tuple):
            found: Any = [self.leaf(f"{node.name}[{i}]", x) for i, x in enumerate(made)]
        else:
            found = self.leaf(node.name, made) if isinstance(made, torch.Tensor) else made
        read = {x.name for x in flat(call.given.values()) if isinstance(x, Leaf)}
        if call.op in SPREADING or not read.isdisjoint(self.spread):
            self.spread |= {x.name for x in flat([found]) if isinstance(x, Leaf)}
        return found

    def checked(self, call: Call, made: Any) -> Any:
        """The results, which must have the shapes that PyTorch has found; with its dtypes."""
        several = isinstance(made, list)
        found = made if several else [made]
        checked = []
        for i, x in enumerate(found):
            if isinstance(x, Tensor):
                shape = call.shapes[i] if i < len(call.shapes) else None
                if shape is not None and tuple(shape) != x.shape:
                    raise Unsaid(f"a result of shape {x.shape} instead of {tuple(shape)}")
                if i < len(call.dtypes):
                    x = replace(x, dtype=call.dtypes[i])
            checked.append(x)
        return checked if several else checked[0]

    # Gaps ----------------------------------------------------------------------------------------

    def gap(self, node: fx.Node, reason: str) -> None:
        self.part.gaps.append(Gap(node, reason))
        self.env[node.name] = self.outside(node)
        self.aliases.made(node, node.args[1] if node.target is operator.getitem else None)
        for other in self.aliases.lost(node):
            self.env[other.name] = self.outside(other)

    def outside(self, node: fx.Node) -> Any:
        """The results of a gap."""
        found = value(node)
        if isinstance(found, list | tuple):
            return [self.one_outside(f"{node.name}[{i}]", x) for i, x in enumerate(found)]
        return self.one_outside(node.name, found)

    def one_outside(self, name: str, found: Any) -> Any:
        if not isinstance(found, torch.Tensor):
            return found
        dtype = DTYPES.get(found.dtype, str(found.dtype))
        return Outside(name, tuple(int(n) for n in found.shape), dtype)

    def fed(self, x: Outside) -> Tensor:
        """The result of a gap, as an input, so that what else is missing behind it is found."""
        found = self.cuts.get(x.name)
        if x.dtype not in NUMBERS:
            raise Unsaid(f"{x.dtype.removeprefix('torch.')} tensors")
        if found is None:
            found = self.cuts[x.name] = self.f.input(x.shape, x.dtype, _as_map(x.shape))
        return found

    # The end -------------------------------------------------------------------------------------

    def settled(self, x: Any, found: Any) -> Any:
        """A result as PyTorch lays it out, if it has no gaps there."""
        if isinstance(x, list):
            several = found if isinstance(found, list | tuple) else [found] * len(x)
            return [self.settled(*pair) for pair in zip(x, several, strict=True)]
        if not isinstance(x, Tensor) or x.value.kind != "float":
            return x
        known = isinstance(found, torch.Tensor)
        return self.f.arranged(x, order_in_memory(found) if known else range(x.rank))

    def apart(self, x: Any) -> Any:
        """A result in memory that no other result, and no input, looks at in another way."""
        if isinstance(x, list):
            return [self.apart(one) for one in x]
        if not isinstance(x, Tensor):
            return x
        looks = {y.value.name: y for y in self.part.inputs.values()} | self.looks
        seen = looks.get(x.value.name)
        if seen is not None and (seen.shape, seen.dtype, seen.memory) != (
            x.shape,
            x.dtype,
            x.memory,
        ):
            numbers(x)
            op = Elementwise(x.value.shape, (ITSELF,))
            x = replace(x, value=self.f.node(op, (x.value,), x.value.shape))
        self.looks.setdefault(x.value.name, x)
        return x

    def finish(self, nodes: Sequence[fx.Node], wanted: Sequence[str]) -> None:
        """The graph of what the outputs need."""
        part = self.part
        found = {node.name: value(node) for node in nodes if node.name in wanted}
        now = {node.name: node for node in nodes}
        for name in wanted:
            try:
                x = self.aliases.current(now[name]) if name in now else self.env[name]
            except Unsaid as error:
                self.gap(now[name], str(error))
                x = self.env[name]
            part.outputs[name] = self.settled(x, found.get(name))
        fed = {x.value.name for x in part.inputs.values()}
        for node in nodes:
            if node.name in part.outputs:
                try:
                    part.outputs[node.name] = self.apart(part.outputs[node.name])
                except Unsaid as error:
                    self.gap(node, str(error))
                    part.outputs[node.name] = self.env[node.name]
        values: dict[str, Value] = {}
        for x in flat(part.outputs.values()):
            if isinstance(x, Tensor) and x.value.name not in fed:
                values[x.value.name] = x.value
        part.values = tuple(values.values())
        part.baked = list(self.f.baked.values())
        part.draws = self.f.draws
        if not part.values:
            return
        graph = self.f.graph(part.values)
        graph = replace(graph, training=self.f.training)
        kept = {*values, *(value.name for _, value in graph.updates)}
        left = needed(graph.nodes, kept)
        read = {value.name for node in left for value in node.inputs}
        read |= {value.name for value, _ in graph.updates}
        parameters = tuple(p for p in graph.parameters if p.name in read)
        inputs = tuple(value for value in graph.inputs if value.name in read)
        part.graph = replace(graph, nodes=left, parameters=parameters, inputs=inputs)
        part.bound = {p.name: self.f.bound[p.name] for p in parameters}
        part.tokens = {
            n: self.notes[x.value.name]
            for n, x in part.inputs.items()
            if x.value.name in self.notes
        }


def called(node: fx.Node, read: Any = lambda x: x) -> Call:
    """A node as a call, with its arguments by the names of the schema."""
    target: Any = node.target
    schema = target._schema
    given = {}
    for number, argument in enumerate(schema.arguments):
        if number < len(node.args) and not argument.kwarg_only:
            given[argument.name] = read(node.args[number])
        elif argument.name in node.kwargs:
            given[argument.name] = read(node.kwargs[argument.name])
        else:
            given[argument.name] = argument.default_value
    op = schema.name.split("::")[-1]
    op = op[:-1] if op.endswith("_") and schema.is_mutable and not op.endswith("__") else op
    found = value(node)
    several = found if isinstance(found, list | tuple) else [found]
    shapes: list[Shape | None] = []
    dtypes = []
    for x in several:
        is_tensor = isinstance(x, torch.Tensor)
        known = is_tensor and all(isinstance(n, int) for n in x.shape)
        shapes.append(tuple(x.shape) if known else None)
        dtypes.append(DTYPES.get(x.dtype, str(x.dtype)) if is_tensor else "")
    return Call(op, target._overloadname, given, shapes, dtypes, node)


def order_in_memory(x: torch.Tensor) -> Sequence[int]:
    """The axes of a tensor in the order in which it lies in memory; as they are, if it has gaps."""
    plain = range(x.dim())
    if x.is_contiguous():
        return plain
    if lies_last(x):
        return (0, *plain[2:], 1)
    strides = x.stride()
    order = sorted(plain, key=lambda axis: -strides[axis])
    return order if x.permute(order).is_contiguous() else plain


def lies_last(x: torch.Tensor) -> bool:
    """Whether a tensor has its channels last in memory, and not in the order of its axes."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    if x.dim() not in formats or x.is_contiguous():
        return False
    return x.is_contiguous(memory_format=formats[x.dim()])


def _writes(schema: Any) -> bool:
    """Whether what an operator returns is what it was given, written in place."""
    if not schema.is_mutable or not schema.returns:
        return False
    info = schema.returns[0].alias_info
    return info is not None and info.is_write


def _is_written(schema: Any, name: str) -> bool:
    found = next(argument for argument in schema.arguments if argument.name == name)
    return found.alias_info is not None and found.alias_info.is_write


def _plain(x: Any) -> Any:
    return x.tensor if isinstance(x, Leaf) else x


def _as_map(shape: Shape) -> Shape | None:
    """The order in memory of (samples, C, *space) with the channels last."""
    return (0, *range(2, len(shape)), 1) if len(shape) > 2 else None


def _maps(nodes: Sequence[fx.Node]) -> set[str]:
    """Inputs that are read as (samples, C, *space), at once or after formulas."""
    of: dict[str, str] = {}
    found: set[str] = set()
    for node in nodes:
        reads = [x for x in node.args if isinstance(x, fx.Node)]
        if not reads or not isinstance(node.target, torch._ops.OpOverload):
            continue
        first = of.get(reads[0].name, reads[0].name)
        op = node.target._schema.name.split("::")[-1].rstrip("_")
        if op in SPATIAL:
            found.add(first)
        elif node.target.is_view or torch.Tag.pointwise in node.target.tags or op in pads.TABLE:
            of[node.name] = first
    return found


def flat(found: Any) -> Any:
    """All entries of nested lists."""
    for x in found:
        if isinstance(x, list | tuple):
            yield from flat(x)
        else:
            yield x
