"""Which parts of which chunks make a block: against the rule of the border, entry by entry."""

from itertools import accumulate

from grid import examples
from hypothesis import given
from hypothesis import strategies as st

from faltung.dask.halo import runs
from faltung.geometry.border import REPEATING, Border

CHUNKS = st.lists(st.integers(0, 6), min_size=1, max_size=5).filter(any)


@examples(200)
@given(CHUNKS, st.integers(-30, 40), st.integers(0, 50), st.sampled_from(["constant", *REPEATING]))
def test_every_position(chunks: list[int], start: int, count: int, mode: str) -> None:
    border, size = Border(mode), sum(chunks)
    firsts = [0, *accumulate(chunks)]
    found = [-1] * count
    for run in runs(start, start + count, tuple(chunks), border):
        entries = list(range(firsts[run.chunk], firsts[run.chunk + 1]))[run.source]
        assert found[run.target] == [-1] * run.count  # nothing is written twice
        found[run.target] = entries * (1 if run.step else run.count)
    assert found == border.sources(range(start, start + count), size)
