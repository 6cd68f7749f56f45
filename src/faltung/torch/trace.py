"""A module of PyTorch as the operators that it calls for one sample, each with where it stands."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from faltung.geometry.conv import Float
from faltung.geometry.errors import FaltungError, UnsupportedError
from faltung.geometry.record import dataclass


@dataclass(frozen=True, slots=True)
class Traced:
    """module: the graph. within: for its nodes the path of the module and its class. names: of
    parameters and buffers, by ``id``. places: the same by where their numbers lie, and how many.
    """

    module: fx.GraphModule
    within: dict[str, tuple[str, str]]
    names: dict[int, str]
    places: dict[tuple[int, int], str]
    dtype: Float


def trace(module: nn.Module, x: torch.Tensor) -> Traced:
    dtype = dtype_of(module, x)
    sample = x[:1].to(dtype) if x.is_floating_point() else x[:1].long()
    stamps: dict[fx.Node, tuple[str, str]] = {}
    try:
        with torch.no_grad(), plain_attention(), _stamped(module, stamps):
            made = make_fx(
                lambda x: only_tensor(module(x)),
                tracing_mode="fake",
                pre_dispatch=True,
                _allow_non_fake_inputs=True,
            )(sample)
    except FaltungError:
        raise
    except Exception as error:
        text = str(error).strip().splitlines() or [type(error).__name__]
        raise UnsupportedError(
            f"module: cannot be traced for one sample of shape {tuple(sample.shape)}: "
            f"{type(error).__name__}: {text[0][:200]}"
        ) from error
    tensors = {**dict(module.named_buffers()), **dict(module.named_parameters())}
    names = {id(tensor): name for name, tensor in tensors.items()}
    within = {node.name: found for node, found in stamps.items()}
    places = {(t.data_ptr(), t.numel()): name for name, t in tensors.items() if t.numel()}
    kind: Float = "float64" if dtype == torch.float64 else "float32"
    return Traced(made, within, names, places, kind)


def only_tensor(found: Any) -> torch.Tensor:
    """The only tensor of what a module returns."""
    items = found.values() if isinstance(found, Mapping) else found
    if not isinstance(found, torch.Tensor):
        listed = list(items) if isinstance(found, Mapping | tuple | list) else [found]
        tensors = [item for item in listed if isinstance(item, torch.Tensor)]
        if len(tensors) != 1:
            raise UnsupportedError(
                f"module: returns {type(found).__name__} of {len(tensors)} tensors: a Model has "
                "one output; wrap it in a module that returns one"
            )
        return tensors[0]
    return found


@contextmanager
def plain_attention() -> Iterator[None]:
    """Attention as the operations that it consists of, not as one kernel for inference."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _stamped(module: nn.Module, stamps: dict[fx.Node, tuple[str, str]]) -> Iterator[None]:
    """Note in the block for every node that is made within which module it was."""
    paths = {id(part): path for path, part in module.named_modules()}
    stack: list[nn.Module] = []

    def enter(part: nn.Module, inputs: Any) -> None:
        stack.append(part)

    def leave(part: nn.Module, inputs: Any, output: Any) -> None:
        stack.pop()

    create = fx.Graph.create_node

    def stamped(graph: fx.Graph, *args: Any, **kwargs: Any) -> fx.Node:
        node = create(graph, *args, **kwargs)
        part = stack[-1] if stack else module
        path = paths.get(id(part), "")
        leaf = not any(True for _ in part.children())
        stamps[node] = path if leaf else f"{path}.", type(part).__name__ if leaf else ""
        return node

    hooks = [part.register_forward_pre_hook(enter, prepend=True) for part in module.modules()]
    hooks += [part.register_forward_hook(leave, always_call=True) for part in module.modules()]
    fx.Graph.create_node = stamped
    try:
        yield
    finally:
        fx.Graph.create_node = create
        for hook in hooks:
            hook.remove()


def dtype_of(module: nn.Module, x: torch.Tensor) -> torch.dtype:
    floats = {p.dtype for p in module.parameters() if p.is_floating_point()}
    if not floats:
        floats = {x.dtype} if x.is_floating_point() else set()
    return torch.float64 if torch.float64 in floats else torch.float32
