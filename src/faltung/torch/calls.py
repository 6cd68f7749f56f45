"""Operators on tensors where they lie: checked and planned once for a layout, then run by address.

It is ``faltung.ops`` once more, without NumPy arrays: making those of two tensors takes as long as
a small convolution. Each function finds what it needs under a key that says everything about a
call except where its tensors lie.
"""

from collections.abc import Callable, Hashable
from dataclasses import field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from faltung.geometry.conv import NARROW, ConvSpec
from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.record import dataclass
from faltung.jit.target import current
from faltung.machine.table import Machine
from faltung.ops.call_cache import KEPT
from faltung.ops.directions import LOCAL, SHARED, Weights
from faltung.ops.options import Geometry, bias_fits, grad_fits
from faltung.ops.run import forget, planned, planned_local, scratch_bytes
from faltung.plan.binding import Region
from faltung.plan.plan import Plan
from faltung.runtime.buffers import Block, workspace
from faltung.runtime.threads import threads_to_use
from faltung.torch.layouts import DTYPES, channels_last, dense, elements, packed
from faltung.torch.threads import join
from faltung.torch.words import Conv

WEIGHTS = {"conv": SHARED, "conv_local": LOCAL}
# Bytes of scratch memory that a call keeps for itself, because finding them takes longer than using
# them.
SMALL = 1 << 14
_empty = torch.empty_strided
join()  # from the first call on: beside PyTorch there is one set of threads


@dataclass(slots=True)
class Call:
    """A region, and what its result is like.

    ``wide``: it is worth more than one thread. ``held``: bytes of packed weights, the first of
    those that are ``borrowed``. ``first``: bytes from the weight's address to that of its first
    tap. ``bias``: the dtype that kernels read, None where the bias is one already. ``shift``: the
    bias is added afterwards. ``aligned``: the bits of an address that must be 0. ``free``: small
    blocks of memory, borrowed by nobody.
    """

    region: Region
    machine: Machine
    wide: bool
    held: int
    borrowed: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype
    aligned: int
    first: int = 0
    bias: torch.dtype | None = None
    shift: bool = False
    free: list[Block] = field(default_factory=list)

    def run(self, x: int, w: int, out: int, bias: int) -> None:
        """Run it on what lies at these addresses."""
        threads = threads_to_use() if self.wide else 1
        w += self.first
        borrowed = self.borrowed
        if not borrowed:
            self.region.run((x, w, out, bias, 0, 0), threads)
        elif borrowed <= SMALL:
            try:
                block = self.free.pop()
            except IndexError:
                block = workspace.borrow(borrowed)  # and never given back
            start = block.address
            self.region.run((x, w, out, bias, start, start + self.held), threads)
            self.free.append(block)
        else:
            with workspace.borrow(borrowed) as block:
                start = block.address
                self.region.run((x, w, out, bias, start, start + self.held), threads)


_found: dict[Hashable, Call] = {}


def known(key: Hashable, make: Callable[..., Call], *given: Any) -> Call:
    """The call of this key, made where there is none yet. Without a lock, which a fork could leave
    closed.
    """
    call = _found.get(key)
    if call is None or call.machine is not current():
        _found[key] = call = make(*given)
        forget(_found, KEPT)
    return call


# On tensors ---------------------------------------------------------------------------------------


def conv(name: str, x: Tensor, weight: Tensor, bias: Tensor | None, words: str) -> Tensor:
    """The convolution that the words mean; ``name``: "conv" or "conv_local"."""
    key = (
        *(name, words, x.shape, x.stride(), x.dtype),
        *(weight.shape, weight.stride(), weight.dtype),
        None if bias is None else (bias.shape, bias.stride(), bias.dtype),
    )
    call = _found.get(key)
    if call is None or call.machine is not current():
        call = known(key, _forward, name, x, weight, bias, words)
    return _applied(call, x, weight, bias)


