"""``Correlation``: the canonical form of a convolution over strided arrays.

The forward convolution, each phase of the input gradient, and the transposed convolution all become
a ``Correlation``; the weight gradient is the gradient of one. It holds everything that a method
needs to compute addresses: each axis with its strides, weights by offset (so ``flip`` and the taps
of a phase are no special cases), and arrays by strides (so layouts are none either).

    out[n, g, co, o] = sum over ci and taps k of
        x[n, g, ci, o * stride - lo + k * dilation] * w[g, co, ci, k]
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from faltung.codegen.vectors import ELEMENTS
from faltung.geometry.adjoint import Phase
from faltung.geometry.axis import Axis
from faltung.geometry.conv import ConvSpec
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.methods.base.epilogue import Epilogue
from faltung.methods.base.step import Arrays, shifted

Strides = tuple[int, ...]
# Outputs along each axis for which the methods of parts are chosen, whatever their size.
PLACED_OUTPUTS = 120
# Why a transform cannot compute parts.
NOT_PLACED = "its bits depend on the place in the whole"
# Of batch, group and channel; of the weight: group, output channel, input channel.
GroupStrides = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Window:
    """One spatial axis with its strides in the input, the output and the arrays of the epilogue.

    ``taps``: offsets of the taps in the weight, in the order in which the axis reads them. All are
    in elements. ``x_ring``, ``out_ring``: for how many positions of the input, or of the output,
    there is memory: position ``i`` is where ``i % ring`` is. 0: for all of them. ``every``: the
    axis's input is only at each ``every``-th place of it, and zeros are between, which is what a
    stride is to the input gradient; only methods that ask for such a window get one. ``tile``: how
    many outputs a tile of a transform has along the axis; 0: as many as are cheapest.
    """

    axis: Axis
    x: int
    out: int
    taps: tuple[int, ...]
    aux: tuple[int, ...] = ()
    x_ring: int = 0
    out_ring: int = 0
    every: int = 1
    tile: int = 0

    @property
    def rings(self) -> bool:
        """Whether there is not memory for all positions, so that their order is fixed."""
        return self.x_ring + self.out_ring > 0

    @property
    def pointwise(self) -> bool:
        """Whether each output reads just the input at its own position."""
        a = self.axis
        return a.kernel == 1 and a.stride == 1 and a.lo == 0 and a.hi == 0

    @property
    def pads(self) -> bool:
        """Whether some tap reads padding."""
        return max(self.axis.lo, self.axis.hi) > 0

    @property
    def borders(self) -> bool:
        """Whether some tap reads padding that is not zero."""
        return self.axis.mode != "zeros" and self.pads


@dataclass(frozen=True, slots=True)
class Correlation:
    """The canonical problem. Channels are per group; strides and bases are in elements.

    ``aux``, ``aux_base``: of the arrays that the epilogue reads, which have the output's shape.
    ``placed``: whether it may be a part of a larger problem, whose bits it must give: then nothing
    that rounds may depend on its sizes, or on how far it is from an end.
    """

    dtype: str
    batch: int
    groups: int
    channels_in: int
    channels_out: int
    windows: tuple[Window, ...]
    x: GroupStrides
    out: GroupStrides
    w: GroupStrides
    x_base: int = 0
    out_base: int = 0
    epilogue: Epilogue | None = None
    aux: tuple[GroupStrides, ...] = ()
    aux_base: tuple[int, ...] = ()
    placed: bool = False

    @property
    def rings(self) -> bool:
        """Whether some axis has memory for a few positions only."""
        return any(window.rings for window in self.windows)

    @property
    def inputs(self) -> int:
        """Number of input positions per sample and channel."""
        return math.prod(window.axis.size for window in self.windows)

    @property
    def outputs(self) -> int:
        """Number of output positions per sample and channel."""
        return math.prod(window.axis.output for window in self.windows)

    @property
    def taps(self) -> int:
        return math.prod(window.axis.kernel for window in self.windows)

    @property
    def tap_offsets(self) -> list[int]:
        """The offset of each tap in the weight, the taps of the last axis fastest."""
        return [sum(taps) for taps in itertools.product(*(w.taps for w in self.windows))]

    @property
    def item_bytes(self) -> int:
        """Bytes of an element."""
        return ELEMENTS[self.dtype][1]

    @property
    def row_taps(self) -> float:
        """Taps of all axes but the last that do not read zeros: the mean over the outputs."""
        return math.prod(_reading(window.axis) for window in self.windows[:-1])

    @property
    def last_taps(self) -> float:
        """Taps of the last axis that do not read zeros: the mean over the outputs."""
        return _reading(self.windows[-1].axis)

    def aux_steps(self, along: str) -> tuple[int, ...]:
        """What each array of the epilogue is along an axis, as ``step_kind`` says.

        ``along``: "channel", "group", or "position" (along the last axis).
        """
        if along == "position":
            return tuple(map(step_kind, self.windows[-1].aux))
        return tuple(step_kind(each[{"group": 1, "channel": 2}[along]]) for each in self.aux)

    @property
    def macs(self) -> int:
        return (
            self.batch
            * self.groups
            * self.channels_in
            * self.channels_out
            * self.outputs
            * self.taps
        )

    @property
    def map_bytes(self) -> int:
        """Bytes of input and output."""
        sample = self.channels_in * self.inputs + self.channels_out * self.outputs
        return self.batch * self.groups * sample * self.item_bytes

    @property
    def array_bytes(self) -> int:
        """Bytes of input, output and weight."""
        weights = self.groups * self.channels_in * self.channels_out * self.taps
        return self.map_bytes + weights * self.item_bytes


def step_kind(stride: int) -> int:
    """What a stride means for a vector: 1 contiguous elements, 0 the same one in all lanes, -1
    elements that have to be gathered.
    """
    return stride if stride in (0, 1) else -1


def step_of(taps: Sequence[int]) -> int | None:
    """The stride of taps in the weight; None where it varies, or there is one tap."""
    steps = {b - a for a, b in pairwise(taps)}
    return steps.pop() if len(steps) == 1 else None


def contiguous(shape: Sequence[int], channels_last: bool) -> Strides:
    """Strides, in elements, of a contiguous array (N, C, *space), or (N, *space, C) in memory."""
    sizes = [shape[0], *shape[2:], shape[1]] if channels_last else list(shape)
    steps = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    return (steps[0], steps[-1], *steps[1:-1]) if channels_last else tuple(steps)


def split_groups(strides: Sequence[int], channels_per_group: int) -> GroupStrides:
    """Strides (batch, group, channel) from strides (batch, channel)."""
    batch, channel = strides
    return batch, channel * channels_per_group, channel


def forward(
    spec: ConvSpec,
    x: Strides,
    w: Strides,
    out: Strides,
    epilogue: Epilogue | None = None,
    aux: Sequence[Strides] = (),
) -> Correlation:
    """The convolution itself, as a correlation.

    ``x``, ``out``, each of ``aux``: strides of (N, C, *space). ``w``: strides of (C_out, C_in //
    groups, *kernel).
    """
    windows = tuple(
        Window(
            _near(axis),
            x[2 + i],
            out[2 + i],
            _taps(range(axis.kernel), axis.kernel, w[2 + i], spec.flip),
            tuple(strides[2 + i] for strides in aux),
        )
        for i, axis in enumerate(spec.axes)
    )
    inputs, outputs = spec.channels_in // spec.groups, spec.channels_out // spec.groups
    return Correlation(
        dtype=spec.dtype,
        batch=spec.batch,
        groups=spec.groups,
        channels_in=inputs,
        channels_out=outputs,
        windows=windows,
        x=split_groups(x[:2], inputs),
        out=split_groups(out[:2], outputs),
        w=(w[0] * outputs, w[0], w[1]),
        epilogue=epilogue,
        aux=tuple(split_groups(strides[:2], outputs) for strides in aux),
        aux_base=(0,) * len(aux),
    )


def input_grad_whole(
    spec: ConvSpec,
    grad: Strides,
    w: Strides,
    out: Strides,
    epilogue: Epilogue | None = None,
    aux: Sequence[Strides] = (),
) -> Correlation:
    """The whole input gradient, over a gradient that has zeros between its positions where there
    are strides: for methods that skip them (``Window.every``). Arguments as for
    ``input_grad_phase``.
    """
    windows = []
    for i, axis in enumerate(spec.axes):
        size = (axis.output - 1) * axis.stride + 1
        lo = axis.extent - 1 - axis.lo
        here = Axis(size, axis.kernel, 1, axis.dilation, lo, axis.size + axis.lo - size)
        steps = w[2 + i] * np.arange(axis.kernel)[:: 1 if spec.flip else -1]
        others = tuple(strides[2 + i] for strides in aux)
        taps = tuple(steps.tolist())
        windows.append(Window(here, grad[2 + i], out[2 + i], taps, others, every=axis.stride))
    bases = (0,) * (1 + len(aux))
    return _of_gradient(spec, windows, bases, grad, w, out, epilogue, aux)


def input_grad_phase(
    spec: ConvSpec,
    phase: Phase,
    grad: Strides,
    w: Strides,
    out: Strides,
    epilogue: Epilogue | None = None,
    aux: Sequence[Strides] = (),
) -> Correlation:
    """One phase of the input gradient: reads ``grad``, writes every ``stride``-th position.

    The padding of ``spec`` is zeros (other modes are folded back afterwards). ``out``, ``aux``:
    strides of the input gradient, and of arrays of its shape.
    """
    windows = []
    bases = [0] * (1 + len(aux))
    for i, part in enumerate(phase.axes):
        if part.axis is None:
            raise FaltungError("phase: must have taps; without, its part of the gradient is zero")
        # The phase already reads a flipped kernel backwards.
        taps = tuple(k * w[2 + i] for k in part.taps)
        steps = [strides[2 + i] for strides in (out, *aux)]
        bases = [base + part.start * step for base, step in zip(bases, steps, strict=True)]
        to, *others = (step * (part.step if part.count > 1 else 1) for step in steps)
        windows.append(Window(part.axis, grad[2 + i], to, taps, tuple(others)))
    return _of_gradient(spec, windows, bases, grad, w, out, epilogue, aux)


def _of_gradient(
    spec: ConvSpec,
    windows: Sequence[Window],
    bases: Sequence[int],
    grad: Strides,
    w: Strides,
    out: Strides,
    epilogue: Epilogue | None,
    aux: Sequence[Strides],
) -> Correlation:
    """Inputs and outputs of ``spec`` have changed places. bases: where the input gradient begins,
    and each of ``aux``.
    """
    inputs, outputs = spec.channels_in // spec.groups, spec.channels_out // spec.groups
    return Correlation(
        dtype=spec.dtype,
        batch=spec.batch,
        groups=spec.groups,
        channels_in=outputs,
        channels_out=inputs,
        windows=tuple(windows),
        x=split_groups(grad[:2], outputs),
        out=split_groups(out[:2], inputs),
        w=(w[0] * outputs, w[1], w[0]),
        out_base=bases[0],
        epilogue=epilogue,
        aux=tuple(split_groups(strides[:2], inputs) for strides in aux),
        aux_base=tuple(bases[1:]),
    )


def of_groups(c: Correlation, arrays: Arrays, first: int, count: int) -> tuple[Correlation, Arrays]:
    """The problem of ``count`` groups from group ``first`` on, and its arrays."""
    made = replace(
        c,
        groups=count,
        x_base=c.x_base + first * c.x[1],
        out_base=c.out_base + first * c.out[1],
        aux_base=tuple(b + first * a[1] for a, b in zip(c.aux, c.aux_base, strict=True)),
    )
    bias = arrays.bias and shifted(arrays.bias, first * c.channels_out, c.dtype)
    return made, replace(arrays, w=shifted(arrays.w, first * c.w[0], c.dtype), bias=bias)


@lru_cache(4096)
def _reading(axis: Axis) -> float:
    """Taps per output that do not read zeros: the mean over the outputs."""
    if axis.mode != "zeros" or max(axis.lo, axis.hi) <= 0:
        return axis.kernel
    at = np.arange(axis.kernel, dtype=np.int64) * axis.dilation - axis.lo
    first = np.maximum(0, -(at // axis.stride))
    stop = np.minimum(axis.output, (axis.size - 1 - at) // axis.stride + 1)
    return float(np.maximum(0, stop - first).sum() / axis.output)


def _near(axis: Axis) -> Axis:
    """The same axis with a stride that fits in 64 bits; a larger one just means one output."""
    return replace(axis, stride=min(axis.stride, axis.padded))


def _taps(taps: Sequence[int], kernel: int, stride: int, flip: bool) -> tuple[int, ...]:
    """The offset of each tap in the weight; ``flip`` reads the kernel backwards."""
    return tuple((kernel - 1 - k if flip else k) * stride for k in taps)
