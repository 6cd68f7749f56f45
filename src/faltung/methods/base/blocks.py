"""Channels in blocks: whole ones, then one with what is left."""

from collections.abc import Iterator

from faltung.geometry.record import dataclass
from faltung.methods.base.addresses import offsets
from faltung.methods.base.step import Table


@dataclass(frozen=True, slots=True)
class ChannelBlocks:
    """Channels from ``start`` on, in ``count`` blocks of ``channels``; ``width``: those of the
    vectors that hold a block.
    """

    start: int
    count: int
    channels: int
    width: int

    def places(self, groups: int, group: int, channel: int) -> Table:
        """Where the blocks of all groups begin, ``group`` and ``channel`` elements apart."""
        blocks = offsets((groups, self.count), (group, self.channels * channel))
        return self.start * channel + blocks


def channel_blocks(channels: int, most: int, lanes: int = 1) -> Iterator[ChannelBlocks]:
    """Whole blocks of ``most`` channels, then one with what is left; ``lanes`` in a vector."""
    whole, rest = divmod(channels, most)
    for start, count, size in ((0, whole, most), (whole * most, 1, rest)):
        if count and size:
            yield ChannelBlocks(start, count, size, -(-size // lanes) * lanes)
