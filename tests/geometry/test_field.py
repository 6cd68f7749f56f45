import pytest
from grid import examples
from hypothesis import given
from hypothesis import strategies as st

from cases import random_axes
from faltung.geometry import MODES, Axis, Field, join, receptive_field


def seen(chain: list[Axis], unit: int) -> set[int]:
    """The input positions, padding included, that reach `unit` of the last layer."""
    units = {unit}
    for axis in reversed(chain):
        units = {
            o * axis.stride + k * axis.dilation - axis.lo for o in units for k in range(axis.kernel)
        }
    return units


@st.composite
def chains(draw: st.DrawFn) -> list[Axis]:
    chain = [draw(random_axes(2, MODES))]
    for _ in range(draw(st.integers(0, 3))):
        size, kernel, stride = chain[-1].output, draw(st.integers(1, 4)), draw(st.integers(1, 3))
        dilation = draw(st.integers(1, 3))
        need = max(0, dilation * (kernel - 1) + 1 - size)
        lo = draw(st.integers(0, need + 3))
        chain.append(Axis(size, kernel, stride, dilation, lo, max(0, need - lo)))
    return chain


@given(chains(), st.integers(0, 5))
@examples(4)
def test_a_chain_by_counting(chain: list[Axis], unit: int) -> None:
    field = receptive_field(chain)
    positions = seen(chain, unit)
    assert field.interval(unit) == (min(positions), max(positions) + 1)
    assert field.size == max(positions) + 1 - min(positions)
    assert field.start + unit * field.jump == (min(positions) + max(positions) + 1) / 2


@given(chains(), st.integers(0, 3))
@examples(4)
def test_a_chain_in_two_parts(chain: list[Axis], cut: int) -> None:
    first = receptive_field(chain[:cut])
    assert receptive_field(chain[cut:], first) == receptive_field(chain)


@given(random_axes(2, ("zeros",)), st.integers(1, 3), st.integers(1, 9))
@examples(4)
def test_back_through_a_transpose_by_counting(axis: Axis, times: int, size: int) -> None:
    before = Field(size, axis.stride * times, size / 2)
    field = before.back(axis)
    reach = []
    for o in range(axis.stride * 4):  # every phase; in the middle, where all taps have a unit
        units = [
            (o + axis.lo - k * axis.dilation) // axis.stride
            for k in range(axis.kernel)
            if (o + axis.lo - k * axis.dilation) % axis.stride == 0
        ]
        for unit in units:
            first, stop = before.interval(unit)
            reach.append((first - o * field.jump, stop - o * field.jump))
    assert field.jump == times
    assert field.interval(0) == (min(reach)[0], max(stop for _, stop in reach))


def test_known_fields() -> None:
    assert receptive_field([]) == Field(1, 1, 0.5)
    assert receptive_field([Axis(9, 3, lo=1, hi=1)]) == Field(3, 1, 0.5)
    two = [Axis(224, 7, 2, lo=3, hi=3), Axis(112, 3, 2, lo=1, hi=1)]  # ResNet: stem and pool
    assert receptive_field(two) == Field(11, 4, 0.5)
    assert receptive_field(two).interval(0) == (-5, 6)
    wave = [Axis(999, 2, dilation=2**i, lo=2**i) for i in range(10)]  # WaveNet: 1024, all before
    assert receptive_field(wave).interval(500) == (500 - 1023, 501)


def test_branches() -> None:
    # Inception: 1x1, 3x3 and 5x5 side by side, then a join.
    branches = [receptive_field([Axis(9, k, lo=k // 2, hi=k // 2)]) for k in (1, 3, 5)]
    assert join(branches) == Field(5, 1, 0.5)
    uneven = [receptive_field([Axis(9, 3, lo=2)]), receptive_field([Axis(9, 2, hi=1)])]
    assert join(uneven) == Field(4, 1, 0.0)
    assert join(uneven).interval(3) == (1, 5)
    assert join([Field()]) == Field()


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"size=8: must be the output size .* before, 9$"):
        receptive_field([Axis(9, 3, lo=1, hi=1), Axis(8, 3)])
    with pytest.raises(ValueError, match=r"jumps=\[1, 2\]"):
        join([Field(), Field(jump=2)])
    with pytest.raises(ValueError, match=r"jumps=\[\]"):
        join([])
    with pytest.raises(ValueError, match=r"^stride=2: must divide the jump, 3, to be transposed$"):
        Field(1, 3).back(Axis(9, 3, 2))
