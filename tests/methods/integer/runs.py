"""Integer convolutions run on arrays, and what they are in whole numbers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from graph.single import dequantised, single
from methods.steps import Allocate, anywhere, run

from faltung.geometry.conv import ConvSpec
from faltung.geometry.levels import Grid
from faltung.machine.table import Machine
from faltung.methods.base.correlation import contiguous
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.base.step import waiting
from faltung.plan.build_integer import build_integer

Array = np.ndarray[Any, Any]


def whole_sum(spec: ConvSpec, grid: Grid, x: Array, w: Array, bias: Array | None) -> Array:
    """sum((x - zero) w) + bias in int64, by the definition: each tap in turn."""
    a = x.astype(np.int64) - int(grid.zero)
    inputs, outputs = spec.channels_in // spec.groups, spec.channels_out // spec.groups
    total = np.zeros(spec.output_shape, np.int64)
    for tap in np.ndindex(*spec.kernel):
        here, there = a, np.ones((), bool)
        for i, (axis, k) in enumerate(zip(spec.axes, tap, strict=True), start=2):
            at = [o * axis.stride + k * axis.dilation - axis.lo for o in range(axis.output)]
            read = [axis.source(j) for j in at]
            here = np.take(here, [0 if j is None else j for j in read], axis=i)
            shape = [1] * a.ndim
            shape[i] = len(read)
            there = there & np.array([j is not None for j in read]).reshape(shape)
        here = np.where(there, here, 0)
        kernel = (
            tuple(n - 1 - k for n, k in zip(spec.kernel, tap, strict=True)) if spec.flip else tap
        )
        weight = w[(slice(None), slice(None), *kernel)].astype(np.int64)
        for g in range(spec.groups):
            ins, outs = slice(g * inputs, (g + 1) * inputs), slice(g * outputs, (g + 1) * outputs)
            total[:, outs] += np.einsum("nc...,oc->no...", here[:, ins], weight[outs])
    return total if bias is None else total + bias.reshape(-1, *(1,) * spec.rank).astype(np.int64)


def finished(
    total: Array,
    epilogue: Epilogue | None,
    aux: Sequence[Array],
    grids: Sequence[Grid | None],
    result: Grid | None,
) -> Array:
    """What is stored, each operation in float32."""
    made = total.astype(np.int32).astype(np.float32)
    if epilogue is not None:
        read = list(map(dequantised, aux, grids))
        made = single(epilogue.expr, [made, *read])
    if result is None:
        return made
    level = np.rint(made / np.float32(result.scale)) + np.float32(result.zero)
    return np.clip(level, result.low, result.high).astype(result.stored)


def computed(
    spec: ConvSpec,
    machine: Machine,
    grid: Grid,
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    result: Grid | None = None,
    epilogue: Epilogue | None = None,
    aux: Sequence[Array] = (),
    grids: Sequence[Grid | None] = (),
    threads: int = 2,
    pitch: int = 0,
    inplace: bool = False,
    allocate: Allocate = anywhere,
    **given: Any,
) -> Array:
    """What the plan computes. Arrays come and go channels first, and are channels last in between;
    pitch: how many channels lie between those of two positions. inplace: the output is in the
    array that the epilogue reads. allocate: memory for all arrays.
    """
    channels = spec.channels_in + pitch
    x_strides = list(contiguous((spec.batch, channels, *spec.size), True))
    out_channels = spec.channels_out + pitch
    out_strides = contiguous((spec.batch, out_channels, *spec.output), True)
    wide = np.full((spec.batch, *spec.size, channels), 0x7F, x.dtype)
    wide[..., : spec.channels_in] = np.moveaxis(x, 1, -1)
    dtype = np.dtype(result.stored if result else np.float32)
    out = np.full((spec.batch, *spec.output, out_channels), 77, dtype)
    own = {
        f"aux{i}": np.ascontiguousarray(np.moveaxis(a, 1, -1) if a.ndim > 2 else a)
        for i, a in enumerate(aux)
    }
    strides = tuple(
        contiguous(a.shape, True) if a.ndim > 2 else (0, a.ndim, *(0,) * spec.rank) for a in aux
    )
    plan = build_integer(
        spec,
        tuple(x_strides),
        contiguous(w.shape, False),
        out_strides,
        bias=bias is not None,
        grid=grid,
        result=result,
        epilogue=epilogue,
        aux=strides,
        grids=grids,
        machine=machine,
        **given,
    )
    if inplace:
        out = own["aux0"]
    arrays = {"x": wide, "w": np.ascontiguousarray(w), "out": out, **own}
    if bias is not None:
        arrays["bias"] = bias.astype(np.float32)
    plan.work.steps[:1] = [waiting(step, True) for step in plan.work.steps[:1]]
    memories = {name: allocate(a.nbytes) for name, a in arrays.items()}
    for name, a in arrays.items():
        memories[name][...] = a.reshape(-1).view(np.uint8)
    if inplace:
        memories["out"] = memories["aux0"]
    run(plan.work, machine, memories, threads, allocate)
    out = memories["out"].view(out.dtype).reshape(out.shape)
    if pitch:
        assert (out[..., spec.channels_out :] == 77).all(), "wrote between positions"
    return np.moveaxis(out[..., : spec.channels_out], -1, 1)


def levels(rng: np.random.Generator, grid: Grid, shape: Sequence[int]) -> Array:
    return rng.integers(grid.low, grid.high, size=shape, endpoint=True).astype(grid.stored)


def weights(rng: np.random.Generator, shape: Sequence[int], dtype: str = "float32") -> Array:
    return rng.integers(-128, 127, size=shape, endpoint=True).astype(dtype)


def floats(spec: ConvSpec) -> ConvSpec:
    return replace(spec, dtype="float32")
