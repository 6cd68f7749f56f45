"""Gradients and transposes of a convolution as convolutions: the only home of that algebra.

Along each axis, output ``o`` reads input ``i`` at tap ``k`` where i + lo = o s + k d.

Input gradient: fix i and sum over k. The taps that land on i differ by multiples of s / gcd(s, d),
so the inputs fall into s phases, i = start + s t. Within a phase, with k = k0 + j s / gcd,
o = t + e - j d / gcd: a convolution of the output gradient with stride 1, dilation d / gcd and the
taps read backwards. Its padding may be negative, which is a crop.

Weight gradient: fix k and sum over o: i = k d + o s - lo. This is a convolution of the input with
the output gradient as its kernel, in which stride and dilation have changed places. So have batch
and channels, because the sum now runs over the batch.

Both hold for padding with zeros. Where the padding repeats the array, take the adjoint on the
padded domain, ``unpadded(spec)``, and add every padded position j to ``axis.source(j - lo)``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import gcd

from faltung.geometry.axes import make_axes
from faltung.geometry.axis import Axis
from faltung.geometry.check import per_axis, show
from faltung.geometry.conv import ConvSpec, checked_shapes
from faltung.geometry.errors import FaltungError
from faltung.geometry.padding import Padding, PaddingMode, modes, pads
from faltung.geometry.record import dataclass


@dataclass(frozen=True, slots=True)
class PhaseAxis:
    """One phase of one axis: the inputs start, start + step, ..., ``count`` of them.

    Attributes
    ----------
    axis
        How this phase reads the output gradient. None where no tap lands: the gradient is zero.
    taps
        The entries of the weight along this axis, in the order in which ``axis`` reads them:
        descending, or ascending for a spec with ``flip``.
    start, step, count
        Which inputs, in array entries.
    """

    axis: Axis | None
    taps: tuple[int, ...]
    start: int
    step: int
    count: int


@dataclass(frozen=True, slots=True)
class Phase:
    """Part of an input gradient: the positions ``axes[a].start + axes[a].step * t``.

    Attributes
    ----------
    axes
        One phase of each axis.
    spec
        The convolution of the output gradient (batch, channels_out, *output) that computes these
        positions, of shape (batch, channels_in, *counts); never flipped. Its weight is the forward
        weight with the taps picked axis by axis and the channels exchanged within each group:
        (channels_in, channels_out // groups, *taps). None where the positions are zero.
    """

    axes: tuple[PhaseAxis, ...]
    spec: ConvSpec | None


def unpadded(spec: ConvSpec) -> ConvSpec:
    """The same convolution, of the array already padded along axes whose mode is not zeros."""
    axes = (axis if axis.mode == "zeros" else axis.with_padding for axis in spec.axes)
    return replace(spec, axes=tuple(axes))


def input_grad(spec: ConvSpec) -> tuple[Phase, ...]:
    """The input gradient, as convolutions of the output gradient.

    The phases are disjoint and cover the input. Where its spec is not None, both the first and the
    last tap of a phase read at least one gradient. ValueError: a padding mode other than zeros.
    """
    _only_zeros(spec)
    split = [tuple(_phases(axis, spec.flip)) for axis in spec.axes]
    return tuple(Phase(axes, _phase_spec(axes, spec)) for axes in _blocks(split, spec.axes))


def has_taps(axis: Axis) -> bool:
    """Whether a tap lands in each phase of an axis, so that no part of its gradient is zero."""
    return all(phase.axis is not None for phase in _phases(axis, False))


def _phases(axis: Axis, flip: bool) -> Iterator[PhaseAxis]:
    """The phases of one axis, ascending in ``start``."""
    s, d, out = axis.stride, axis.dilation, axis.output
    common = gcd(s, d)
    period, step = s // common, d // common  # from tap to tap, and from gradient to gradient
    for start in range(min(s, axis.size)):
        count = (axis.size - start + s - 1) // s
        # The first tap with start + lo - k d divisible by s, from the inverse of d / common.
        reach, rest = divmod(start + axis.lo, common)
        k0 = reach * pow(step, -1, period) % period
        if rest or k0 >= axis.kernel:
            yield PhaseAxis(None, (), start, s, count)
            continue
        e = (start + axis.lo - k0 * d) // s
        taps = range(k0, axis.kernel, period)
        # Tap j reads the gradients e - j step .. e - j step + count - 1: keep those that read one.
        j_lo = max(0, -((out - 1 - e) // step))
        j_hi = min(len(taps), (e + count - 1) // step + 1)
        if j_lo >= j_hi:
            yield PhaseAxis(None, (), start, s, count)
            continue
        first = e - (j_hi - 1) * step  # what the last tap, which comes first, reads at t = 0
        span = (j_hi - 1 - j_lo) * step
        here = Axis(out, j_hi - j_lo, 1, step, -first, first + count + span - out)
        chosen = tuple(reversed(taps[j_lo:j_hi]))
        if flip:
            chosen = tuple(axis.kernel - 1 - k for k in chosen)
        yield PhaseAxis(here, chosen, start, s, count)


def _blocks(
    split: Sequence[Sequence[PhaseAxis]], axes: Sequence[Axis]
) -> Iterator[tuple[PhaseAxis, ...]]:
    """All combinations of phases; once one axis is zero, the axes after it are not split.

    (Otherwise a stride of 1,000 on an image would make a million phases, nearly all of them zero.)
    """
    if not split:
        yield ()
        return
    for phase in split[0]:
        if phase.axis is None:
            whole = (PhaseAxis(None, (), 0, 1, axis.size) for axis in axes[1:])
            yield (phase, *whole)
        else:
            for rest in _blocks(split[1:], axes[1:]):
                yield (phase, *rest)


def _phase_spec(phases: Sequence[PhaseAxis], spec: ConvSpec) -> ConvSpec | None:
    axes = tuple(phase.axis for phase in phases if phase.axis is not None)
    if len(axes) < len(phases):
        return None
    return replace(
        spec, axes=axes, channels_in=spec.channels_out, channels_out=spec.channels_in, flip=False
    )


def weight_grad(spec: ConvSpec) -> ConvSpec:
    """The weight gradient of *one* group, as a convolution; never flipped.

    All three arrays have batch and channels exchanged. Its input is the input, (channels_in //
    groups, batch, *size); its weight the output gradient, (channels_out // groups, batch, *output);
    its output the weight gradient, (channels_in // groups, channels_out // groups, *kernel), to be
    read backwards along every spatial axis if ``spec.flip``.
    ValueError: a padding mode other than zeros; an empty batch, whose gradient is zero.
    """
    _only_zeros(spec)
    if not spec.batch:
        raise FaltungError("batch=0: the weight gradient of an empty batch is zero")
    axes = tuple(
        # Crop what the stride left unread at the end, or outputs beyond the kernel appear.
        Axis(a.size, a.output, a.dilation, a.stride, a.lo, a.hi - a.unread)
        for a in spec.axes
    )
    return ConvSpec(
        axes=axes,
        channels_in=spec.batch,
        channels_out=spec.channels_out // spec.groups,
        batch=spec.channels_in // spec.groups,
        dtype=spec.dtype,
    )


def transposed(
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    output_padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    flip: bool = False,
    dtype: str = "float32",
) -> ConvSpec:
    """The *forward* spec whose input gradient is the transposed convolution.

    Parameters
    ----------
    input_shape
        Shape of the array to transform, (N, C_in, *space): the ``output_shape`` of the spec.
    weight_shape
        (C_in, C_out // groups, *kernel): the ``weight_shape`` of the spec.
    stride, dilation, groups, padding_mode, flip, dtype
        Of the forward convolution, as for ``conv_spec``. With a mode other than zeros the result
        is the transpose of the convolution with that mode.
    padding
        Of the forward convolution. A name means what it means for an array of size H s: with
        "same_upper" and "same_lower" the result has that size wherever d (h - 1) + 1 >= s.
    output_padding
        Entries added to the size of the result at the end of each axis, as in PyTorch. Must be
        less than the stride or the dilation.

    Returns
    -------
    ConvSpec
        Its ``input_shape`` is the shape of the result, (N, C_out, *size), with
        size = (H - 1) s - (p_lo + p_hi) + d (h - 1) + output_padding + 1.

    Raises
    ------
    ValueError, TypeError
        Arguments that describe no transposed convolution.

    Examples
    --------
    >>> transposed((1, 8, 14, 14), (8, 4, 2, 2), stride=2).input_shape
    (1, 4, 28, 28)
    """
    x, w, groups = checked_shapes(input_shape, weight_shape, groups)
    if w[0] != x[1]:
        raise FaltungError(f"weight_shape={w}: its first entry must be the input channels, {x[1]}")
    rank = len(x) - 2
    strides = per_axis("stride", stride, rank, 1)
    dilations = per_axis("dilation", dilation, rank, 1)
    extra = per_axis("output_padding", output_padding, rank, 0)
    if any(p >= max(s, d) for p, s, d in zip(extra, strides, dilations, strict=True)):
        raise FaltungError(
            f"output_padding={show(output_padding)}: must be below the stride {strides} or the "
            f"dilation {dilations}"
        )
    whole = [h * s for h, s in zip(x[2:], strides, strict=True)]
    pairs = pads(padding, sizes=whole, kernel=w[2:], stride=strides, dilation=dilations)
    sizes, fitted = [], []
    for n, h, s, d, p, (lo, hi) in zip(x[2:], w[2:], strides, dilations, extra, pairs, strict=True):
        sizes.append((n - 1) * s - lo - hi + d * (h - 1) + p + 1)
        fitted.append((lo, hi - p // s * s))  # p >= s would give the forward spec more outputs
    if min(sizes) < 1:
        raise FaltungError(
            f"padding={show(padding)}: leaves no output; its sizes would be {tuple(sizes)}"
        )
    names = modes(padding_mode, rank)
    axes = make_axes(sizes, w[2:], strides, dilations, fitted, names)
    return ConvSpec(axes, w[1] * groups, w[0], x[0], groups, str(dtype), flip)


def _only_zeros(spec: ConvSpec) -> None:
    if any(axis.mode != "zeros" for axis in spec.axes):
        raise FaltungError(
            f"padding_mode={spec.padding_mode}: adjoints need the mode zeros; pass unpadded(spec)"
        )
