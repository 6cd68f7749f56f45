"""Borders against numpy.pad, which continues an array by any width."""

import numpy as np
import pytest

from faltung.geometry.border import Border
from faltung.geometry.line import Line

NUMPY = {
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
    "circular": "wrap",
}


@pytest.mark.parametrize("mode", NUMPY)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("width", [0, 1, 2, 6, 7, 8, 30])
def test_sources_are_those_of_numpy_pad(mode: str, size: int, width: int) -> None:
    positions = range(-width, size + width)
    expected = np.pad(np.arange(size), width, mode=NUMPY[mode])  # type: ignore[call-overload]
    assert Border(mode).sources(positions, size) == expected.tolist()


def test_a_constant_is_no_entry() -> None:
    assert Border("constant", 3.0).sources(range(-2, 5), 3) == [-1, -1, 0, 1, 2, -1, -1]


def test_a_line_says_what_it_reads_behind_its_output() -> None:
    border = Border("replicate")
    assert Line(0, "max", 4, 2, border).after == 1
    assert Line(0, "max", 1, -3, border).after == 3