def conv_transpose(name: str, x: Tensor, weight: Tensor, bias: Tensor | None, words: str) -> Tensor:
    """The transposed convolution that the words mean."""
    key = (
        *("t", name, words, x.shape, x.stride(), x.dtype),
        *(weight.shape, weight.stride(), weight.dtype),
        None if bias is None else (bias.shape, bias.stride(), bias.dtype),
    )
    if weight.is_complex():  # the gradient takes the conjugate
        weight = weight.conj_physical()
    call = known(key, _transpose, name, x, weight, bias, words)
    return _applied(call, x, weight, bias)


def _applied(call: Call, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    out = _empty(call.shape, call.strides, dtype=call.dtype)
    if call.bias is not None and bias is not None:
        bias = bias.detach().to(call.bias).contiguous()
    first, second = x.data_ptr(), weight.data_ptr()
    fused = 0 if bias is None or call.shift else bias.data_ptr()
    if (first | second | fused) & call.aligned:
        x, weight, bias = aligned(x), aligned(weight), aligned(bias)
        first, second = x.data_ptr(), weight.data_ptr()
        fused = fused and bias.data_ptr()
    call.run(first, second, out.data_ptr(), fused)
    if call.shift and bias is not None:
        last = bias.detach().movedim(-1, 0)
        out += last.reshape(*last.shape, *(1,) * (out.ndim - 1 - last.ndim))
    return out


def conv_input_grad(
    name: str, grad: Tensor, weight: Tensor, shape: list[int], words: str, last: bool
) -> Tensor:
    """The gradient for an input of this shape; ``last``: with its channels last in memory."""
    sizes = tuple(shape)
    key = (
        *("x", name, words, grad.shape, grad.stride(), grad.dtype),
        *(weight.shape, weight.stride(), weight.dtype, sizes, last),
    )
    call = known(key, _input_grad, name, grad, weight, sizes, words, last)
    return _applied(call, grad, weight, None)


def conv_weight_grad(
    name: str, x: Tensor, grad: Tensor, shape: list[int], words: str, last: bool
) -> Tensor:
    """The gradient for a weight of this shape; ``last``: with its channels last in memory."""
    sizes = tuple(shape)
    key = (
        *("w", name, words, x.shape, x.stride(), x.dtype),
        *(grad.shape, grad.stride(), grad.dtype, sizes, last),
    )
    call = known(key, _weight_grad, name, x, grad, sizes, words, last)
    out = _empty(call.shape, call.strides, dtype=call.dtype)
    if (x.data_ptr() | grad.data_ptr()) & call.aligned:
        x, grad = aligned(x), aligned(grad)
    # The result stands in the weight's place, the output gradient in that of the output.
    call.run(x.data_ptr(), out.data_ptr(), grad.data_ptr(), 0)
    return out


def aligned(x: Any) -> Any:
    """The same numbers at an address that kernels can read, in the same order."""
    if x is None:
        return None
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype).copy_(x.detach())


# Checked and planned ------------------------------------------------------------------------------


class _Named(NamedTuple):
    """A dtype of which only the name is asked for."""

    name: str


class _Shaped(NamedTuple):
    """An array of which only the shape is asked for."""

    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        return len(self.shape)


def dtype_of(name: str, x: Tensor, weights: Weights) -> Any:
    """The dtype of a tensor. TypeError: none that is computed with."""
    found = DTYPES.get(x.dtype)
    if found is None or found not in ("float32", "float64", *weights.dtypes):
        listed = ", ".join(("float32", "float64", *weights.dtypes))
        raise FaltungTypeError(
            f"{name}.dtype={x.dtype}: must be one of {listed}; convert it, as with {name}.float()"
        )
    return _Named(found)


def same_dtype(first: str, x: Tensor, second: str, y: Tensor) -> None:
    """TypeError: tensors of two dtypes."""
    if x.dtype != y.dtype:
        raise FaltungTypeError(
            f"{second}.dtype={y.dtype}: must be {x.dtype}, as {first}; convert one of the two"
        )


