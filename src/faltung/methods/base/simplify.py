"""Simplifies a correlation: fewer axes and longer channels, the same sums.

Axes with one output, kernels that cover their input, samples of a pointwise problem: for each a
method would run a loop of one iteration. Here they are merged into loops with many iterations.
Every element of the output keeps its sum, with taps in order and, for each tap, channels in order,
so the bits do not depend on what could be simplified.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import prod

from faltung.geometry.axis import Axis
from faltung.methods.base.correlation import Correlation, Window, step_of


def simplified(c: Correlation, *, bias: bool = False, every_tap: bool = False) -> Correlation:
    """Simplify as far as the strides allow.

    ``bias``: whether there is one per output channel, so that positions may not become channels.
    ``every_tap``: keep taps that only read zeros (their entries of a gradient are written).
    """
    if not every_tap:
        c = replace(c, windows=tuple(map(_only_present, c.windows)))
    c = _taps_as_channels(c)
    if not bias and not every_tap:
        c = _taps_as_outputs(c)
    return _samples_as_positions(_merged(c))


def essential(c: Correlation, *, every_tap: bool = False) -> Correlation:
    """Simplify independently of strides and batch.

    Drops axes of one position, and taps that only read zeros unless ``every_tap``.
    """
    if not every_tap:
        c = replace(c, windows=tuple(map(_only_present, c.windows)))
    return _merged(c, join=False)


def over_samples(c: Correlation) -> Correlation | None:
    """Make the samples the last axis; None where there is one sample.

    Tiles extend along the last axis; where that is short, there may be more samples.
    """
    if c.batch < 2:
        return None
    if c.rings:  # samples have the same memory, one after the other
        return None
    kept = [w for w in c.windows if not (w.pointwise and w.axis.size == 1)]
    shift = sum(w.taps[0] for w in c.windows if w.pointwise and w.axis.size == 1)
    aux = tuple(strides[0] for strides in c.aux)
    samples = Window(Axis(c.batch, 1), c.x[0], c.out[0], (shift,), aux)
    return replace(c, batch=1, windows=(*kept, samples))


# Kernels that cover their input -------------------------------------------------------------------


def _only_present(window: Window) -> Window:
    """Drop taps that only read zeros, along an axis with one output."""
    a = window.axis
    if a.output > 1 or a.mode != "zeros" or window.rings:
        return window
    first, stop = a.valid_taps(0)
    if first == stop:
        return window
    taps, lo = window.taps[first:stop], a.lo - first * a.dilation
    extent = a.dilation * (len(taps) - 1) + 1
    axis = Axis(a.size, len(taps), 1, a.dilation, lo, extent - lo - a.size)
    return replace(window, axis=axis, taps=taps)


def _taps_as_channels(c: Correlation) -> Correlation:
    """Turn taps into input channels, where input and weight have them at the same stride.

    It begins with the last axis, so that taps keep their order, and applies only where no two
    outputs share an input: a kernel that covers its axis, or patches. Groups of one channel stay,
    because they are the lanes of ``depthwise``.
    """
    if c.channels_in == 1 and c.groups > 1:
        return c
    windows, channels, base = list(c.windows), c.channels_in, c.x_base
    x, w = c.x[2], c.w[2]
    for i, window in reversed([*enumerate(c.windows)]):
        a = window.axis
        apart = a.output == 1 or a.stride >= a.extent
        if not apart or max(a.lo, a.hi) > 0 or window.rings:
            if a.kernel > 1:
                break
            continue
        if a.kernel > 1:
            along, step = a.dilation * window.x, step_of(window.taps)
            if step is None or (channels > 1 and (along, step) != (x * channels, w * channels)):
                break
            if channels == 1:
                x, w = along, step
            channels *= a.kernel
        elif a.output > 1:  # one tap with a stride: leave an axis that skips positions
            continue
        base -= a.lo * window.x
        pitch = window.x * (a.stride if a.output > 1 else 1)
        windows[i] = replace(window, axis=Axis(a.output, 1), x=pitch, taps=window.taps[:1])
    return replace(
        c,
        windows=tuple(windows),
        channels_in=channels,
        x=(*c.x[:2], x),
        w=(*c.w[:2], w),
        x_base=base,
    )


def _taps_as_outputs(c: Correlation) -> Correlation:
    """Turn positions that read the same input, each with its own tap, into output channels.

    It applies where output and weight have them at the same stride as channels. The input gradient
    of a kernel that covers its input thereby becomes a pointwise problem.
    """
    if c.channels_out == 1 and c.groups > 1:
        return c
    found = [i for i, window in enumerate(c.windows) if _a_tap_for_each(window)]
    for start in range(len(found)):
        chain = _chained(c, [c.windows[i] for i in found[start:]])
        if chain is not None:
            windows = list(c.windows)
            for i in found[start:]:
                first = windows[i].taps[windows[i].axis.lo]
                windows[i] = replace(windows[i], axis=Axis(1, 1), taps=(first,))
            size, w, out, *aux = chain
            return replace(
                c,
                windows=tuple(windows),
                channels_out=size,
                out=(*c.out[:2], out),
                w=(c.w[0], w, c.w[2]),
                aux=tuple((*a[:2], step) for a, step in zip(c.aux, aux, strict=True)),
            )
    return c


def _a_tap_for_each(window: Window) -> bool:
    """Whether the axis has one input, which each output reads with a different tap."""
    a = window.axis
    alike = a.stride == 1 and a.dilation == 1 and a.mode == "zeros"
    alike = alike and not window.rings
    return a.size == 1 and a.output > 1 and alike and a.output - 1 <= a.lo <= a.kernel - 1


def _chained(c: Correlation, windows: Sequence[Window]) -> tuple[int, ...] | None:
    """Channels and outputs as one axis: its size, its strides in weight, output and aux."""
    axes = [(c.channels_out, (c.w[1], c.out[2], *(a[2] for a in c.aux)))]
    for window in windows:
        a = window.axis
        step = step_of(window.taps[a.lo - a.output + 1 : a.lo + 1])
        if step is None:
            return None
        axes.append((a.output, (-step, window.out, *window.aux)))
    # Innermost first; an axis of one entry fits anywhere.
    axes = sorted((axis for axis in axes if axis[0] > 1), key=lambda axis: axis[1][1])
    for (size, strides), (_, following) in pairwise(axes):
        if following != tuple(stride * size for stride in strides):
            return None
    return prod(size for size, _ in axes), *axes[0][1]


# Axes and samples ---------------------------------------------------------------------------------


def _merged(c: Correlation, join: bool = True) -> Correlation:
    """Drop axes of one position; with ``join``, merge adjacent pointwise axes."""
    windows = [w for w in c.windows if w.rings or not (w.pointwise and w.axis.size == 1)]
    merged: list[Window] = []
    for window in windows:
        last = merged[-1] if merged else None
        if join and last and window.pointwise and last.pointwise and _adjacent(last, window):
            size = last.axis.size * window.axis.size
            merged[-1] = replace(window, axis=Axis(size, 1), taps=(0,))
        else:
            merged.append(window)
    # The tap offset of a dropped axis (a phase may use one tap of several) moves to another axis.
    shift = sum(w.taps[0] for w in c.windows if w.pointwise)
    merged = [replace(w, taps=(0,)) if w.pointwise else w for w in merged]
    if not merged:
        merged = [Window(Axis(1, 1), 1, 1, (0,), (1,) * len(c.aux))]
    if shift:
        first = merged[0]
        merged[0] = replace(first, taps=tuple(tap + shift for tap in first.taps))
    return replace(c, windows=tuple(merged))


def _adjacent(outer: Window, inner: Window) -> bool:
    if outer.rings or inner.rings:
        return False
    n = inner.axis.size
    pairs = ((outer.x, inner.x), (outer.out, inner.out), *zip(outer.aux, inner.aux, strict=True))
    return all(a == b * n for a, b in pairs)


def _samples_as_positions(c: Correlation) -> Correlation:
    """Turn samples into positions, if they have one each or the problem is all pointwise."""
    if c.outputs == 1:
        return over_samples(c) or c
    (only, *others) = c.windows
    size = only.axis.size
    samples = replace(only, x=c.x[0], out=c.out[0], aux=tuple(a[0] for a in c.aux))
    if others or not only.pointwise or c.batch < 2 or not _adjacent(samples, only):
        return c
    return replace(c, batch=1, windows=(replace(only, axis=Axis(size * c.batch, 1)),))
