"""The tables of a pooling: every target once, reading what it should; small, and at once."""

from itertools import product
from math import prod

import numpy as np
import pytest
from grid import examples, grid
from hypothesis import given
from pools import POOLS, random_pools

from faltung.geometry.pool import PoolSpec, pool_spec
from faltung.methods.pool.pool import _blocks
from faltung.methods.pool.tables import (
    AxisReads,
    Progression,
    backward,
    counting,
    forward,
    tables,
)

Reads = dict[int, tuple[list[tuple[int, int]], int]]


def walked(axes: list[AxisReads]) -> Reads:
    """Target -> ((source, tap) pairs in order, divisor), as the kernel goes over the tables."""
    t, last = tables(axes, 4), axes[-1]
    found: Reads = {}
    for row, target, tap, first, stop, divisor in t.rows.tolist():
        for segment in t.segments.tolist():
            for numbers in t.progressions[slice(*segment)].tolist():
                p = Progression(*numbers)
                for i in range(p.count):
                    begin = row + p.source + i * p.advance
                    number = tap + p.tap + i * p.tap_advance
                    pairs = [
                        (begin + source + k * last.source_step, number + more + k * last.tap_step)
                        for source, more in t.entries[first:stop].tolist()
                        for k in range(p.taps)
                    ]
                    at = target + p.target + i * p.step
                    assert at not in found
                    found[at] = pairs, divisor * p.divisor
    return found


def flat(position: tuple[int, ...], sizes: tuple[int, ...]) -> int:
    number = 0
    for at, size in zip(position, sizes, strict=True):
        number = number * size + at
    return number


def defined(spec: PoolSpec) -> list[tuple[int, int, int]]:
    """Every (output, input, tap) where the window of the output meets the input."""
    found = []
    for output in product(*map(range, spec.output)):
        for tap in product(*map(range, spec.kernel)):
            where = tuple(
                axis.source(o * axis.stride - axis.lo + k * axis.dilation)
                for axis, o, k in zip(spec.axes, output, tap, strict=True)
            )
            if None not in where:
                numbers = flat(output, spec.output), flat(where, spec.size)  # type: ignore[arg-type]
                found.append((*numbers, flat(tap, spec.kernel)))
    return found


def check(spec: PoolSpec) -> None:
    there, back = walked(forward(spec)), walked(backward(spec))
    assert set(there) == set(range(prod(spec.output)))
    assert set(back) == set(range(prod(spec.size)))
    want: dict[int, list[tuple[int, int]]] = {o: [] for o in there}
    wanted_back: dict[int, list[tuple[int, int]]] = {i: [] for i in back}
    for output, position, tap in defined(spec):
        want[output].append((position, tap))
        wanted_back[position].append((output, tap))
    for output, (pairs, divisor) in there.items():
        assert pairs == want[output]  # taps in ascending order
        at = np.unravel_index(output, spec.output)
        assert divisor == prod(spec.counted(dim, int(o)) for dim, o in enumerate(at))
    for position, (pairs, divisor) in back.items():
        assert sorted(pairs) == sorted(wanted_back[position])
        assert divisor == 1
    alone = walked(counting(spec))
    assert alone == {o: ([(o, 0)], divisor) for o, (_, divisor) in there.items()}


@grid(spec=POOLS)
def test_table(spec: PoolSpec) -> None:
    check(spec)


@examples(4)
@given(random_pools(1_000))
def test_random_problems(spec: PoolSpec) -> None:
    check(spec)


@pytest.mark.parametrize(
    ("sizes", "options", "kilobytes"),
    [
        ((100_000,), {"kernel": 2}, 64),
        ((1_000_000,), {"kernel": 3, "stride": 2, "padding": 1}, 400),
        ((1_000_000,), {}, 400),
        ((100_000,), {"kernel": 1000}, 64),
        ((100_000,), {"kernel": 1000, "stride": 1, "padding": 499}, 400),
        ((224, 224), {"kernel": 3, "stride": 2, "padding": 1}, 32),
        ((224, 224), {}, 32),
        ((16, 112, 112), {"kernel": 2}, 128),
        ((30, 30, 30), {"kernel": 15, "stride": 1, "padding": 7}, 256),
        ((10**6,), {"kernel": 2, "stride": 10**30, "dilation": 3}, 400),
    ],
)
def test_tables_are_small(
    sizes: tuple[int, ...], options: dict[str, object], kilobytes: int
) -> None:
    spec = pool_spec((1, 8, *sizes), **options)  # type: ignore[arg-type]
    for reads in (forward, backward, counting):
        t = tables(reads(spec), 512)
        arrays = t.rows, t.entries, t.segments, t.progressions
        assert sum(array.nbytes for array in arrays) <= kilobytes * 1024


def test_segments_are_even() -> None:
    t = tables(forward(pool_spec((1, 1, 1000), 3, stride=1, padding=1)), 64)
    lengths = [int(t.progressions[slice(*cut), 2].sum()) for cut in t.segments.tolist()]
    assert len(lengths) == 16
    assert sum(lengths) == 1000
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_blocks_are_whole_vectors(lanes: int) -> None:
    for channels, wanted, room in product(
        [1, 7, 8, 31, 64, 100, 1000, 1025], [0, 1, 3, 64], [None, 2 * lanes, 200]
    ):
        blocks, block = _blocks(channels, lanes, wanted, room)
        last = channels - (blocks - 1) * block
        assert blocks >= 1
        assert 0 < last < block + lanes
        if blocks > 1:
            assert block % lanes == 0
            assert last >= lanes
            assert room is not None or blocks <= wanted
        if room is not None and channels >= lanes:  # with a place for a vector that is moved back
            assert max(block, -(-last // lanes) * lanes) <= room
