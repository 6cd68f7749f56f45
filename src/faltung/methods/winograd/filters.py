"""The weights and the bias of a plan: where they lie, what becomes of them, and when."""

import itertools
from collections.abc import Mapping

import numpy as np

from faltung.codegen.vectors import ELEMENTS
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.parameters import ordered
from faltung.methods.base.step import MISSING, Argument, Arrays, Operand, Step, Work, shifted
from faltung.methods.copies.copy import copy
from faltung.methods.winograd.choice import Choice
from faltung.methods.winograd.filter_transform import WORDS, TransformWeight


def weights(
    c: Correlation, work: Work, arrays: Arrays, chosen: Choice, width: int, point: int
) -> Operand:
    """The transformed weights, in blocks of output channels; ``point``: elements from one point of
    a block to the next.
    """
    blocks = -(-c.channels_out // width)
    recipe, given, barrier = filters(c, work, arrays, chosen, width)
    made = Operand(work.keep("weights", blocks * chosen.points * point * ELEMENTS[c.dtype][1]))
    words: Mapping[str, Argument] = {
        **given,
        "to": made,
        "channels_in": c.channels_in,
        "channels_out": c.channels_out,
        "point": point,
        "block": chosen.points * point,
    }
    work.prepare.append(
        Step(
            recipe,
            recipe.items(blocks, c.channels_in),
            ordered(WORDS, words),
            f"transform weights {chosen}",
            barrier,
        )
    )
    return made


def filters(
    c: Correlation, work: Work, arrays: Arrays, chosen: Choice, width: int
) -> tuple[TransformWeight, dict[str, Argument], bool]:
    """How the weights are read: as they are, or turned by a copy before. Then True."""
    taps = [sum(offsets) for offsets in itertools.product(*(w.taps for w in c.windows))]
    source, (_, lane, channel) = arrays.w, c.w
    order: tuple[int, ...] = ()
    least, turned = min(taps), False
    if lane != 1 and c.channels_out > 1:
        if sorted(taps) == list(range(least, least + c.taps)):
            source = shifted(source, least, c.dtype)
            order = tuple(tap - least for tap in taps)
        else:
            turned = True
            source, taps = _turned(c, work, arrays, taps)
            lane, channel = 1, c.channels_out
    recipe = TransformWeight(c.dtype, chosen.sizes, chosen.vectors, order)
    words: dict[str, Argument] = {
        "w": source,
        "taps": np.array(taps, np.int64),
        "w_block": width * lane,
        "w_channel": channel,
        "w_lane": lane,
    }
    return recipe, words, turned


def _turned(
    c: Correlation, work: Work, arrays: Arrays, taps: list[int]
) -> tuple[Operand, list[int]]:
    """A copy of the weights with output channels as neighbours, and where its taps begin."""
    size = c.channels_in * c.channels_out
    source = Operand(work.keep("turned", c.taps * size * ELEMENTS[c.dtype][1]))
    runs = [
        (tap + ci * c.w[2], (k * c.channels_in + ci) * c.channels_out, c.channels_out)
        for k, tap in enumerate(taps)
        for ci in range(c.channels_in)
    ]
    work.prepare.append(
        copy(c.dtype, arrays.w, source, [(0, 0)], runs, stride=c.w[1], title="turn weights")
    )
    return source, [k * size for k in range(c.taps)]


def padded_bias(c: Correlation, work: Work, arrays: Arrays, blocks: int, width: int) -> Operand:
    """The bias, or zeros, as long as all blocks."""
    bias = Operand(work.keep("bias", blocks * width * ELEMENTS[c.dtype][1]))
    counts = [min(width, c.channels_out - b * width) for b in range(blocks)]
    entries = [(b * width if arrays.bias else MISSING, b * width, counts[b]) for b in range(blocks)]
    work.prepare.append(
        copy(
            c.dtype,
            arrays.bias or arrays.w,
            bias,
            [(0, 0)],
            entries,
            fill=width,
            title="pack bias",
        )
    )
    return bias
