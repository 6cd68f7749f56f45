"""``to_model``: a module of PyTorch as a model of ours, which needs no PyTorch any more.

The module is traced in evaluation mode for a batch of one sample, and its operations become nodes
of a graph, the text of which is a layer (``nn/graphnet.py``). Whether that computes what the module
does, also for several samples, is looked at before the model is given out.
"""

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from faltung.geometry.check import show
from faltung.geometry.conv import Float
from faltung.geometry.errors import FaltungError, FaltungTypeError, UnsupportedError
from faltung.graph import ops
from faltung.graph.builder import Builder
from faltung.graph.foreign import Shape, Tensor
from faltung.graph.sound import check_node
from faltung.graph.text import described, written
from faltung.graph.value import Graph
from faltung.nn.graphnet import GraphNet
from faltung.torch.arguments import Call, Graphed
from faltung.torch.importer import _Importer, called
from faltung.torch.part import Feed, Part
from faltung.torch.trace import Traced, dtype_of, only_tensor, plain_attention, trace
from faltung.train.model import Model

# How far apart the outputs of both may be, as a part of the largest.
CLOSE = {"float32": 1e-3, "float64": 1e-9}
# Gaps that an error names, and notes in a warning.
MOST_NAMED = 6


def to_model(module: nn.Module, example: Any, *, classes: Sequence[str] | None = None) -> Model:
    """A module of PyTorch as a ``faltung.Model``, which is trained, saved and loaded without it.

    Parameters
    ----------
    module : torch.nn.Module
        A network of one input and one output, on the CPU. It is not changed.
    example : tensor
        A batch of samples ``(n, *input_shape)`` as the module takes it; whole numbers ``(n,
        length)`` are tokens.
    classes : sequence of str, optional
        Names of the outputs.

    Returns
    -------
    Model
        With the parameters of the module under the names that they have there, and its outputs in
        evaluation mode, up to rounding. Where it ends in a softmax that is left out: ``predict``
        gives probabilities then. In training, batch normalisation and dropout do what they do in
        the module.

    Raises
    ------
    UnsupportedError
        What stands in the way: operations that graphs cannot say, several inputs or outputs.
    FaltungError, FaltungTypeError
        No module, or an example that is none; a module that gives something else for a sample when
        other samples are beside it.

    Warns
    -----
    RuntimeWarning
        What the module does in training and the model does not: dropout of attention weights, for
        example, or training one weight through two of its uses.

    Notes
    -----
    The trace sees what runs in evaluation mode: auxiliary classifiers and layers that are left out
    at random in training are not part of it. Weights that are computed from others, as by a
    parametrisation, become plain ones.

    Examples
    --------
    >>> import torch, faltung.torch
    >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    >>> model = faltung.torch.to_model(net, torch.zeros(1, 1, 8, 8))
    >>> model.predict(torch.ones(2, 1, 8, 8).numpy(), softmax=False).shape
    (2, 3)
    """
    x = _example(module, example)
    module = _prepared(module, x)
    traced = trace(module, x)
    part, f = _part(traced, x)
    made, softmax = _model(traced, part, f, classes)
    notes = list(_notes(module))
    if notes:
        more = len(notes) - MOST_NAMED
        text = "; ".join(notes[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
        warnings.warn(f"to_model: {text}", RuntimeWarning, stacklevel=2)
    _compared(made, module, x, softmax)
    return made


# What is given ------------------------------------------------------------------------------------


def _example(module: object, example: object) -> torch.Tensor:
    if not isinstance(module, nn.Module):
        raise FaltungTypeError(f"module={show(module)}: must be a torch.nn.Module")
    if isinstance(example, tuple | list) and len(example) == 1:
        (example,) = example
    if isinstance(example, np.ndarray):
        example = torch.from_numpy(example)
    if isinstance(example, tuple | list | dict):
        raise UnsupportedError(
            f"example: has {len(example)} entries: a Model reads one tensor; use "
            "faltung.torch.compile for a module of several inputs"
        )
    if not isinstance(example, torch.Tensor):
        raise FaltungTypeError(f"example={show(example)}: must be a tensor, a batch of samples")
    shape = tuple(example.shape)
    if len(shape) < 2 or not all(shape):
        raise FaltungError(f"example.shape={shape}: must be (n, *input_shape), n at least 1")
    whole = example.dtype in (torch.int64, torch.int32)
    if not whole and not example.is_floating_point():
        raise FaltungTypeError(f"example.dtype={example.dtype}: must be real numbers or tokens")
    if whole and len(shape) != 2:
        raise FaltungError(f"example.shape={shape}: tokens must be (n, length)")
    return example.detach()


def _prepared(module: nn.Module, x: torch.Tensor) -> nn.Module:
    """A copy in evaluation mode, in a dtype that models have."""
    tensors = [*module.parameters(), *module.buffers()]
    for tensor in (x, *tensors):
        if tensor.device.type != "cpu" or tensor.layout != torch.strided:
            raise UnsupportedError(
                f"module: has a tensor that is {tensor.layout} on {tensor.device}; move the module "
                "and the example to the CPU with .cpu()"
            )
    made = copy.deepcopy(module).eval()
    floats = {t.dtype for t in tensors if t.is_floating_point() or t.is_complex()}
    if any(dtype.is_complex for dtype in floats):
        raise UnsupportedError("module: has complex parameters; a Model has real ones")
    narrow = floats - {torch.float32, torch.float64}
    if narrow or len(floats) > 1:
        made = made.double() if torch.float64 in floats else made.float()
    for name, part in made.named_modules():
        if getattr(part, "track_running_stats", False) and getattr(part, "momentum", 0) is None:
            raise UnsupportedError(
                f"module: {name!r} has momentum=None, a cumulative average; a Model moves running "
                "statistics by a momentum, such as 0.1"
            )
    return made


# The graph ----------------------------------------------------------------------------------------


class _Network(Graphed):
    """The graph of a network that reads one sample; a batch of them is a batch of ours."""

    def __init__(self, dtype: Float) -> None:
        super().__init__(dtype, training=True)
        self.nodes_of: dict[str, str] = {}  # by the layer

    def input(self, shape: Shape, dtype: str, memory: Sequence[int] | None = None) -> Tensor:
        if self._b is not None:  # what stands behind an operation that cannot be said
            return super().input(shape, dtype, memory)
        tokens = dtype.startswith("int")
        self._b = Builder(shape[1:], dtype=self.dtype, tokens=tokens)
        value = self._b.input
        return self.result(value, shape, dtype) if tokens else self.of_map(value, dtype)

    def name(self, wanted: str) -> str:
        made = super().name(wanted)
        self.nodes_of[made] = wanted
        return made


class _Whole(_Importer):
    """All of a module, with its dropout."""

    f: _Network

    def settled(self, x: Any, found: Any) -> Any:
        """The output as people here see it: (C, *space), or a vector."""
        if not isinstance(x, Tensor):
            return x
        if x.rank < 2 or x.shape[0] != 1:
            raise UnsupportedError(f"module: gives {x.shape} for one sample: must be (1, ...)")
        return self.f.of_map(self.f.map(x), x.dtype)

    def result(self, node: fx.Node) -> Any:
        if isinstance(node.target, torch._ops.OpOverload):
            call = called(node, self.read)
            read = next(iter(call.given.values()), None)  # "self" in the form that writes in place
            if call.op in DROPOUT and isinstance(read, Tensor):
                return self._dropped(node, call, read)
        return super().result(node)

    def _dropped(self, node: fx.Node, call: Call, x: Tensor) -> Tensor:
        """What does nothing in evaluation mode, but is a layer."""
        rate, f = float(call.given["p"]), self.f
        if not 0 < rate < 1:
            return x
        with f.b.layer(call.op, f.name(node.name)):
            key = f.b.outside("key", kind="key")
            value = f.node(ops.Dropout(rate), (x.value, key), x.value.shape)
        return replace(x, value=value)


DROPOUT = ("dropout",)


def _part(traced: Traced, x: torch.Tensor) -> tuple[Part, _Network]:
    """The module as a graph. UnsupportedError: all that it cannot say."""
    nodes = list(traced.module.graph.nodes)
    (place,) = [node for node in nodes if node.op == "placeholder"]
    (end,) = [node for node in nodes if node.op == "output"]
    wanted = end.args[0]
    if not isinstance(wanted, fx.Node):
        raise UnsupportedError("module: gives the same for every input")
    f = _Network(traced.dtype)
    dtype = traced.dtype if x.is_floating_point() else "int64"
    part = _Whole(f, {place.name: Feed((1, *x.shape[1:]), dtype)}).run(nodes, [wanted.name])
    if part.gaps:
        named = [f"{gap.node.target} in {_where(traced, gap.node.name)}: {gap.reason}"
                 for gap in part.gaps]  # fmt: skip
        more = len(named) - MOST_NAMED
        text = "; ".join(named[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
        raise UnsupportedError(f"module: {len(named)} operations stand in the way: {text}")
    made = part.outputs[wanted.name]
    if not isinstance(made, Tensor) or part.graph is None:
        raise UnsupportedError("module: gives the same for every input")
    if part.graph.updates:
        raise UnsupportedError("module: changes its buffers in evaluation mode")
    return part, f


def _where(traced: Traced, node: str) -> str:
    path, kind = traced.within.get(node, ("", ""))
    path = path.rstrip(".")
    return f"{path!r}{f' ({kind})' if kind else ''}" if path else "the module itself"


# The model ----------------------------------------------------------------------------------------


def _model(
    traced: Traced, part: Part, f: _Network, classes: Sequence[str] | None
) -> tuple[Model, bool]:
    assert part.graph is not None
    graph, softmax = _without_softmax(_with_momentum(traced, part.graph, f))
    names, apart = _names(traced, part, graph, f)
    frozen = tuple(replace(p, trained=p.trained and p.name not in apart) for p in graph.parameters)
    graph = replace(graph, parameters=frozen)
    layers = {node.layer: _layer(traced, f, node.layer) for node in graph.nodes}
    inner = {p.name: p.inner for p in graph.parameters}
    for node in graph.nodes:
        check_node(node.op, node.inputs, node.outputs, inner)
    net = GraphNet(written(described(graph, names, layers)))
    tokens = graph.input.kind == "int"
    made = Model(net, graph.input.shape, dtype=traced.dtype, tokens=tokens, classes=classes)
    arrays = {
        names[p.name]: np.array(part.bound[p.name].array, traced.dtype).reshape(p.shape)
        for p in graph.parameters
    }
    made.set_parameters(arrays)
    if softmax:
        made.loss = "cross_entropy"
    for name in sorted(apart.values()):
        text = f"{name!r} is read in several ways; it stays as it is in training"
        warnings.warn(f"to_model: {text}", RuntimeWarning, stacklevel=3)
    return made, softmax


def _with_momentum(traced: Traced, graph: Graph, f: _Network) -> Graph:
    """Batch normalisation knows how far running statistics move, which only training needs."""
    made = {node.name: node for node in traced.module.graph.nodes}
    nodes = []
    for node in graph.nodes:
        if isinstance(node.op, ops.Normalise) and node.op.over == "batch":
            momentum = called(made[f.nodes_of[node.layer]]).given.get("momentum", 0.1)
            node = replace(node, op=replace(node.op, momentum=float(momentum)))
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _without_softmax(graph: Graph) -> tuple[Graph, bool]:
    """What is trained is what a softmax at the end reads."""
    for node in graph.nodes:
        last = isinstance(node.op, ops.Softmax) and node.op.axes == (0,) and not node.op.log
        if last and node.output == graph.output and len(graph.nodes) > 1:
            kept = tuple(other for other in graph.nodes if other is not node)
            return replace(graph, nodes=kept, outputs=node.inputs), True
    return graph, False


def _names(
    traced: Traced, part: Part, graph: Graph, f: _Network
) -> tuple[dict[str, str], dict[str, str]]:
    """The names of parameters as the module has them; and those that overlap others in its memory,
    which training would move apart.
    """
    tensors = {
        node.name: id(getattr(traced.module, str(node.target)))
        for node in traced.module.graph.nodes
        if node.op == "get_attr"
    }
    found: dict[str, str] = {}
    taken: set[str] = set()
    for p in graph.parameters:
        leaf = part.bound[p.name].leaf
        name = None if leaf is None else traced.names.get(tensors.get(leaf.name, 0))
        if leaf is not None and name is None:  # perhaps a look at one
            name = traced.places.get((leaf.tensor.data_ptr(), leaf.tensor.numel()))
        if name is None:
            name = f"{_layer(traced, f, p.name.rpartition('.')[0])[0]}.{p.name.rpartition('.')[2]}"
        name = name if "." in name else f"{name}.weight"
        plain, number = name, 1
        while name in taken:
            number += 1
            name = f"{plain}_{number}"
        taken.add(name)
        found[p.name] = name
    return found, _overlapping(part, graph, found)


def _overlapping(part: Part, graph: Graph, names: Mapping[str, str]) -> dict[str, str]:
    """Trained parameters that share memory with others."""
    spans = []
    for p in graph.parameters:
        bound = part.bound[p.name]
        if p.trained and bound.array.size:
            spans.append((*np.lib.array_utils.byte_bounds(bound.array), p.name))
    made: dict[str, str] = {}
    for (_, end, name), (start, _, other) in zip(sorted(spans), sorted(spans)[1:], strict=False):
        if start < end:
            made |= {name: names[name], other: names[other]}
    return made


def _layer(traced: Traced, f: _Network, layer: str) -> tuple[str, str]:
    """For a layer of the graph its path in the module, and its class."""
    node = f.nodes_of.get(layer, layer) or "output"
    path, kind = traced.within.get(node, (".", ""))
    if path.endswith(".") or not path:
        path = f"{path}{node}".lstrip(".")
    return path, kind or node.rstrip("_0123456789")


# What is told -------------------------------------------------------------------------------------


def _notes(module: nn.Module) -> Iterator[str]:
    """What the module does in training that the model does not."""
    for name, part in module.named_modules():
        rate = getattr(part, "dropout", 0.0)
        inner = isinstance(part, nn.MultiheadAttention) or (
            isinstance(part, nn.RNNBase) and part.num_layers > 1
        )
        if inner and isinstance(rate, float) and rate > 0:
            yield f"the dropout of {rate} inside {name!r} is left out in training"
        kind = type(part).__name__
        if kind in ("StochasticDepth", "DropPath") and _rate(part) > 0:
            yield f"{kind} {name!r} is left out in training"
        if kind in DROPS and part.p > 0:
            yield f"{kind} {name!r} is left out in training"


def _rate(part: nn.Module) -> float:
    found = getattr(part, "p", getattr(part, "drop_prob", 0.0))
    return float(found or 0.0)


DROPS = ("Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")


def _two(model: Model, x: torch.Tensor) -> torch.Tensor:
    """The example, and beside it another sample: that the first may be all zeros tells nothing."""
    seeded = torch.Generator().manual_seed(1)
    if x.is_floating_point():
        size = x.abs().max().clamp(min=0.1)
        noise = torch.randn(x.shape, generator=seeded, dtype=torch.float64).to(x.dtype)
        return torch.cat([x, x + size * noise])
    tables = [n.inputs[1].shape[0] for n in model.graph.nodes if isinstance(n.op, ops.Embed)]
    other = torch.randint(min(tables), x.shape, generator=seeded) if tables else x.flip(-1)
    return torch.cat([x, other])


def _compared(model: Model, module: nn.Module, x: torch.Tensor, softmax: bool) -> None:
    """FaltungError: the model gives something else than the module, alone or beside others."""
    few = _two(model, x[:1].to(dtype_of(module, x)) if x.is_floating_point() else x[:1].long())
    with torch.no_grad(), plain_attention():
        wanted = only_tensor(module(few))
    if wanted.shape[:1] != (2,):
        raise UnsupportedError(
            f"module: gives {tuple(wanted.shape)} for two samples: must give something for each"
        )
    theirs = wanted.numpy()
    ours = model.program(2, softmax=softmax)(few.numpy())
    size = np.abs(theirs[np.isfinite(theirs)]).max(initial=1e-30)
    with np.errstate(invalid="ignore"):
        same = np.isclose(ours, theirs, rtol=0, atol=CLOSE[model.dtype] * size, equal_nan=True)
    if ours.shape != theirs.shape or not same.all():
        raise UnsupportedError(
            "module: gives other numbers for a sample with another beside it, or other numbers in "
            f"each run; the outputs of the model differ by {np.nanmax(np.abs(ours - theirs)):.3g} "
            "for the example"
        )