def checked(name: str, x: Tensor, weight: Tensor) -> int:
    """The rank of a convolution of these tensors. TypeError, ValueError: dtypes or dimensions of
    which there is none.
    """
    weights = WEIGHTS[name]
    dtype_of("x", x, weights)
    same_dtype("x", x, "weight", weight)
    rank = weights.rank("weight.shape", tuple(weight.shape))
    _rank("x", tuple(x.shape), rank)
    return rank


def forward_spec(
    name: str, x: Tensor, weight: Tensor, bias: Tensor | None, options: Conv
) -> ConvSpec:
    """The convolution of tensors whose sizes are known. TypeError, ValueError: there is none."""
    checked(name, x, weight)
    weights = WEIGHTS[name]
    shape, kernel, dtype = tuple(x.shape), tuple(weight.shape), dtype_of("x", x, weights)
    spec = weights.spec(shape, kernel, dtype, Geometry(**options.geometry()))
    _bias_fits(bias, x, spec.channels_out, spec.output if weights.local else ())
    return spec


def transposed_spec(
    name: str, x: Tensor, weight: Tensor, bias: Tensor | None, options: Conv
) -> ConvSpec:
    """The convolution whose transpose takes these tensors. TypeError, ValueError: there is none."""
    checked(name, x, weight)
    weights = WEIGHTS[name]
    shape, kernel, dtype = tuple(x.shape), tuple(weight.shape), dtype_of("x", x, weights)
    geometry = Geometry(**options.geometry())
    spec = weights.transposed(shape, kernel, dtype, geometry, options.output_padding)
    _bias_fits(bias, x, spec.channels_in, spec.size if weights.local else ())
    return spec


def grad_spec(
    name: str,
    like: Tensor,
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    grad: Tensor,
    options: Conv,
) -> ConvSpec:
    """The convolution of these shapes, whose output gradient is ``grad``."""
    weights = WEIGHTS[name]
    dtype = dtype_of("grad", grad, weights)
    _rank("input_shape", shape, weights.rank("weight.shape", kernel))
    spec = weights.spec(shape, kernel, dtype, Geometry(**options.geometry()), "input_shape")
    same_dtype("grad", grad, "weight" if like.ndim != grad.ndim else "x", like)
    shaped: Any = _Shaped(tuple(grad.shape))
    grad_fits(shaped, shaped, spec, True, "input_shape")
    return spec


def _rank(name: str, shape: tuple[int, ...], rank: int) -> None:
    if len(shape) != rank + 2:
        raise FaltungError(
            f"{name}={shape}: must have {rank + 2} dimensions, (N, C, *space), as the weight says"
        )


def _bias_fits(bias: Tensor | None, x: Tensor, channels: int, output: tuple[int, ...]) -> None:
    if bias is None:
        return
    narrow = DTYPES[x.dtype] in NARROW
    if bias.dtype != x.dtype and not (narrow and bias.dtype == torch.float32):
        rule = f"{x.dtype} or torch.float32" if narrow else f"{x.dtype}, as x"
        raise FaltungTypeError(f"bias.dtype={bias.dtype}: must be {rule}")
    shaped: Any = _Shaped(tuple(bias.shape))
    bias_fits(shaped, channels, output)


def made(plan: Plan, shape: tuple[int, ...], strides: tuple[int, ...], x: Tensor) -> Call:
    """The call of a plan whose result has this shape and the dtype of ``x``."""
    held, scratch = scratch_bytes(plan.work, kept=False)
    size = x.element_size() // 2 if x.is_complex() else x.element_size()
    return Call(
        *(plan.region("all"), current(), plan.threads(2) > 1, held, held + scratch),
        *(shape, strides, x.dtype, size - 1),
    )


