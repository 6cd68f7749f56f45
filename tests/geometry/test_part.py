"""Parts of axes against the axes themselves, position by position."""

from fractions import Fraction

from grid import examples
from hypothesis import assume, given
from hypothesis import strategies as st

from cases import random_axes
from faltung.geometry import MODES, Axis
from faltung.geometry import part as parts
from faltung.geometry.interpolate import interpolated
from faltung.geometry.resample import Table, filtered, padded, repeated, table

AXES = random_axes(1, MODES)
ZEROS = random_axes(1, ("zeros",))


def spans(size: int) -> st.SearchStrategy[tuple[int, int]]:
    pairs = st.tuples(st.integers(0, size - 1), st.integers(1, size))
    return pairs.map(lambda pair: (min(pair[0], pair[1] - 1), max(pair[0] + 1, pair[1])))


def taps(axis: Axis, o: int) -> list[int]:
    return [o * axis.stride - axis.lo + k * axis.dilation for k in range(axis.kernel)]


@given(AXES, st.data())
@examples(4)
def test_reads_are_the_sources_of_all_taps(axis: Axis, data: st.DataObject) -> None:
    span = data.draw(spans(axis.output))
    first, stop = axis.input_range(*span)
    seen = {axis.source(i) for i in range(first, stop)} - {None}
    found = parts.reads(axis, span)
    assert 0 <= found[0] < found[1] <= axis.size
    if seen:
        assert found == (min(seen), max(seen) + 1)  # type: ignore[type-var, operator]
    assert parts.pads(axis, span) == (min(first, axis.size - stop) < 0)


@given(ZEROS, st.data())
@examples(4)
def test_a_part_reads_what_the_whole_reads(axis: Axis, data: st.DataObject) -> None:
    span = data.draw(spans(axis.output))
    reads = parts.reads(axis, span)
    # Others may need more of the same array: what is not read is cropped.
    wide = data.draw(st.integers(0, reads[0])), data.draw(st.integers(reads[1], axis.size))
    made = parts.part(axis, span, wide)
    assert made.output == span[1] - span[0] and made.size == wide[1] - wide[0]
    for o in range(*span):
        here = [made.source(i) for i in taps(made, o - span[0])]
        there = [axis.source(i) for i in taps(axis, o)]
        for a, b in zip(here, there, strict=True):
            assert (None if a is None else a + wide[0]) == b


@given(AXES, st.data())
@examples(4)
def test_padded_sources(axis: Axis, data: st.DataObject) -> None:
    span = data.draw(spans(axis.output))
    first, _ = axis.input_range(*span)
    found = parts.padded_sources(axis, span)
    for o in range(*span):
        assert [found[i - first] for i in taps(axis, o)] == [axis.source(i) for i in taps(axis, o)]


def readers(axis: Axis, i: int) -> set[tuple[int, int]]:
    """(output, tap) of all that read an entry."""
    every = ((o, k) for o in range(axis.output) for k in range(axis.kernel))
    return {(o, k) for o, k in every if taps(axis, o)[k] == i}


@given(ZEROS, st.data())
@examples(4)
def test_a_part_of_the_transpose_reads_what_the_whole_reads(
    axis: Axis, data: st.DataObject
) -> None:
    assume(axis.lo >= 0 and axis.hi >= 0)
    span = data.draw(spans(axis.size))
    given = parts.reads_transposed(axis, span)
    made = parts.part_transposed(axis, span, given)
    assert made.size == span[1] - span[0] and made.output == given[1] - given[0]
    for i in range(*span):
        here = {(o + given[0], k) for o, k in readers(made, i - span[0])}
        assert here == readers(axis, i)


def tables() -> list[Table]:
    return [
        repeated(9, 3),
        padded(9, 2, -1, "reflect"),
        padded(9, 2, 3),
        interpolated("linear", 9, 14),
        interpolated("cubic", 9, 30),
        filtered(9, (1, 2, 1), stride=2, lo=1, hi=1, mode="zeros"),
        table(4, [[], [(3, 2.0)], []]),
    ]


@given(st.sampled_from(tables()), st.data())
@examples(4)
def test_a_part_of_a_table_has_its_rows(whole: Table, data: st.DataObject) -> None:
    span = data.draw(spans(whole.output))
    given = parts.reads_table(whole, span)
    made = parts.part_table(whole, span, given)
    assert made.size == given[1] - given[0]
    moved = [[(i + given[0], w) for i, w in row] for row in made.rows()]
    assert moved == whole.rows()[span[0] : span[1]]


def test_slopes() -> None:
    assert parts.slope(repeated(50, 3)) == (1, 3)
    assert parts.slope(padded(50, 7, -2)) == (1, 1)
    assert parts.slope(interpolated("linear", 50, 100, scale=2.0)) == (1, 2)
    assert parts.slope(filtered(50, (1, 1), stride=2, mode="zeros")) == (2, 1)
    assert parts.slope(interpolated("linear", 97, 100)) is None


def test_spans() -> None:
    assert parts.hull([(3, 5), (1, 2)]) == (1, 5)
    assert parts.aligned((5, 9), 4, 100) == (4, 12)
    assert parts.aligned((5, 9), 4, 10) == (4, 10)
    assert Fraction(*(parts.slope(repeated(40, 4)) or (0, 1))) == Fraction(1, 4)
