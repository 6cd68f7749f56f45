"""The columns of the tables of grouped convolution, as kernels read them."""

from collections.abc import Sequence

from faltung.codegen.ir import Function

# Columns of the tables: a row has (input, first range, ranges) and for the output and each array of
# the epilogue two places; a range of rows of taps (first entry, how many of the first row alone, of
# both, of the second alone); an entry (input, weights of the first row, of the second); a run of
# tiles (kind, tiles, input) and places as a row. Of patches: the rows of one (first copy, copies,
# first row, rows), a copy (input, place in the patch), a segment (input, zeros before, positions,
# zeros behind, first run, runs).
ROW, RANGE, ENTRY, RUN = 3, 4, 3, 3
PATCH, COPY, SEGMENT = 4, 2, 6


def whole(f: Function, ranges: str, last: str, rows: Sequence[tuple[int, int]]) -> str:
    """Whether no row of taps of a pair lies in the padding; ``rows``: those of ``across_of``."""
    kinds = [2 if first < 0 else int(second >= 0) for first, second in rows]
    made = f.value(f"icmp eq i64 {last}, 1")
    for kind in range(3):
        same = f.value(f"icmp eq i64 {f.word(ranges, 1 + kind)}, {kinds.count(kind)}")
        made = f.value(f"and i1 {made}, {same}")
    return made