def _planned(
    name: str,
    direction: str,
    spec: ConvSpec,
    layouts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]],
    options: Conv,
    bias: bool = False,
) -> tuple[Plan, int]:
    """The plan for arrays with these strides, those of weight and its gradient second, and entries
    from the first of the weight to its first tap.
    """
    build = WEIGHTS[name].build[direction]
    x, w, out = layouts
    if name == "conv_local":
        if not spec.flip:
            return planned_local(build, spec, layouts, bias), 0
        # The weight as a view, its taps reversed.
        kernel, strides = spec.kernel, w[-spec.rank :]
        first = sum((n - 1) * s for n, s in zip(kernel, strides, strict=True))
        w = (*w[: -spec.rank], *(-s for s in strides))
        return planned_local(build, replace(spec, flip=False), (x, w, out), bias), first
    if direction == "weight_grad":
        return planned(build, spec, (x, out, w), options.policy()), 0
    return planned(build, spec, layouts, options.policy(), bias=bias), 0


def _forward(name: str, x: Tensor, weight: Tensor, bias: Tensor | None, words: str) -> Call:
    options = Conv.read(words)
    spec = forward_spec(name, x, weight, bias, options)
    strides = dense(spec.output_shape, follows(name, x, weight))
    layouts = _layouts(x, weight, spec.output_shape, strides)
    plan, first = _planned(name, "forward", spec, layouts, options, bias is not None)
    call = made(plan, spec.output_shape, strides, x)
    return replace(call, bias=_read_as(bias, spec), first=first * x.element_size())


def _transpose(name: str, x: Tensor, weight: Tensor, bias: Tensor | None, words: str) -> Call:
    options = Conv.read(words)
    spec = transposed_spec(name, x, weight, bias, options)
    strides = dense(spec.input_shape, follows(name, x, weight))
    # Local gradients take no bias, and borders that are folded back would fold it too.
    shift = bias is not None and (name == "conv_local" or set(spec.padding_mode) != {"zeros"})
    layouts = _layouts(x, weight, spec.input_shape, strides)
    fused = bias is not None and not shift
    plan, first = _planned(name, "input_grad", spec, layouts, options, fused)
    call = made(plan, spec.input_shape, strides, x)
    read = None if shift else _read_as(bias, spec)
    return replace(call, bias=read, first=first * x.element_size(), shift=shift)


def _input_grad(
    name: str, grad: Tensor, weight: Tensor, shape: tuple[int, ...], words: str, last: bool
) -> Call:
    options = Conv.read(words)
    spec = grad_spec(name, weight, shape, tuple(weight.shape), grad, options)
    strides = dense(shape, last)
    layouts = _layouts(grad, weight, shape, strides)
    plan, first = _planned(name, "input_grad", spec, layouts, options)
    return replace(made(plan, shape, strides, grad), first=first * grad.element_size())


def _weight_grad(
    name: str, x: Tensor, grad: Tensor, shape: tuple[int, ...], words: str, last: bool
) -> Call:
    options = Conv.read(words)
    spec = grad_spec(name, x, tuple(x.shape), shape, grad, options)
    strides = weight_strides(name, shape, last)
    layouts = (
        elements(x.shape, x.stride()),
        elements(shape, strides),
        elements(grad.shape, grad.stride()),
    )
    plan, first = _planned(name, "weight_grad", spec, layouts, options)
    return replace(made(plan, shape, strides, x), first=first * x.element_size())


def follows(name: str, x: Tensor, weight: Tensor) -> bool:
    """Whether the result has its channels last in memory."""
    if channels_last(x.shape, x.stride()):
        return True
    return name == "conv" and channels_last(weight.shape, weight.stride())


def weight_strides(name: str, shape: tuple[Any, ...], last: bool) -> tuple[Any, ...]:
    """How the gradient for a weight lies in memory: that of a local layer as ``pack_local`` says,
    or contiguous.
    """
    if name == "conv":
        return dense(shape, last)
    return packed(shape) if last else dense(shape)


def _layouts(x: Tensor, weight: Tensor, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    return (
        elements(x.shape, x.stride()),
        elements(weight.shape, weight.stride()),
        elements(shape, strides),
    )


def _read_as(bias: Tensor | None, spec: ConvSpec) -> torch.dtype | None:
    """The dtype in which kernels read the bias, where it is not what they read."""
    if bias is None:
        return None
    read = torch.float32 if spec.dtype in NARROW else bias.dtype
    return None if bias.dtype == read and bias.is_contiguous() else read
