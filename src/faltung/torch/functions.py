"""While a model is traced: what has a backward of its own stays one call; hints stay unread; what a
graph of operators cannot say is noticed.
"""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.autograd.function import Function
from torch.nn.modules import transformer
from torch.overrides import TorchFunctionMode

# Two threads that watch would put back what the other had put there.
_ONE_AT_A_TIME = threading.RLock()


class Hidden(Exception):
    """The model does what the graph of its operators would not show."""


def _checkpointed(run: Callable[..., Any], preserve: bool, *args: Any) -> Any:
    return run(*args)


# Functions of PyTorch that only arrange when something is computed.
_PLAIN = {"torch.utils.checkpoint.CheckpointFunction": _checkpointed}


@contextmanager
def watched() -> Iterator[None]:
    """Within it ``Function.apply`` becomes one node of the graph where gradients flow.

    Its forward alone, looked into, would get the gradient of its operators and not its own.
    """
    with _ONE_AT_A_TIME:
        yield from _watched()


def _watched() -> Iterator[None]:
    thread, before = threading.get_ident(), Function.__dict__["apply"]
    apply = before.__func__
    hint = transformer._detect_is_causal_mask

    def one(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != thread:
            return apply(cls, *args, **kwargs)
        plain = _PLAIN.get(f"{cls.__module__}.{cls.__qualname__}")
        if plain is not None:
            return plain(*args, **kwargs)
        if not torch.is_grad_enabled() or not any(_has_gradient(x) for x in args):
            return apply(cls, *args, **kwargs)
        return _one_node(cls, apply, args, kwargs)

    def said(mask: Any, is_causal: bool | None = None, size: int | None = None) -> bool:
        # Numbers of the mask would say more, but they are added to the scores in any case.
        here = threading.get_ident() == thread
        return is_causal is True if here else hint(mask, is_causal, size)

    Function.apply = classmethod(one)
    transformer._detect_is_causal_mask = said
    try:
        yield
    finally:
        Function.apply = before
        transformer._detect_is_causal_mask = hint


def _has_gradient(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and x.requires_grad


def _one_node(cls: Any, apply: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    from torch.fx.experimental import proxy_tensor

    mode = proxy_tensor.get_proxy_mode()
    if mode is None:
        return apply(cls, *args, **kwargs)
    tracer = mode.tracer
    _, proxies, _ = proxy_tensor._fetch_proxies_and_all_constant_flag(args, tracer)
    with proxy_tensor.disable_proxy_modes_tracing():
        made = apply(cls, *args, **kwargs)

    def applied(*given: Any, **named: Any) -> Any:
        return cls.apply(*given, **named)

    applied.__name__ = applied.__qualname__ = cls.__name__
    node = tracer.create_proxy("call_function", applied, proxies, kwargs)
    proxy_tensor.track_tensor_tree(made, node, constant=None, tracer=tracer)
    return made


# Recurrent layers ---------------------------------------------------------------------------------


def _of_recurrent(x: torch.Tensor, states: Any, params: Any, *rest: Any, **named: Any) -> Any:
    """Results of a recurrent layer without walking along its steps: their shapes are plain."""
    wholes = ("has_biases", "num_layers", "dropout", "train", "bidirectional", "batch_first")
    given = dict(zip(wholes, rest, strict=False)) | named
    several = isinstance(states, list | tuple)
    held = list(states) if several else [states]
    width = held[0].shape[-1] * (2 if given["bidirectional"] else 1)
    link = params[0].reshape(-1)[0] + x.reshape(-1)[0]  # gradients flow through it
    made = [x.new_empty((*x.shape[:-1], width)), *(h.new_empty(h.shape) for h in held)]
    return tuple([y + link for y in made])


@contextmanager
def quick_recurrent() -> Iterator[None]:
    """Within it PyTorch's Python rules for LSTM, GRU and RNN do not go through all steps.

    A trace asks for shapes alone; walking would take long, and tie it to the number of steps.
    """
    keys = (torch._C.DispatchKey.Autograd, torch._C.DispatchKey.CompositeImplicitAutograd)
    before: list[tuple[Any, Any, Any]] = []
    names = ("lstm", "gru", "rnn_tanh", "rnn_relu")
    operators: list[Any] = [getattr(torch.ops.aten, name).input for name in names]
    try:
        for op in operators:
            for key in keys:
                if key in op.py_kernels:
                    before.append((op, key, op.py_kernels[key]))
                    op.py_kernels[key] = _of_recurrent
            op._dispatch_cache.clear()
        yield
    finally:
        for op, key, kernel in before:
            op.py_kernels[key] = kernel
        for op in operators:
            op._dispatch_cache.clear()


# What a graph does not show -----------------------------------------------------------------------

_HOOK, _SWITCH = "it puts a hook on a tensor", "it changes whether a tensor has gradients"
_INSIDE = "it computes gradients itself"
_HIDDEN: dict[Any, str] = {
    torch.Tensor.register_hook: _HOOK,
    torch.Tensor.register_post_accumulate_grad_hook: _HOOK,
    torch.Tensor.retain_grad: "it keeps the gradient of a tensor",
    torch.Tensor.backward: _INSIDE,
    torch.autograd.grad: _INSIDE,
    torch.autograd.backward: _INSIDE,
    torch.Tensor.data.__set__: "it sets the .data of a tensor",
}
_GET_DATA = torch.Tensor.data.__get__
_SET_GRADIENTS = torch.Tensor.requires_grad.__set__


class Watch(TorchFunctionMode):
    """Within it ``Hidden`` is raised for what a graph does not show."""

    def __init__(self) -> None:
        super().__init__()
        self.inference = torch.is_inference_mode_enabled()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        reason = _HIDDEN.get(func, "")
        if func is torch.Tensor.requires_grad_ or func == _SET_GRADIENTS:
            wished = args[1] if len(args) > 1 else kwargs.get("requires_grad", True)
            if bool(wished) != args[0].requires_grad:
                reason = _SWITCH
        if self.inference != torch.is_inference_mode_enabled():
            reason = "it switches inference mode"
        if reason:
            raise Hidden(reason)
        if func == _GET_DATA:  # otherwise the tensor is none of the graph
            return args[0].detach()
        return func(*args, **kwargs)


@contextmanager
def dice_untouched() -> Iterator[None]:
    """``Hidden`` if random numbers of Python's or NumPy's are drawn within: a graph keeps them."""
    plain: Any = random.getstate()
    numbers: Any = np.random.get_state()
    try:
        yield
        if random.getstate() != plain:
            raise Hidden("it draws random numbers of Python's")
        now: Any = np.random.get_state()
        if str(now[2:]) != str(numbers[2:]) or (now[1] != numbers[1]).any():
            raise Hidden("it draws random numbers of NumPy's")
    finally:
        random.setstate(plain)
        np.random.set_state(numbers)


def is_watched() -> bool:
    """Whether something looks at each operator of PyTorch, or transforms them."""
    return bool(
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch._C._get_tracing_state() is not None
        or torch.autograd.forward_ad._current_level >= 0
    )
