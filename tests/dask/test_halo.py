"""Which parts of which chunks make a block: against the rule of the border, entry by entry."""

from itertools import accumulate

from grid import examples
from hypothesis import given
from hypothesis import strategies as st

from faltung.dask.halo import runs
from faltung.geometry.border import REPEATING, Border

CHUNKS = st.lists(st.integers(0, 6), min_size=1, max_size=5).filter(any)


@examples(100)
@given(CHUNKS, st.integers(-30, 40), st.integers(0, 50), st.sampled_from(["constant", *REPEATING]))
def test_every_position(chunks: list[int], start: int, count: int, mode: str) -> None:
    border, size = Border(mode), sum(chunks)
    firsts = [0, *accumulate(chunks)]
    found = [-1] * count
    for run in runs(start, start + count, tuple(chunks), border):
        entries = list(range(firsts[run.chunk], firsts[run.chunk + 1]))
        read, places = entries[run.source], range(count)[run.target]
        assert sorted(set(read)) == entries[run.start : run.stop]
        assert run.share == (run.stop - run.start) / len(entries)
        assert found[run.target] == [-1] * len(places)  # nothing is written twice
        assert len(read) in (1, len(places))
        found[run.target] = read * (len(places) // len(read))
    assert found == border.sources(range(start, start + count), size)
