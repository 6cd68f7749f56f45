"""The rule by which networks shrink."""

import pytest

from faltung.nets.small_inputs import kept, scaled


@pytest.mark.parametrize(
    ("space", "count"),
    [
        ((224, 224), 5),
        ((112, 200), 5),
        ((128, 128), 5),
        ((96, 500), 4),
        ((64, 64), 4),
        ((32, 32), 3),
        ((28, 28), 3),
        ((16, 16), 2),
        ((15, 15), 3),
        ((8, 8), 2),
        ((5, 5), 1),
        ((3, 90), 1),
        ((2,), 0),
        ((1, 1, 1), 0),
    ],
)
def test_the_first_halvings_go(space: tuple[int, ...], count: int) -> None:
    assert kept(space, 5) == (False,) * (5 - count) + (True,) * count
    assert kept(space, 1) == (count > 0,)
    assert kept(space, 5, 2) == (False, False, False, True, True)


def test_widths() -> None:
    assert [scaled(c, 1) for c in (3, 16, 112)] == [3, 16, 112]
    assert [scaled(c, 0.25) for c in (16, 24, 64, 112)] == [8, 8, 16, 32]
    assert scaled(64, 1.5) == 96
