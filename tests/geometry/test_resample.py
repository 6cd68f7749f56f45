"""Tables: rows, adjoints, composition; moves as NumPy makes them; what is no table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faltung.geometry.resample import (
    OUTSIDE,
    Table,
    averaged,
    binomial,
    filtered,
    flipped,
    padded,
    repeated,
    rolled,
    selected,
    table,
    tiled,
)

NUMPY = {"reflect": "reflect", "symmetric": "symmetric", "replicate": "edge", "circular": "wrap"}
X = np.random.default_rng(0).normal(size=7)


def dense(t: Table) -> np.ndarray:
    made = np.zeros((t.output, t.size))
    for o in range(t.output):
        for index, weight in t.row(o):
            made[o, index] += weight
    return made


def of(t: Table) -> np.ndarray:
    return dense(t) @ X


@st.composite
def tables(draw: st.DrawFn, size: int | None = None) -> Table:
    n = draw(st.integers(1, 6)) if size is None else size
    tap = st.tuples(st.integers(0, n - 1), st.integers(-3, 3).map(float))
    return table(n, draw(st.lists(st.lists(tap, max_size=4), max_size=6)))


@given(tables())
def test_the_adjoint_is_the_transposed_matrix(t: Table) -> None:
    np.testing.assert_array_equal(dense(t.transposed), dense(t).T)
    assert t.transposed.transposed == t


@given(st.data())
def test_one_after_another_is_the_product(data: st.DataObject) -> None:
    first = data.draw(tables())
    second = data.draw(tables(first.output)) if first.output else table(0, [[], []])
    np.testing.assert_array_equal(dense(second.after(first)), dense(second) @ dense(first))


@given(tables())
def test_rows_are_sorted_and_without_repetition(t: Table) -> None:
    for row in t.rows():
        places = [index for index, _ in row]
        assert places == sorted(set(places))
        assert all(weight for _, weight in row)
    assert table(t.size, t.rows()) == t
    assert hash(table(t.size, t.rows())) == hash(t)


def test_what_a_table_says_of_itself() -> None:
    assert flipped(1).identity and selected(3, range(3)).identity
    assert not selected(4, range(3)).identity and not padded(3, 0, 1).identity
    assert flipped(3).copies and padded(3, 1, 1).copies and not averaged(4, 2).copies
    assert padded(3, 1, 1).empty and not flipped(3).empty
    assert averaged(7, 3).taps == 3
    assert repr(averaged(7, 3)) == "<table 7 -> 3, up to 3 taps>"


def test_moves_are_those_of_numpy() -> None:
    np.testing.assert_array_equal(of(flipped(7)), X[::-1])
    for shift in (-9, -1, 0, 2, 7):
        np.testing.assert_array_equal(of(rolled(7, shift)), np.roll(X, shift))
    np.testing.assert_array_equal(of(tiled(7, 3)), np.tile(X, 3))
    np.testing.assert_array_equal(of(repeated(7, 3)), np.repeat(X, 3))
    np.testing.assert_array_equal(of(selected(7, [3, None, 3, 0])), [X[3], 0, X[3], X[0]])


@pytest.mark.parametrize("mode", OUTSIDE)
@pytest.mark.parametrize("ends", [(0, 0), (1, 2), (6, 7), (20, 0), (0, 31)])
def test_paddings_are_those_of_numpy(mode: str, ends: tuple[int, int]) -> None:
    """As far as one likes."""
    want = np.pad(X, ends, NUMPY.get(mode, "constant"))  # type: ignore[call-overload]
    np.testing.assert_array_equal(of(padded(7, *ends, mode)), want)
    one = np.pad(X[:1], ends, NUMPY.get(mode, "constant"))  # type: ignore[call-overload]
    np.testing.assert_array_equal(dense(padded(1, *ends, mode)) @ X[:1], one)


def test_paddings_that_take_away() -> None:
    np.testing.assert_array_equal(of(padded(7, -2, -1)), X[2:-1])
    np.testing.assert_array_equal(of(padded(7, -2, 3, "reflect")), np.pad(X[2:], (0, 3), "reflect"))
    assert padded(7, -4, -3).output == 0


def test_means_of_windows() -> None:
    np.testing.assert_allclose(of(averaged(7, 1)), [X.mean()])
    np.testing.assert_allclose(of(averaged(7, 3)), [X[:3].mean(), X[2:5].mean(), X[4:].mean()])
    np.testing.assert_allclose(of(averaged(7, 7)), X)
    np.testing.assert_allclose(of(averaged(7, 14)), np.repeat(X, 2))


def test_filters() -> None:
    np.testing.assert_allclose(
        of(filtered(7, [1, 2, 3], lo=1, hi=1, mode="zeros")), np.convolve(X, [3, 2, 1], "same")
    )
    wide = np.pad(X, 2, "reflect")
    want = [wide[i : i + 5] @ [1, 2, 3, 4, 5] for i in (0, 2, 4, 6)]
    got = of(filtered(7, [1, 2, 3, 4, 5], stride=2, lo=2, hi=2, mode="reflect"))
    np.testing.assert_allclose(got, want)
    assert binomial(1) == (1.0,) and binomial(3) == (0.25, 0.5, 0.25)


REFUSED = {
    "indices: must be within the axis, 0 to 2": lambda: table(3, [[(3, 1.0)]]),
    "indices: must be within": lambda: selected(3, [-1]),
    "starts: must not descend": lambda: Table(3, (0, 2, 1, 2), (0, 1), (1.0, 1.0)),
    "starts: must begin with 0": lambda: Table(3, (0, 1), (0, 1), (1.0, 1.0)),
    "a weight for each tap": lambda: Table(3, (0, 2), (0, 1), (1.0,)),
    "size=2: must be the 3": lambda: flipped(2).after(flipped(3)),
    r"padding=\(-4, -4\): leaves nothing": lambda: padded(7, -4, -4),
    "mode='mirror': must be one of zeros, ": lambda: padded(7, 1, 1, "mirror"),
    "must not be more than the padded axis": lambda: filtered(2, [1, 1, 1], mode="zeros"),
    "is too long to be resampled": lambda: repeated(1, 1 << 40),
}


@pytest.mark.parametrize("text", list(REFUSED)[:-1])
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        REFUSED[text]()


def test_no_table_is_longer_than_any_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faltung.geometry.resample.MOST_TAPS", 1000)
    with pytest.raises(MemoryError, match="is too long to be resampled"):
        repeated(1, 1 << 40)
