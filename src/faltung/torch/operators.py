"""The operators of the namespace ``faltung`` in PyTorch: what its dispatcher calls, and when.

Each has a kernel for tensors on the CPU, what a tracer is told (``shapes``), a rule for autograd
(``gradients``), one for vmap (``batching``), one for autocast, and an answer for tensors that are
elsewhere. They are defined with ``torch.library.Library`` rather than ``custom_op``, which takes
four times as long, and their options are one text (``words``), because lists of numbers take
longer than all the rest. Tensors have a batch, and channels before the axes of space.

The kernel for autograd computes by itself where there is nothing to record, and nobody between it
and the kernel for the CPU who wants to know.
"""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import torch
from torch import _C, Tensor
from torch.autograd import Function, forward_ad

from faltung.geometry.errors import FaltungTypeError

LIBRARY: Any = torch.library.Library("faltung", "FRAGMENT")

_below = _C._after_autograd_keyset
# Who is asked after autograd, as bits, which compare in a tenth of the time: the kernel for the CPU
# alone, where views and what is written in place do not matter.
_ASKED = _below.raw_repr() & ~_C.DispatchKeySet(_C.DispatchKey.ADInplaceOrView).raw_repr()
_CPU = _C.DispatchKeySet(_C.DispatchKey.CPU).raw_repr()
_grad_enabled = torch.is_grad_enabled


class Late:
    """A function of this folder, imported when it is first called: what plans and computes takes
    some time to load. ``found(*args)`` is fast, and calls it with ``first`` before the arguments.
    """

    def __init__(self, home: str, function: str, *first: Any) -> None:
        self._name, self._first = (home, function), first
        self.found: Callable[..., Any] = self._load

    def __call__(self, *args: Any) -> Any:
        return self.found(*args)

    def _load(self, *args: Any) -> Any:
        home, function = self._name
        made = getattr(import_module(f"faltung.torch.{home}"), function)
        self.found = partial(made, *self._first) if self._first else made
        return self.found(*args)


class Operator(NamedTuple):
    """``compute``: on tensors of the CPU; ``fake``: without numbers. ``tensors``: how many of the
    arguments, from the first on. ``autocast``: "lower" to autocast's dtype, "float32", or "".
    """

    schema: str
    compute: Late
    fake: Late
    tensors: int
    autocast: str = ""


def _family(name: str, autocast: str) -> dict[str, Operator]:
    """The operators of "conv" or "conv_local"."""
    forward = "(Tensor x, Tensor weight, Tensor? bias, str words) -> Tensor"
    rest = "str words, bool channels_last) -> Tensor"
    schemas = {
        "": (forward, "conv", 3),
        "_transpose": (forward, "conv_transpose", 3),
        "_input_grad": (
            f"(Tensor grad, Tensor weight, SymInt[] input_shape, {rest}",
            "conv_input_grad",
            2,
        ),
        "_weight_grad": (
            f"(Tensor x, Tensor grad, SymInt[] weight_shape, {rest}",
            "conv_weight_grad",
            2,
        ),
    }
    return {
        name + what: Operator(
            schema,
            Late("calls", function, name),
            Late("shapes", function, name),
            tensors,
            autocast if tensors == 3 else "",
        )
        for what, (schema, function, tensors) in schemas.items()
    }


OPERATORS: dict[str, Operator] = {
    **_family("conv", "lower"),
    **_family("conv_local", "float32"),
    "max_pool": Operator(
        "(Tensor x, str words) -> Tensor",
        Late("maps", "pool", "max"),
        Late("shapes", "pool", "max"),
        1,
    ),
    "max_pool_with_indices": Operator(
        "(Tensor x, str words) -> (Tensor, Tensor)",
        Late("maps", "pool_with_indices"),
        Late("shapes", "pool_with_indices"),
        1,
    ),
    "max_pool_grad": Operator(
        "(Tensor grad, Tensor indices, SymInt[] input_shape, str words, bool channels_last) "
        "-> Tensor",
        Late("maps", "max_pool_grad"),
        Late("shapes", "max_pool_grad"),
        2,
    ),
    "avg_pool": Operator(
        "(Tensor x, str words) -> Tensor",
        Late("maps", "pool", "average"),
        Late("shapes", "pool", "average"),
        1,
    ),
    "avg_pool_grad": Operator(
        "(Tensor grad, SymInt[] input_shape, str words, bool channels_last) -> Tensor",
        Late("maps", "avg_pool_grad"),
        Late("shapes", "avg_pool_grad"),
        1,
    ),
    "total": Operator(
        "(Tensor x, int[] dims) -> Tensor", Late("maps", "total"), Late("shapes", "total"), 1
    ),
}

for _name, _operator in OPERATORS.items():
    LIBRARY.define(_name + _operator.schema, tags=(torch.Tag.pt2_compliant_tag,))

# These ask for the operators, which are there now.
from faltung.torch.batching import BATCHED  # noqa: E402
from faltung.torch.gradients import RULES  # noqa: E402


