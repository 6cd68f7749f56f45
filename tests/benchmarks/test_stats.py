"""Ratios, means, losses and groups."""

import pytest
from small_runs import row, small_run

from benchmarks.results import timed
from benchmarks.stats import GROUPS, best, geometric_mean, losses, ratio, ratios, round_spread
from faltung.geometry.text import parse


def groups_of(text: str) -> set[str]:
    return {title for title, belongs in GROUPS if belongs(parse(text))}


def test_geometric_mean() -> None:
    assert geometric_mean([]) is None
    assert geometric_mean([4.0, 0.25]) == pytest.approx(1.0)
    assert geometric_mean(iter([2.0, 8.0])) == pytest.approx(4.0)


def test_timed_takes_least_and_median_over_all_rounds() -> None:
    outcome = timed([[5, 9, 7], [4, 100]], 1e-7)
    assert (outcome.min_ns, outcome.median_ns, outcome.calls) == (4, 7, 5)
    assert outcome.rounds_ns == (5, 4)
    with pytest.raises(ValueError, match="at least one call"):
        timed([[]], None)


def test_round_spread() -> None:
    assert round_spread([]) is None
    assert round_spread(small_run().rows) == pytest.approx(0.5)


def test_best_and_ratio() -> None:
    one = row("x", "n1 c1>1 9 k3", faltung=10, torch=15, jax=12)
    assert best(one, ["torch", "jax", "ncnn"]) == ("jax", 12000)
    assert best(one, ["ncnn"]) is None
    assert ratio(one, "faltung", ["torch", "jax"]) == pytest.approx(1.2)
    assert ratio(one, "faltung-nchw", ["torch"]) is None
    assert one.gflops("faltung") == pytest.approx(one.spec.flops / 10000)


def test_ratios_leave_out_what_is_missing() -> None:
    rows = small_run().rows
    assert len(ratios(rows, "faltung", ["jax"])) == 2
    assert len(ratios(rows, "faltung")) == len(rows)


def test_losses_worst_first() -> None:
    rows = [
        row("a", "n1 c1>1 9 k3", faltung=10, torch=9),
        row("b", "n1 c1>1 9 k3", faltung=10, torch=30, jax=5),
        row("c", "n1 c1>1 9 k3", faltung=10, torch=11),
        row("d", "n1 c1>1 9 k3", torch=11),
    ]
    assert [(lost.name, rival) for lost, rival, _ in losses(rows)] == [("b", "jax"), ("a", "torch")]


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("n1 c64>64 56x56 k3 p1", "dense, 32 channels and more"),
        ("n1 c3>64 224x224 k7", "dense, fewer channels"),
        ("n1 c1>1 1000 k101", "one channel: signals, grey images"),
        ("n1 c96>96 9x9 k3 g96", "depthwise"),
        ("n1 c128>128 9x9 k3 g32", "grouped"),
    ],
)
def test_float32_groups_part_the_rows(text: str, group: str) -> None:
    parts = {GROUPS[i][0] for i in (0, 3, 4, 5, 6)}
    assert groups_of(text) & parts == {group}


def test_float64_is_a_group_of_its_own() -> None:
    assert groups_of("n1 c64>64 56x56 k3 p1 f64") == {"float64", "all"}
