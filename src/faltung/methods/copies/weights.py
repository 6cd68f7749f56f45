"""Copies between the weight and its order in blocks: (group, block, tap, row, channel of a block).

The channels of a block are those along vectors, rows are the channels on the other side.
"""

import numpy as np

from faltung.methods.base.addresses import sums
from faltung.methods.base.blocks import ChannelBlocks
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.step import Operand, Step, Table
from faltung.methods.copies.copy import copy


def weight_blocks(
    c: Correlation, blocks: ChannelBlocks, along: int, across: int, rows: int
) -> tuple[Table, Table]:
    """The tables of a copy from the weight to that order; along, across: elements of the weight
    between channels of a block, and between rows.
    """
    tap, begin = rows * blocks.width, blocks.places(c.groups, c.w[0], along)
    outer = np.stack([begin, np.arange(len(begin)) * c.taps * tap], axis=1)
    taps = np.stack([c.tap_offsets, np.arange(c.taps) * tap], axis=1)
    inner = np.outer(np.arange(rows), (across, blocks.width))
    return outer, np.insert(sums([taps, inner], 2), 2, blocks.channels, axis=1)


def unpack_weight_grad(
    c: Correlation,
    packed: Operand,
    w: Operand,
    blocks: ChannelBlocks,
    along: int,
    across: int,
    rows: int,
) -> Step:
    """The step from sums in that order to the weight's own."""
    outer, runs = weight_blocks(c, blocks, along, across, rows)
    title = "unpack weight gradient"
    outer, runs = outer[:, ::-1], runs[:, [1, 0, 2]]
    return copy(c.dtype, packed, w, outer, runs, stride=along, title=title, barrier=True, back=True)