def _autograd(name: str, operator: Operator) -> Callable[..., Any]:
    """The kernel for autograd: it records the rule where there is a gradient to compute."""
    overload = getattr(getattr(torch.ops.faltung, name), "default")  # noqa: B009
    compute, tensors, rule = operator.compute, operator.tensors, RULES.get(name)

    def redispatched(keyset: Any, *args: Any) -> Any:
        with _C._AutoDispatchBelowAutograd():
            return overload.redispatch(keyset, *args)

    def below(keyset: Any, *args: Any) -> Any:
        if keyset.raw_repr() & _ASKED == _CPU:
            return compute.found(*args)
        return redispatched(keyset & _below, *args)

    def kernel(keyset: Any, *args: Any) -> Any:
        if (_grad_enabled() and _wanted(args, tensors)) or forward_ad._current_level >= 0:
            if rule is None:  # max_pool: what is recorded is where the maxima were
                return torch.ops.faltung.max_pool_with_indices.default(*args)[0]
            return recorded(rule, partial(below, keyset), *args)
        return below(keyset, *args)

    def kernel_of_three(
        keyset: Any, x: Tensor, weight: Tensor, bias: Tensor | None, words: str
    ) -> Any:
        """The same for a convolution, which is called most, in less time."""
        if (
            _grad_enabled()
            and (
                x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
            )
        ) or forward_ad._current_level >= 0:
            return recorded(rule, partial(below, keyset), x, weight, bias, words)
        if keyset.raw_repr() & _ASKED == _CPU:
            return compute.found(x, weight, bias, words)
        return redispatched(keyset & _below, x, weight, bias, words)

    return kernel_of_three if tensors == 3 else kernel


def recorded(rule: Any, compute: Callable[..., Any], *args: Any) -> Any:
    """``rule.apply``, less what it does for rules of users, which takes as long as the rest. Where
    transforms of ``torch.func`` are at work, for the one that asks: they
    call the kernel for autograd once for each, as they do with PyTorch's own operators.
    """
    apply = super(Function, rule).apply
    if not _C._are_functorch_transforms_active():
        return apply(compute, *args)
    from torch._functorch import autograd_function

    functions: Any = autograd_function

    def below(*args: Any) -> Any:
        # The rule does not record what it computes, but the transforms around this one do.
        with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):
            return compute(*args)

    with functions.enable_single_level_autograd_function():
        return apply(below, *args)


def _wanted(args: tuple[Any, ...], tensors: int) -> bool:
    """Whether one of the tensors in front requires a gradient."""
    # Not any(): its generator takes twice as long.
    for x in args[:tensors]:  # noqa: SIM110
        if x is not None and x.requires_grad:
            return True
    return False


def _autocast(name: str, operator: Operator) -> Callable[..., Any]:
    """The kernel under autocast: convolutions in its dtype, as PyTorch's own."""
    overload = getattr(getattr(torch.ops.faltung, name), "default")  # noqa: B009
    key = _C.DispatchKeySet(_C.DispatchKey.AutocastCPU)
    count = operator.tensors

    def kernel(*args: Any) -> Any:
        lower = operator.autocast == "lower"
        dtype = torch.get_autocast_dtype("cpu") if lower else torch.float32
        cast = [_cast(x, dtype) for x in args[:count]]
        with _C._ExcludeDispatchKeyGuard(key):
            return overload(*cast, *args[count:])

    return kernel


def _cast(x: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    if x is None or not x.is_floating_point() or x.dtype == torch.float64 or not x.is_cpu:
        return x
    return x.to(dtype)


def _elsewhere(name: str) -> Callable[..., Any]:
    """The kernel for all other tensors: it says what to do."""

    def kernel(*args: Any) -> Any:
        for x in args:
            if isinstance(x, Tensor):
                problem = refusal(x)
                if problem:
                    raise FaltungTypeError(f"faltung.{name}: {problem}")
        raise FaltungTypeError(f"faltung.{name}: must have plain tensors on the CPU")

    return kernel


def refusal(x: Tensor) -> str:
    """What about a tensor operators cannot take, and what to do; "" if nothing."""
    if x.is_quantized:
        return f"a tensor of {x.dtype}: quantised tensors are not computed with; x.dequantize()"
    if x.is_nested:
        return "a nested tensor: must be a plain one; pass x.to_padded_tensor(0.0)"
    if x.layout is not torch.strided:
        return f"a tensor of layout {x.layout}: must be strided; pass x.to_dense()"
    if x.device.type != "cpu":
        return (
            f"a tensor on {x.device}: Faltung computes on the CPU; move it with x.cpu(), or use "
            "the layers of torch.nn there (faltung.torch.restore)"
        )
    return ""


def _register() -> None:
    for name, operator in OPERATORS.items():
        qualified = f"faltung::{name}"
        overload = getattr(getattr(torch.ops.faltung, name), "default")  # noqa: B009
        LIBRARY.impl(name, operator.compute, "CPU")
        for key in ("CompositeExplicitAutograd", "NestedTensorCPU"):
            LIBRARY.impl(name, _elsewhere(name), key)
        LIBRARY.impl(name, _autograd(name, operator), "Autograd", with_keyset=True)
        torch.library.register_fake(qualified, operator.fake, lib=LIBRARY)
        torch.library.register_vmap(qualified, BATCHED[name], lib=LIBRARY)
        if operator.autocast:
            kernel = _autocast(name, operator)
            LIBRARY.impl(name, kernel, "AutocastCPU")
            overload.py_impl(_C.DispatchKey.AutocastCPU)(kernel)


_register()
