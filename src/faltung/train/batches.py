"""Samples in batches of a few sizes, each of which is compiled once.

The sizes are powers of two, and the most that are predicted at once. A number of samples is cut
into at most two sizes beside the most: the largest that is full, and one for what is left, of which
the last batch is filled up. A sample's bits do not depend on its batch, so that no cut shows.
"""

from collections.abc import Sequence

# What starting a batch costs, in samples: measured on networks of 0.03 to 50 ms a sample, where
# less makes many small batches, and more fills up what could be cut.
STARTING_SAMPLES = 1


def batches(count: int, most: int) -> list[int]:
    """The sizes of batches for so many samples, of at most ``most``; the last may not be full."""
    full, rest = divmod(count, most)
    sizes = [1 << bits for bits in range(most.bit_length())]
    return [most] * full + (_rest(rest, [*sizes, most]) if rest else [])


def _rest(count: int, sizes: Sequence[int]) -> list[int]:
    """One size, or the largest that is full and one for what is left."""
    first = max(size for size in sizes if size <= count)
    cuts = [_even(count, sizes)]
    if count > first:
        cuts.append([first, *_even(count - first, sizes)])
    return min(cuts, key=lambda cut: (_price(cut), sum(cut)))


def _even(count: int, sizes: Sequence[int]) -> list[int]:
    """Batches of one size, of equally good ones the largest."""
    cuts = [[size] * -(-count // size) for size in reversed(sizes)]
    return min(cuts, key=_price)


def _price(cut: Sequence[int]) -> int:
    return sum(cut) + STARTING_SAMPLES * len(cut)
