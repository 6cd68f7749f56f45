"""The filters of real arrays that everything here is built on."""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from faltung.geometry.line import Line
from faltung.ops import lines as sums
from faltung.reference import filters as slow
from faltung.reference.filters import correlate, filter_footprint

__all__ = ["correlate", "filter_footprint", "filter_lines"]


def filter_lines(x: npt.NDArray[Any], lines: Sequence[Line], out: npt.NDArray[Any]) -> None:
    """The lines one after the other."""
    made = sums if lines[0].reduction == "sum" else slow
    made.filter_lines(x, lines, out)
