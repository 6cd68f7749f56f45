"""The goals: which rows they take, and how they are judged."""

import pytest
from small_runs import small_run

from benchmarks.goals import GOALS, PEAK, judge
from benchmarks.layers import LAYERS


def rows_of(text: str) -> set[str]:
    (goal,) = [goal for goal in GOALS if goal.text.startswith(text)]
    from benchmarks.results import Row

    rows = [Row(one.name, one.text, goal.direction, one.core, {}) for one in LAYERS]
    return {row.name for row in rows if goal.applies(row)}


def test_rows_of_the_goals() -> None:
    dense = rows_of("forward, dense")
    assert {"ResNet 3x3 64", "Inception 5x5 32>96", "1-D 64", "3-D 3x3x3 32"} <= dense
    assert not {"ResNet stem 7x7", "VGG 3x3 64", "depthwise 3x3", "signal k101"} & dense
    assert rows_of("signals") == {"signal k101", "signal k1001"}
    assert rows_of("signal of") == {"signal k101"}
    near = rows_of("fraction")
    assert {"ResNet 3x3 64", "ResNet 1x1 widen"} <= near
    assert not {"Inception 5x5 32>96", "3-D 3x3x3 32"} & near


def test_verdicts() -> None:
    verdicts = {verdict.goal.text: verdict for verdict in judge(small_run())}
    forward = verdicts["forward, dense, against the better layout of PyTorch"]
    assert [row.name for _, row in forward.values] == ["lost", "won"]
    assert forward.values[0][0] == pytest.approx(530 / 540)
    assert not forward.reached
    assert verdicts["gradient for the input, dense, against PyTorch"].reached
    assert verdicts["float64, against PyTorch"].reached
    assert verdicts["signals of 10^6, against PyTorch"].reached
    # Nothing was measured for these: no verdict, rather than a good one.
    assert "gradient for the weight, dense, against PyTorch" not in verdicts
    assert not any("channels-first" in text for text in verdicts)


def test_fraction_of_the_peak_is_for_one_thread() -> None:
    assert not any(verdict.goal.measure == PEAK for verdict in judge(small_run(threads=2)))
    (verdict,) = [
        one for one in judge(small_run(threads=1, peak=500.0)) if one.goal.measure == PEAK
    ]
    assert verdict.values[0][0] == pytest.approx(231211008 / 540e3 / 500, rel=1e-6)
    assert not [one for one in judge(small_run(threads=1, peak=None)) if one.goal.measure == PEAK]
