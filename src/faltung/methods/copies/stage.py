"""Copies an array into the layout that a method needs, padded along the last axis if asked.

The other axes are never padded: methods use tables for them (``addresses``).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from faltung.geometry.axis import Axis
from faltung.methods.base.addresses import borders, offset_columns, scaled
from faltung.methods.base.correlation import Correlation, Strides, Window, contiguous, split_groups
from faltung.methods.base.step import MISSING, Arrays, Operand, Step, Work, shifted
from faltung.methods.copies.copy import copy


def stage_input(
    c: Correlation, work: Work, x: Operand, *, channels_last: bool
) -> tuple[Correlation, Operand]:
    """Copy the input with its last axis padded (or cropped), and read the copy instead."""
    *outer, last = c.windows
    sizes = [w.axis.size for w in outer]
    channels = c.groups * c.channels_in
    if channels_last:
        strides = contiguous((c.batch, channels, *sizes, last.axis.padded), True)
    else:
        # All channels of a row together: whole maps would often be a power of two apart, and a
        # transposing copy that writes one element to each would use few sets of the cache.
        order = (c.batch, *sizes, channels, last.axis.padded)
        batch, *outermost, channel, one = contiguous(order, False)
        strides = (batch, channel, *outermost, one)
    made = replace(c, x=split_groups(strides[:2], c.channels_in))
    return _stage(made, work, x, "input", c, outer, strides)


def stage_output(
    c: Correlation, work: Work, arrays: Arrays, add: Callable[[Correlation, Arrays], None]
) -> None:
    """Let ``add`` store where channels are contiguous, and from there copy once: for methods whose
    vectors of outputs run along channels.
    """
    shape = (c.batch, c.groups * c.channels_out, *(w.axis.output for w in c.windows))
    target = (c.out[0], c.out[2], *(w.out for w in c.windows))
    strides = contiguous(shape, True)
    made = work.borrow("output", prod(shape) * c.item_bytes)
    windows = tuple(replace(w, out=s) for w, s in zip(c.windows, strides[2:], strict=True))
    there = replace(c, windows=windows, out=(strides[0], c.channels_out, 1), out_base=0)
    add(there, replace(arrays, out=made))
    last = shifted(arrays.out, c.out_base, c.dtype)
    title = "channels first"
    work.steps.append(rearrange(c.dtype, shape, made, strides, last, target, title, barrier=True))


def stage_blocks(
    c: Correlation, work: Work, x: Operand, barrier: bool
) -> tuple[Correlation, Operand]:
    """Copy the input group by group, each with channels last and its last axis padded.

    ``barrier``: the step before computes the input.
    """
    *outer, last = c.windows
    sizes = [w.axis.size for w in outer]
    group, channel, *space = contiguous((1, c.channels_in, *sizes, last.axis.padded), True)
    # To the copy, the group is another axis.
    batch = group * c.groups
    to = (batch, channel, group, *space)
    flat = replace(c, groups=1, x=(c.x[0], 0, c.x[2]))
    along = Window(Axis(c.groups, 1), c.x[1], 0, (0,))
    made = replace(c, x=(batch, group, channel))
    name = f"blocks of {c.channels_in}"
    return _stage(made, work, x, name, flat, [along, *outer], to, barrier)


def _stage(
    made: Correlation,
    work: Work,
    x: Operand,
    name: str,
    c: Correlation,
    outer: list[Window],
    strides: Strides,
    barrier: bool = False,
) -> tuple[Correlation, Operand]:
    """Copy the input of ``c`` to the array ``name`` with these strides, and read it in ``made``."""
    *others, last = made.windows
    # Phases of a gradient use the same memory one after another: each waits for the one before.
    used = work.again(name, _bytes(made, last.axis.padded * prod(w.axis.size for w in others)))
    _copy(c, work, x, Operand(name), outer, last, strides, used or barrier)
    space = strides[-len(made.windows) :]
    windows = [replace(w, x=step) for w, step in zip(made.windows, space, strict=True)]
    windows[-1] = replace(windows[-1], axis=last.axis.with_padding)
    return replace(made, windows=tuple(windows), x_base=0), Operand(name)


def stage_grad(c: Correlation, work: Work, grad: Operand) -> tuple[Correlation, Operand]:
    """Copy the output gradient (the ``out`` of ``c``) so that channels are contiguous."""
    flipped = replace(c, channels_in=c.channels_out, x=c.out, x_base=c.out_base)
    windows = [Window(Axis(w.axis.output, 1), w.out, 0, (0,)) for w in c.windows]
    *outer, last = windows
    sizes = [w.axis.size for w in outer]
    strides = contiguous((c.batch, c.groups * c.channels_out, *sizes, last.axis.size), True)
    copied = work.borrow("grad", _bytes(flipped, c.outputs))
    _copy(flipped, work, grad, copied, outer, last, strides)
    made = tuple(replace(w, out=strides[2 + i]) for i, w in enumerate(c.windows))
    out = split_groups(strides[:2], c.channels_out)
    return replace(c, windows=made, out=out, out_base=0), copied


def _bytes(c: Correlation, positions: int) -> int:
    return c.batch * c.groups * c.channels_in * positions * c.item_bytes


def _copy(
    c: Correlation,
    work: Work,
    src: Operand,
    dst: Operand,
    outer: list[Window],
    last: Window,
    strides: Strides,
    barrier: bool = False,
) -> None:
    """Copy the array itself, then the borders of its last axis."""
    axis, channels = last.axis, c.groups * c.channels_in
    src = shifted(src, c.x_base, c.dtype)
    first, stop = max(0, -axis.lo), axis.size + min(0, axis.hi)
    sizes = [w.axis.size for w in outer]
    source = (c.x[0], c.x[2], *(w.x for w in outer), last.x)
    shape = (c.batch, channels, *sizes, stop - first)
    begin = shifted(src, first * last.x, c.dtype)
    to = shifted(dst, (first + axis.lo) * strides[-1], c.dtype)
    step = rearrange(c.dtype, shape, begin, source, to, strides, "stage input", barrier)
    work.steps.append(step)
    positions, read = borders(axis)
    if not len(positions):
        return
    border = np.stack([scaled(read, last.x), (positions + axis.lo) * strides[-1]], axis=1)
    places = offset_columns(*(along[:1] + along[2:-1] for along in (shape, source, strides)))
    each, stride = (channels, c.x[2]) if strides[1] == 1 else (1, 1)
    runs = _joined(
        [
            (s if s == MISSING else s + channel * c.x[2], d + channel * strides[1], each)
            for channel in range(0, channels, each)
            for s, d in border.tolist()
        ]
    )
    work.steps.append(copy(c.dtype, src, dst, places, runs, stride=stride, title="stage borders"))


def _joined(runs: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """The same runs (source, destination, count), with adjacent runs of zeros merged."""
    made: list[tuple[int, int, int]] = []
    for source, target, count in runs:
        last = made[-1] if made else (0, -1, 0)
        if source == last[0] == MISSING and target == last[1] + last[2]:
            made[-1] = (MISSING, last[1], last[2] + count)
        else:
            made.append((source, target, count))
    return made


def rearrange(
    dtype: str,
    shape: Sequence[int],
    src: Operand,
    source: Strides,
    dst: Operand,
    target: Strides,
    title: str,
    barrier: bool = False,
) -> Step:
    """Copy an array with strides ``source`` to one with strides ``target``, both in elements.

    Runs go along the axis that is contiguous in ``dst``, and are enumerated along the axis that is
    contiguous in ``src``, for the copy that transposes; the other axes go through a table.
    """
    sizes, sources, targets = merged(shape, source, target)
    axes = range(len(sizes))
    long = max((i for i in axes if targets[i] == 1), key=lambda i: sizes[i], default=None)
    rest = [i for i in axes if i != long]
    across = max(rest, key=lambda i: (sources[i] == 1 and sizes[i] > 1, sizes[i]))
    outer = [i for i in rest if i != across]
    count, stride = (1, 1) if long is None else (sizes[long], sources[long])
    places = offset_columns(*([along[i] for i in outer] for along in (sizes, sources, targets)))
    j = np.arange(sizes[across], dtype=np.int64)
    runs = np.stack([j * sources[across], j * targets[across], np.full_like(j, count)], axis=1)
    return copy(dtype, src, dst, places, runs, stride=stride, title=title, barrier=barrier)


def merged(
    shape: Sequence[int], source: Strides, target: Strides
) -> tuple[list[int], list[int], list[int]]:
    """The same copy with fewer axes: those that are adjacent in both arrays are merged.

    One axis with a single entry stays in front, so that there are at least two.
    """
    order = sorted(range(len(shape)), key=lambda i: (-abs(target[i]), -shape[i]))
    made: list[list[int]] = [[1, 0, 0]]
    for i in order:
        size, a, b = shape[i], source[i], target[i]
        if size == 1:
            continue
        last = made[-1]
        if len(made) > 1 and last[1] == a * size and last[2] == b * size:
            made[-1] = [last[0] * size, a, b]
        else:
            made.append([size, a, b])
    if len(made) == 1:
        made.append([1, 1, 1])
    sizes, sources, targets = ([row[k] for row in made] for k in range(3))
    return sizes, sources, targets
