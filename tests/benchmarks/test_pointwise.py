"""1x1 and depthwise layers: the tables, what bounds a row, the goals and the page."""

from dataclasses import replace

import pytest
from small_runs import row, small_run

from benchmarks.bounds import bounds, moved
from benchmarks.goals import judge
from benchmarks.layers import Layer
from benchmarks.page import page
from benchmarks.pointwise import DEPTHWISE, POINTWISE
from benchmarks.protocol import DEPTHWISE as DEPTHWISE_LAYERS
from benchmarks.protocol import POINTWISE as POINTWISE_LAYERS
from benchmarks.results import Run
from benchmarks.stats import depthwise

COPIES = {"sizes": [1000, 10_000_000], "seconds": [1e-6, 100e-6]}
MIDDLE = "n1 c64>64 50x50 k1"  # 20.5 million operations, 1.3 MB


def run(**more: object) -> Run:
    """Two layers: one that arithmetic bounds, and one that memory bounds."""
    rows = [
        row("fast", MIDDLE, faltung=125, torch=250, torch_nhwc=200),
        row("slow", "n1 c2048>1000 1x1 k1", faltung=160, torch=100, torch_nhwc=120),
        row("back", MIDDLE, direction="input_grad", faltung=250, torch=500),
    ]
    copies = {"copies": COPIES, "subject": POINTWISE_LAYERS, "peak": 200.0} | more
    return replace(small_run(), rows=rows, **copies)


@pytest.mark.parametrize("layer", (*POINTWISE, *DEPTHWISE), ids=lambda layer: layer.name)
def test_rows(layer: Layer) -> None:
    spec = layer.spec
    assert not set("|`\n") & set(layer.name)
    assert layer.core == (spec.batch == 1)
    if layer in POINTWISE:
        assert spec.taps == 1 and spec.groups == 1
    else:
        assert depthwise(spec) and spec.channels_in == spec.channels_out


def test_names_and_problems_are_there_once() -> None:
    rows = (*POINTWISE, *DEPTHWISE)
    assert len({one.name for one in rows}) == len({one.spec for one in rows}) == len(rows)
    assert sum(one.core for one in POINTWISE) == 40
    kernels = {one.spec.kernel[0] for one in DEPTHWISE}
    strides = {one.spec.stride[0] for one in DEPTHWISE}
    assert kernels == {3, 5, 7} and strides == {1, 2}


def test_what_bounds_a_row() -> None:
    fast, slow, _ = run().rows
    found = bounds(run())
    assert found is not None
    assert moved(fast) == 4 * (64 * 2500 + 64 * 64 + 64 * 2500 + 64)
    bound, share = found.of(fast)
    assert bound == "arithmetic" and share == pytest.approx(2 * 64 * 64 * 2500 / 200e9 / 125e-6)
    assert found.of(slow)[0] == "memory"
    assert "200 GFLOP/s" in found.text
    assert bounds(run(peak=None)) is None and bounds(run(copies={})) is None


def test_goals() -> None:
    found = {verdict.goal.text: verdict for verdict in judge(run())}
    assert not found["1x1, against the best of all"].reached  # one row lost
    assert found["1x1, input grad, against the best of all"].reached
    near = found["1x1, forward, of the peak where arithmetic bounds it"]
    assert [one.name for _, one in near.values] == ["fast"] and near.reached is False
    memory = found["1x1, forward, of the copy bandwidth where memory bounds it"]
    assert [one.name for _, one in memory.values] == ["slow"]
    other = judge(run(subject=DEPTHWISE_LAYERS))
    assert {verdict.goal.worst for verdict in other} == {2.2, 1.3}


def test_page() -> None:
    text = page(run())
    assert "# Benchmark results: 1x1 layers" in text and "multiply-adds in registers" in text
    lines = text.splitlines()
    places = [n for n, line in enumerate(lines) if line.startswith(("| slow<br>", "| fast<br>"))]
    assert len(places) == 2 and lines[places[0]].startswith("| slow")  # what is lost comes first
    assert "| fast<br>`n1 c64>64 50x50 k1` | 20.5 | 1.30 | 164 | 82% |" in text
    assert "| arithmetic 82% | torch-nhwc | 1.60 |" in text
    assert "## Losses (1 of 3 rows)" in text
    assert "not measured" in page(run(peak=None))
