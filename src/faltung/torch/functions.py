"""While a model is traced: what has a backward of its own stays one call; hints stay unread."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd.function import Function
from torch.nn.modules import transformer

# Two threads that watch would put back what the other had put there.
_ONE_AT_A_TIME = threading.RLock()


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

    Function.apply = classmethod(one)  # type: ignore[method-assign, assignment]
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
