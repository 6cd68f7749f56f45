"""Axes with round numbers, curves with gaps, series made thin: SVG that parses."""

import math
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faltung.train.curves import HEIGHT, WIDTH, Line, Scale, chart, sparkline, thin, ticks, unit


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e6), st.integers(2, 9))
def test_ticks_are_round_and_inside(low: float, span: float, most: int) -> None:
    found = ticks(low, low + span, most)
    assert len(found) <= most
    slack = 1e-6 * (span + abs(low))
    assert all(low - slack <= tick <= low + span + slack for tick in found)
    steps = [float(f"{b - a:.6g}") for a, b in pairwise(found)]
    assert all(f"{step:e}"[0] in "125" and step == steps[0] for step in steps)


def test_ticks_of_usual_axes() -> None:
    assert ticks(0, 1, 5) == [0, 0.5, 1]
    assert ticks(0.37, 1, 5) == [0.4, 0.6, 0.8, 1]
    assert ticks(1, 20, 7) == [5, 10, 15, 20]
    assert Scale(0.01, 2, 0, 1, log=True).ticks(5) == [0.01, 0.1, 1]
    assert Scale(0.3, 7, 0, 1, log=True).ticks(5) == [0.5, 1, 2, 5]


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def paths(svg: str, name: str) -> list[str]:
    return [path.attrib["d"] for path in parsed(svg).iter("path") if path.get("class") == name]


LOSS = Line("training", [1, 2, 3, 4], [2.0, 1.0, 0.5, 0.25])
OTHER = Line("validation", [1, 2, 3, 4], [2.5, None, math.nan, 0.5])


def test_a_chart() -> None:
    svg = chart("loss", [LOSS, OTHER], "{:.3g}".format, mark=4)
    assert svg == chart("loss", [LOSS, OTHER], "{:.3g}".format, mark=4)
    assert paths(svg, "line0")[0].count("L") == 3
    assert paths(svg, "line1")[0].count("M") == 2  # a gap
    words = [text.text for text in parsed(svg).iter("text")]
    assert {"loss", "epoch", "training", "validation", "1", "4"} <= set(words)
    dots = [c.attrib["class"] for c in parsed(svg).iter("circle")]
    assert [dots.count(name) for name in ("line0", "line1", "mark")] == [4, 2, 1]


@given(st.lists(st.one_of(st.none(), st.floats()), min_size=1, max_size=60))
def test_whatever_was_measured_is_drawn_inside(values: list[float | None]) -> None:
    xs = [float(n + 1) for n in range(len(values))]
    svg = chart("loss", [Line("training", xs, values)], "{:.3g}".format)
    drawable = [v for v in values if v is not None and abs(v) <= 1e30]
    if not drawable:
        assert svg == ""
        return
    for path in paths(svg, "line0")[:1]:
        for point in path.replace("M", "L").strip("L").split("L"):
            x, y = map(float, point.split())
            assert 0 <= x <= WIDTH and 0 <= y <= HEIGHT


def test_many_decades_are_logarithmic() -> None:
    wide = Line("training", [1, 2, 3], [10.0, 0.1, 0.001])
    assert "loss, logarithmic" in chart("loss", [wide], str)
    assert "logarithmic" not in chart("loss", [LOSS], str)
    assert "logarithmic" not in chart("accuracy", [wide], str, top=10.0)


def test_names_are_escaped() -> None:
    svg = chart("<b>", [Line("</svg><script>", [1], [1])], lambda _: '"<i>')
    assert "<b>" not in svg and "<script>" not in svg and "<i>" not in svg
    assert parsed(svg) is not None


def test_thin_keeps_what_is_seen() -> None:
    rng = np.random.default_rng(0)
    series = rng.standard_normal(10_001)
    series[1234], series[8000] = 50, np.nan
    found = thin(series, 100)
    assert len(found) == 200 and found.max() == 50
    assert found.min() == np.nanmin(series) and np.isfinite(found).all()
    np.testing.assert_array_equal(thin([1.0, np.inf, 3.0], 10), [1, 2, 3])
    np.testing.assert_array_equal(thin([np.nan], 10), [0])


def test_unit_has_one_scale_for_all_channels() -> None:
    found = unit([[0.0, 1.0], [2.0, 4.0]], 10)
    np.testing.assert_array_equal(found, [[0, 0.25], [0.5, 1]])
    np.testing.assert_array_equal(unit([3.0, 3.0], 10), [[0.5, 0.5]])


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (2, 1000)])
def test_sparklines(shape: tuple[int, int]) -> None:
    svg = sparkline(np.random.default_rng(0).standard_normal(shape))
    assert len(list(parsed(svg).iter("path"))) == shape[0]
