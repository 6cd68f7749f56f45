"""Memory placed by lifetime: what is alive at the same time never overlaps."""

from hypothesis import given
from hypothesis import strategies as st

from faltung.program.arena import Lifetime, placed
from faltung.runtime.buffers import ALIGNMENT

STEPS = 12


@st.composite
def spans(draw: st.DrawFn) -> dict[str, Lifetime]:
    found = {}
    for number in range(draw(st.integers(0, 25))):
        first = draw(st.integers(0, STEPS))
        last = draw(st.integers(first, STEPS))
        size = draw(st.one_of(st.integers(0, 300), st.integers(0, 1 << 40)))
        found[f"b{number}"] = Lifetime(size, first, last)
    return found


def rounded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


@given(spans())
def test_what_lives_together_lies_apart(found: dict[str, Lifetime]) -> None:
    places, total = placed(found)
    assert places.keys() == found.keys()
    for name, span in found.items():
        start = places[name]
        assert start >= 0
        assert start % ALIGNMENT == 0
        assert start + span.size <= total
        for other, beside in found.items():
            if other != name and span.first <= beside.last and beside.first <= span.last:
                there = places[other]
                assert start + rounded(span.size) <= there or there + rounded(beside.size) <= start


@given(spans())
def test_the_bytes_are_between_what_must_be_and_what_may_be(found: dict[str, Lifetime]) -> None:
    _, total = placed(found)
    alive = [
        sum(rounded(s.size) for s in found.values() if s.first <= step <= s.last)
        for step in range(STEPS + 1)
    ]
    assert max(alive) <= total <= sum(rounded(s.size) for s in found.values())


@given(spans())
def test_places_follow_from_sizes_and_lifetimes_alone(found: dict[str, Lifetime]) -> None:
    again = {name: Lifetime(s.size, s.first, s.last) for name, s in found.items()}
    assert placed(found) == placed(again)


def test_a_chain_needs_room_for_two() -> None:
    """Each layer reads the one before."""
    chain = {f"y{i}": Lifetime(1000, i, i + 1) for i in range(50)}
    places, total = placed(chain)
    assert total == 2 * 1024
    assert set(places.values()) == {0, 1024}


def test_gaps_are_filled() -> None:
    """Between two that live long, where a third has ended."""
    found = {
        "a": Lifetime(640, 0, 9),
        "b": Lifetime(512, 0, 3),
        "c": Lifetime(448, 0, 9),
        "d": Lifetime(256, 5, 9),
        "e": Lifetime(256, 5, 9),
    }
    places, total = placed(found)
    assert total == 640 + 512 + 448
    assert sorted(places[name] for name in "de") == [640, 896]


def test_nothing_to_place() -> None:
    assert placed({}) == ({}, 0)
    assert placed({"a": Lifetime(0, 0, 0)}) == ({"a": 0}, 0)
