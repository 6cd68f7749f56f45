"""Poolings and sums of tensors where they lie, as ``calls.py`` has convolutions."""

from math import prod
from typing import Any

import torch
from torch import Tensor

from faltung.geometry.errors import FaltungError, FaltungTypeError
from faltung.geometry.expr import operand
from faltung.geometry.pool import PoolSpec, pool_spec
from faltung.jit.target import current
from faltung.machine.costs import MIN_PARALLEL_CYCLES
from faltung.methods.base.step import Operand, Work
from faltung.methods.pool.pool import index_dtype
from faltung.methods.reduce.axes import Strided
from faltung.methods.reduce.reduce import reduction
from faltung.ops.run import planned_pool, scratch_bytes
from faltung.plan.binding import Region, places
from faltung.plan.pool import BYTES_PER_CYCLE, build_pool, build_pool_grad
from faltung.torch.calls import Call, aligned, known, made
from faltung.torch.layouts import DTYPES, dense, elements, is_last, ordered
from faltung.torch.words import Pool

_empty = torch.empty_strided
INDICES = {torch.float32: torch.int32, torch.float64: torch.int64}


def pool(kind: str, x: Tensor, words: str) -> Tensor:
    """The maxima or means of the windows of ``x``, ``(N, C, *space)``; ``kind``: "max" or
    "average".
    """
    call = known((kind, words, x.shape, x.stride(), x.dtype), _pool, kind, x, words, False)
    out = _empty(call.shape, call.strides, dtype=call.dtype)
    if x.data_ptr() & call.aligned:
        x = aligned(x)
    call.run(x.data_ptr(), out.data_ptr(), out.data_ptr(), 0)
    return out


def pool_with_indices(x: Tensor, words: str) -> tuple[Tensor, Tensor]:
    """The maxima, and where each is in the plane of its channel."""
    call = known(("i", words, x.shape, x.stride(), x.dtype), _pool, "max", x, words, True)
    out = _empty(call.shape, call.strides, dtype=call.dtype)
    chosen = _empty(call.shape, call.strides, dtype=INDICES[call.dtype])
    if x.data_ptr() & call.aligned:
        x = aligned(x)
    call.run(x.data_ptr(), chosen.data_ptr(), out.data_ptr(), 0)
    return out, chosen


def avg_pool_grad(grad: Tensor, shape: list[int], words: str, last: bool) -> Tensor:
    """The gradient of means for an input of this shape."""
    sizes = tuple(shape)
    key = "a", words, grad.shape, grad.stride(), grad.dtype, sizes, last
    call = known(key, _pool_grad, "average", grad, None, sizes, words, last)
    out = _empty(call.shape, call.strides, dtype=call.dtype)
    if grad.data_ptr() & call.aligned:
        grad = aligned(grad)
    call.run(grad.data_ptr(), out.data_ptr(), out.data_ptr(), 0)
    return out


def max_pool_grad(
    grad: Tensor, indices: Tensor, shape: list[int], words: str, last: bool
) -> Tensor:
    """The gradient of maxima for an input of this shape."""
    sizes = tuple(shape)
    key = (
        *("m", words, grad.shape, grad.stride(), grad.dtype),
        *(indices.shape, indices.stride(), indices.dtype, sizes, last),
    )
    call = known(key, _pool_grad, "max", grad, indices, sizes, words, last)
    out = _empty(call.shape, call.strides, dtype=call.dtype)
    if (grad.data_ptr() | indices.data_ptr()) & call.aligned:
        grad, indices = aligned(grad), aligned(indices)
    call.run(grad.data_ptr(), indices.data_ptr(), out.data_ptr(), 0)
    return out


def total(x: Tensor, dims: list[int]) -> Tensor:
    """The sum over some axes, whose bits depend neither on the threads nor on the batch."""
    call = known(("t", x.shape, x.stride(), x.dtype, tuple(dims)), _total, x, dims)
    out = _empty(call.shape, call.strides, dtype=call.dtype)
    if not x.numel():
        return out.zero_()
    if x.data_ptr() & call.aligned:
        x = aligned(x)
    call.run(x.data_ptr(), 0, out.data_ptr(), 0)
    return out


