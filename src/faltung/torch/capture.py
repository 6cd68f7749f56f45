"""A module, a function, or the graph of TorchDynamo as a graph of raw ATen.

The model runs once on tensors without numbers (``FakeTensorMode``) while ``make_fx`` writes down
which operators it calls, before autograd and without decomposing them: ``aten.conv2d``,
``aten.lstm.input``. Parameters and buffers are inputs of the graph, so none is kept.
What cannot be seen in this way, because the model looks at numbers, is ``Untraceable``.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import field
from typing import Any

import torch
from torch import fx, nn

from faltung.geometry.record import dataclass
from faltung.torch import places, trees
from faltung.torch.effects import written_by
from faltung.torch.functions import Hidden, Watch, dice_untouched, quick_recurrent, watched
from faltung.torch.state import State

# A guard of shapes that says which kernel of theirs would run, which is nothing to us.
_KERNEL_CHOICE = ("fake_impls.py", "conv")
# Operators whose results have other axes where a size is 1, which a trace of any size leaves out.
_SEES_ONE = frozenset(["squeeze", "squeeze_", "sum_to_size", "squeeze_copy"])
# One trace at a time in a process: while there is one, modules hold tensors without numbers, and
# PyTorch's notes are those of this trace. A thread that sees such tensors waits here.
TRACING = threading.RLock()
NUMBERS = "what it does depends on the numbers in a tensor"


class Untraceable(Exception):
    """Why a model has no graph, in words; place: where in it. wrong: perhaps it cannot run."""

    def __init__(
        self, reason: str, place: places.Place | None = None, *, wrong: bool = False
    ) -> None:
        super().__init__(reason)
        self.wrong = wrong
        self.reason = " ".join(reason.split())
        self.place = place or places.Place()


class TooMany(Untraceable):
    """There are graphs enough for other numbers and sizes: PyTorch runs what comes now."""


class Changing(Untraceable):
    """A model that changes its own modules, as one does that keeps a table for later calls."""


@dataclass(slots=True)
class Captured:
    """A graph. inputs, leaves: names of its placeholders. outputs: entries of the result, in its
    order: nodes, or constants. together: makes the result of its entries. constants: tensors that
    no module holds, the last of the leaves. sources: where sizes that
    are free come from, (number of the input, axis; None where the input is the size).
    guards: conditions on them. least: the smallest of them that the graph is right for.
    """

    module: fx.GraphModule
    inputs: list[str]
    leaves: list[str]
    outputs: list[Any]
    together: Callable[[Sequence[Any]], Any]
    constants: list[torch.Tensor] = field(default_factory=list)
    sources: dict[Any, tuple[int, int | None]] = field(default_factory=dict)
    guards: list[Any] = field(default_factory=list)
    least: int = 1

    @property
    def nodes(self) -> list[fx.Node]:
        """All that is computed, in order."""
        return [n for n in self.module.graph.nodes if n.op not in ("placeholder", "output")]

    def bound(self, inputs: Sequence[Any]) -> dict[Any, Any] | None:
        """The free sizes as these inputs have them; None: the graph is not right for them."""
        import sympy

        found = {}
        for symbol, (number, axis) in self.sources.items():
            x = inputs[number]
            size = int(x if axis is None else x.shape[axis])
            if size < self.least:
                return None
            found[symbol] = sympy.Integer(size)
        for guard in self.guards:
            if not bool(guard.xreplace(found)):
                return None
        return found


def trace(
    function: Callable[..., Any],
    flat: Sequence[Any],
    tree: Any,
    state: State,
    dynamic: Sequence[frozenset[int]] = (),
) -> Captured:
    """The graph of a call. flat, tree: its arguments. state: of the modules that it reads.

    dynamic: for each tensor among the arguments, axes whose sizes stay free; none if left out.

    Raises
    ------
    Untraceable
        The model needs numbers to know what to do, or does what a graph cannot say.
    """
    free = any(dynamic)
    tensors = [x for x in flat if isinstance(x, torch.Tensor)]
    mode, inputs, leaves = _without_numbers(tensors, state.leaves, dynamic)
    kept: dict[str, Any] = {}

    def run(*given: torch.Tensor) -> list[Any]:
        fed = iter(given[: len(tensors)])
        args, kwargs = trees.nested_arguments(
            [next(fed) if isinstance(x, torch.Tensor) else x for x in flat], tree
        )
        with state.swapped(given[len(tensors) :]), dice_untouched(), Watch():
            made = places.traced_under(lambda: function(*args, **kwargs))
        parts, kept["together"] = trees.taken_apart(made)
        kept["parts"] = parts
        return [x for x in parts if isinstance(x, torch.Tensor)]

    roots = {path: module for path, module in state.modules[:1]}
    with oblivious():
        module = _traced(run, [*inputs, *leaves], roots, mode)
    if state.changes:
        raise Changing(f"it sets {state.changes[0]} while it runs")
    names = [node.name for node in module.graph.nodes if node.op == "placeholder"]
    constants = _lifted(module)
    computed = iter(_results(module))
    parts = kept["parts"]
    if any(isinstance(x, torch.SymInt | torch.SymFloat | torch.SymBool) for x in parts):
        raise Untraceable("a result that is a size")
    outputs = [next(computed) if isinstance(x, torch.Tensor) else x for x in parts]
    made = Captured(
        module,
        names[: len(inputs)],
        [*names[len(inputs) :], *constants],
        outputs,
        kept["together"],
        list(constants.values()),
    )
    if free:
        _note_guards(made, inputs, mode.shape_env)
    _refuse_unknown(made)
    return made


def oblivious() -> Any:
    """Within it a size of 1 is a size like others, unless the model asks: it needs no own graph."""
    from torch.fx.experimental import _config

    config: Any = _config
    return config.patch(backed_size_oblivious=True)


def retrace(module: fx.GraphModule, examples: Sequence[Any], is_leaf: Sequence[bool]) -> Captured:
    """The graph of TorchDynamo as one of ATen. examples: real or fake, sizes as ``SymInt``.

    is_leaf: which of its placeholders are parameters or buffers.
    """
    interpreter = fx.Interpreter(module)
    kept: dict[str, Any] = {}

    def run(*given: Any) -> list[Any]:
        parts, kept["together"] = trees.taken_apart(interpreter.run(*given))
        kept["parts"] = parts
        return [x for x in parts if isinstance(x, torch.Tensor | torch.SymInt)]

    # The mode of the arguments: Dynamo's own is another while a back end compiles.
    modes = {id(x.fake_mode): x.fake_mode for x in examples if hasattr(x, "fake_mode")}
    if len(modes) > 1:
        raise Untraceable("arguments of several traces of PyTorch")
    made = _traced(run, examples, {}, next(iter(modes.values()), None))
    names = [node.name for node in made.graph.nodes if node.op == "placeholder"]
    constants = _lifted(made)
    computed = iter(_results(made))
    outputs = [
        next(computed) if isinstance(x, torch.Tensor | torch.SymInt) else x for x in kept["parts"]
    ]
    inputs = [name for name, leaf in zip(names, is_leaf, strict=True) if not leaf]
    leaves = [name for name, leaf in zip(names, is_leaf, strict=True) if leaf]
    result = Captured(
        made,
        inputs,
        [*leaves, *constants],
        outputs,
        kept["together"],
        list(constants.values()),
        least=0,
    )
    given = [x for x, leaf in zip(examples, is_leaf, strict=True) if not leaf]
    result.sources = _sources(given)
    _refuse_unknown(result)
    return result


def _traced(
    run: Callable[..., Any],
    given: Sequence[Any],
    roots: Mapping[str, nn.Module],
    mode: Any,
) -> fx.GraphModule:
    from torch.fx.experimental.proxy_tensor import make_fx

    # In PyTorch's words the mode is "real": what is given is without numbers already, and would be
    # converted once more.
    shapes = mode or nullcontext()
    with TRACING, places.noted(roots) as here, watched(), quick_recurrent(), shapes:
        try:
            module = make_fx(run, tracing_mode="real" if mode else "fake", pre_dispatch=True)(
                *given
            )
        except Untraceable:
            raise
        except trees.Strange as error:
            raise Untraceable(str(error)) from error
        except Hidden as error:
            raise Untraceable(str(error), here.at(error)) from error
        except MemoryError:
            raise
        except Exception as error:  # whatever PyTorch or the model raises has a reason to show
            said = _said(error)
            raise Untraceable(said, here.at(error), wrong=said != NUMBERS) from error
    places.settle(module.graph)
    _settle_modes(module.graph, given)
    _remove_dead(module.graph)
    return module


def _without_numbers(
    tensors: Sequence[torch.Tensor],
    leaves: Sequence[torch.Tensor],
    dynamic: Sequence[frozenset[int]],
) -> tuple[Any, list[Any], list[Any]]:
    """Fake tensors for inputs, with free sizes, and for leaves."""
    from torch._dynamo.source import ConstantSource
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import (
        DimDynamic,
        ShapeEnv,
        StatelessSymbolicContext,
    )

    inputs = []
    with oblivious():
        mode = FakeTensorMode(
            shape_env=ShapeEnv(specialize_zero_one=False), allow_non_fake_inputs=True
        )
        seen: set[int] = set()
        for number, x in enumerate(tensors):
            free = dynamic[number] if dynamic else frozenset()
            sizes = [DimDynamic.DYNAMIC if i in free else DimDynamic.STATIC for i in range(x.dim())]
            context: Any = StatelessSymbolicContext(
                dynamic_sizes=sizes, constraint_sizes=[None] * x.dim()
            )
            if id(x) in seen:  # given twice: two inputs all the same
                x = x.detach().requires_grad_(x.requires_grad)
            seen.add(id(x))
            source = ConstantSource(f"input{number}")
            with torch.inference_mode(False):
                inputs.append(mode.from_tensor(x, source=source, symbolic_context=context))
        fakes = [mode.from_tensor(x, static_shapes=True) for x in leaves]
    return mode, inputs, fakes


def _note_guards(made: Captured, inputs: Sequence[Any], env: Any) -> None:
    made.sources = _sources(inputs)
    for guard in env.guards:
        where = getattr(guard.sloc, "framework_loc", None)
        name, function = getattr(where, "filename", ""), getattr(where, "name", "")
        if name.endswith(_KERNEL_CHOICE[0]) and function == _KERNEL_CHOICE[1]:
            continue
        made.guards.append(guard.expr)
    used = {symbol for guard in made.guards for symbol in guard.free_symbols}
    if not used <= made.sources.keys():
        raise Untraceable("a condition on sizes that follow from values")
    if any(_sees_one(node) for node in made.nodes):
        made.least = 2
    # A symbol that turned out to have one value is no symbol in the graph: keep what it must be.
    import sympy

    for symbol, value in env.replacements.items():
        if symbol in made.sources:
            made.guards.append(sympy.Eq(symbol, value))


def _refuse_unknown(made: Captured) -> None:
    """Untraceable: a number, or a size, that follows from numbers in tensors."""
    for node in made.nodes:
        found = node.meta.get("val")
        for x in found if isinstance(found, list | tuple) else [found]:
            sizes = x.shape if isinstance(x, torch.Tensor) else [x]
            for size in sizes:
                free = getattr(getattr(size, "node", None), "_expr", None)
                if free is not None and not free.free_symbols <= made.sources.keys():
                    raise Untraceable(NUMBERS, places.place_of(node))


def _sees_one(node: fx.Node) -> bool:
    name = getattr(getattr(node.target, "_schema", None), "name", "")
    return name.removeprefix("aten::") in _SEES_ONE


def _sources(inputs: Sequence[Any]) -> dict[Any, tuple[int, int | None]]:
    """Where each free size is read: it is an input, or a size of one."""
    import sympy

    found: dict[Any, tuple[int, int | None]] = {}
    for number, x in enumerate(inputs):
        sizes = enumerate(x.shape) if isinstance(x, torch.Tensor) else [(None, x)]
        for axis, size in sizes:
            if isinstance(size, torch.SymInt) and isinstance(size.node._expr, sympy.Symbol):
                found.setdefault(size.node._expr, (number, axis))
    return found


def _settle_modes(graph: fx.Graph, given: Sequence[Any]) -> None:
    """Nodes that switch gradients or autocast become notes of the nodes between them.

    A tensor that was made without gradients is detached where it is read with them.
    """
    ambient = torch.is_grad_enabled()
    held = [node for node in graph.nodes if node.op == "placeholder"]
    pairs = zip(held, given, strict=False)
    trained = {n for n, x in pairs if isinstance(x, torch.Tensor) and x.requires_grad}
    grad, stack = ambient, []
    switches = []
    for node in graph.nodes:
        if node.target is torch._C._set_grad_enabled:
            grad = bool(node.args[0])
            switches.append(node)
        elif node.target is torch.amp.autocast_mode._enter_autocast:
            stack.append(tuple(node.args))
            switches.append(node)
        elif node.target is torch.amp.autocast_mode._exit_autocast:
            stack.pop()
            switches.append(node)
        elif node.op == "call_function":
            if grad and not ambient:
                raise Untraceable("it switches gradients on", places.place_of(node))
            node.meta["grad"] = grad
            node.meta["autocast"] = tuple(stack)
    for node in reversed(switches):
        graph.erase_node(node)
    if ambient:
        for node in list(graph.nodes):
            if node.meta.get("grad") is False:
                if not trained.isdisjoint(written_by(node)):
                    raise Untraceable("it writes into a parameter", places.place_of(node))
                _detach(graph, node)


def _detach(graph: fx.Graph, node: fx.Node) -> None:
    val = node.meta.get("val")
    readers = [user for user in node.users if user.meta.get("grad", True)]
    if not readers or not isinstance(val, torch.Tensor) or not val.is_floating_point():
        return
    if any(written.op != "placeholder" for written in written_by(node)):
        raise Untraceable("it writes into a tensor under no_grad", places.place_of(node))
    with graph.inserting_after(node):
        made = graph.call_function(torch.ops.aten.detach.default, (node,))
    made.meta = {**node.meta, "grad": True}
    for user in readers:
        user.replace_input_with(node, made)


def _remove_dead(graph: fx.Graph) -> None:
    """Nodes that nobody reads and that write nothing."""
    for node in reversed(list(graph.nodes)):
        if node.op in ("placeholder", "output") or node.users:
            continue
        schema = getattr(node.target, "_schema", None)
        tags = getattr(node.target, "tags", ())
        if node.op == "get_attr" or (
            schema is not None
            and not schema.is_mutable
            and schema.name.startswith("aten::")
            and not schema.name.startswith("aten::_assert")
            and torch.Tag.nondeterministic_seeded not in tags
        ):
            graph.erase_node(node)


def _lifted(module: fx.GraphModule) -> dict[str, torch.Tensor]:
    """Tensors that the graph holds become further inputs; the values of these, by name."""
    graph = module.graph
    found: dict[str, torch.Tensor] = {}
    by_target: dict[str, fx.Node] = {}
    for node in [n for n in graph.nodes if n.op == "get_attr"]:
        tensor = getattr(module, str(node.target), None)
        if not isinstance(tensor, torch.Tensor):
            continue
        made = by_target.get(str(node.target))
        if made is None:
            last = [n for n in graph.nodes if n.op == "placeholder"]
            with graph.inserting_after(last[-1]) if last else graph.inserting_before():
                made = graph.placeholder(f"held{len(found)}")
            made.meta = {"val": node.meta.get("val", tensor), "place": places.place_of(node)}
            by_target[str(node.target)] = made
            found[made.name] = tensor
        node.replace_all_uses_with(made)
        graph.erase_node(node)
    return found


def _results(module: fx.GraphModule) -> list[Any]:
    (output,) = [node for node in module.graph.nodes if node.op == "output"]
    found = output.args[0]
    return list(found) if isinstance(found, list | tuple) else [found]


def _said(error: Exception) -> str:
    """What an error of PyTorch's tracing means, in words."""
    name = type(error).__name__
    if name.startswith(("DataDependent", "GuardOnDataDependent", "DynamicOutputShape")) or (
        "data-dependent" in str(error) or "aten._local_scalar_dense" in str(error)
    ):
        return NUMBERS
    text = str(error).strip().splitlines()
    return f"{name}: {text[0]}" if text else name
