"""Symbols to bits and back, and a decoder in whole numbers that reads the same."""

import numpy as np
import pytest
from grid import examples
from hypothesis import given
from hypothesis import strategies as st

from faltung.formats.symbols import MOST, TOTAL, Reader, Writer, costs, shares, stored

pytest.importorskip("constriction")


def skewed(seed: int, symbols: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.minimum(rng.geometric(min(0.9, 3 / symbols), count) - 1, symbols - 1)


def table_of(symbols: np.ndarray, size: int) -> bytes:
    return stored(np.bincount(symbols, minlength=size))


@pytest.mark.parametrize("counts", [[1], [0, 3], [15, 16, 17, 31, 32, 33], [1, 10**12], [1] * 256])
def test_tables(counts: list[int]) -> None:
    table = stored(np.array(counts))
    made = shares(table)
    assert made.sum() == TOTAL and len(table) == len(counts)
    assert all((share > 0) == (count > 0) for share, count in zip(made, counts, strict=True))
    for count, share in zip(counts, made, strict=True):
        if sum(counts) < 1 << 19:
            assert abs(share - TOTAL * count / sum(counts)) <= 0.04 * share + 1 + 0.04 * TOTAL


def test_a_table_of_nothing_is_refused() -> None:
    for table in (b"", bytes(3), bytes([1]) * (MOST + 1)):
        with pytest.raises(ValueError, match="of which none occurs"):
            shares(table)


@examples(20)
@given(st.integers(1, MOST), st.integers(0, 3000), st.integers(0, 99))
def test_there_and_back_at_the_price_of_the_entropy(size: int, count: int, seed: int) -> None:
    first, second = skewed(seed, size, count), skewed(seed + 1, 3, count // 2)
    tables = [table_of(np.append(first, size - 1), size), table_of(np.append(second, 2), 3)]
    writer = Writer()
    writer.write(first, tables[0])
    writer.write(second, tables[1])
    reader = Reader(writer.data())
    np.testing.assert_array_equal(reader.read(count, tables[0]), first)
    np.testing.assert_array_equal(reader.read(count // 2, tables[1]), second)
    bits = costs(tables[0])[first].sum() + costs(tables[1])[second].sum()
    assert abs(8 * len(writer.data()) - bits) <= 64 + 0.01 * bits


def decoded(words: list[int], left: list[int], count: int) -> list[int]:
    """A range decoder of 64 bits and words of 32, in Python's whole numbers. ``left``: where each
    symbol begins, of 2^24.
    """
    full, following = (1 << 64) - 1, iter(words)
    point = (next(following, 0) << 32) | next(following, 0)
    lower, width, made = 0, full, []
    for _ in range(count):
        scale = width >> 24
        quantile = ((point - lower) & full) // scale
        symbol = max(i for i, start in enumerate(left[:-1]) if start <= quantile)
        made.append(symbol)
        lower = (lower + scale * left[symbol]) & full
        width = scale * (left[symbol + 1] - left[symbol])
        if width < 1 << 32:
            point = ((point << 32) | next(following, 0)) & full
            lower, width = (lower << 32) & full, (width << 32) & full
    return made


@pytest.mark.parametrize("size", [2, 5, 16, 256])
def test_the_coder_works_in_whole_numbers(size: int) -> None:
    symbols = skewed(7, size, 2000)
    table = table_of(symbols, size)
    writer = Writer()
    writer.write(symbols, table)
    words = np.frombuffer(writer.data(), "<u4").tolist()
    free, sums = (1 << 24) - size, np.cumsum([0, *shares(table)[:-1]]).tolist()
    left = [(each * free >> 16) + i for i, each in enumerate(sums)] + [1 << 24]
    assert decoded(words, left, len(symbols)) == symbols.tolist()


@examples(15)
@given(st.binary(max_size=40), st.binary(min_size=1, max_size=20), st.integers(0, 500))
def test_bits_that_nobody_wrote(data: bytes, table: bytes, count: int) -> None:
    try:
        found = Reader(data).read(count, table)
    except ValueError as error:
        assert "none occurs" in str(error) or "not those of its tables" in str(error)
    else:
        assert len(found) == count and found.max(initial=0) < len(table)