# Checked and planned ------------------------------------------------------------------------------


def floating(name: str, x: Tensor) -> str:
    """The dtype of a tensor. TypeError: neither float32 nor float64."""
    found = DTYPES.get(x.dtype, "")
    if found not in ("float32", "float64"):
        raise FaltungTypeError(
            f"{name}.dtype={x.dtype}: must be float32 or float64; convert it with {name}.float()"
        )
    return found


def pooling(kind: str, x: Tensor, shape: tuple[int, ...], options: Pool, name: str) -> PoolSpec:
    """The pooling of an input of this shape; ``x``: a tensor of its dtype."""
    dtype = floating(name, x)
    if len(shape) < 3:
        raise FaltungError(f"{name}.shape={shape}: must be (N, C, *space)")
    try:
        return pool_spec(shape, kind=kind, dtype=dtype, **options._asdict())
    except FaltungError as error:
        text = str(error).replace("input_shape=", f"{name}.shape=")
        raise type(error)(text) from None


def _pool(kind: str, x: Tensor, words: str, indices: bool) -> Call:
    spec = pooling(kind, x, tuple(x.shape), Pool.read(words), "x")
    if indices:
        index_dtype(spec)  # refuses planes that are too large
    shape = spec.output_shape
    strides = dense(shape, is_last(x))
    layouts = elements(x.shape, x.stride()), elements(shape, strides)
    plan = planned_pool(build_pool, spec, (*layouts, layouts[1] if indices else None))
    return made(plan, shape, strides, x)


def _pool_grad(
    kind: str,
    grad: Tensor,
    indices: Tensor | None,
    shape: tuple[int, ...],
    words: str,
    last: bool,
) -> Call:
    spec = pooling(kind, grad, shape, Pool.read(words), "grad")
    if tuple(grad.shape) != spec.output_shape:
        raise FaltungError(
            f"grad.shape={tuple(grad.shape)}: must be that of the output, {spec.output_shape}"
        )
    chosen = None
    if indices is not None:
        if indices.shape != grad.shape or indices.dtype != INDICES[grad.dtype]:
            raise FaltungError(
                f"indices: must be of shape {tuple(grad.shape)} and dtype {INDICES[grad.dtype]}, "
                f"as of max_pool_with_indices, not {tuple(indices.shape)} and {indices.dtype}"
            )
        chosen = elements(indices.shape, indices.stride())
    strides = dense(shape, last)
    layouts = elements(grad.shape, grad.stride()), elements(shape, strides), chosen
    return made(planned_pool(build_pool_grad, spec, layouts), shape, strides, grad)


def _total(x: Tensor, dims: list[int]) -> Call:
    dtype, here = floating("x", x), x.stride()
    order = sorted(range(x.ndim), key=lambda d: (-here[d], d))
    kept = [d for d in range(x.ndim) if d not in dims]
    shape = tuple([x.shape[d] for d in kept])
    strides = ordered(shape, range(len(shape)))
    to = dict(zip(kept, elements(shape, strides), strict=True))
    here = elements(x.shape, here)
    work, machine = Work(), current()
    reduction(
        work,
        dtype,
        machine,
        sizes=[x.shape[d] for d in order],
        reduced=[d in dims for d in order],
        inputs=[Strided(Operand("x"), tuple([here[d] for d in order]))],
        outputs=[Strided(Operand("out"), tuple([to.get(d, 0) for d in order]))],
        kind="sum",
        exprs=(operand(0),),
        title="sum",
    )
    _, scratch = scratch_bytes(work, kept=False)
    region = Region(work.steps, places(work), machine)
    wide = prod(x.shape) * x.element_size() / BYTES_PER_CYCLE >= MIN_PARALLEL_CYCLES
    aligned_bits: Any = x.element_size() - 1
    return Call(region, machine, wide, 0, scratch, shape, strides, x.dtype, aligned_bits)
