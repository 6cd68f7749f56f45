"""Filters as rows: their problems, their goals, and the answers of every peer."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.filter_problem import FilterProblem
from benchmarks.filters import FILTERS, Filter, scaled
from benchmarks.goals import SPECIAL, judge
from benchmarks.page import page
from benchmarks.peers import FILTER_PEERS, Unable, implementation
from benchmarks.protocol import FILTER
from benchmarks.protocol import FILTERS as SUBJECT
from benchmarks.results import TIMED, Cost, Outcome, Row, Run
from faltung import signal

SMALL = scaled(FILTERS, 0.02)
NEEDS = {
    "faltung": ["dask", "zarr"],
    "scipy": ["scipy"],
    "opencv": ["cv2"],
    "dask-image": ["dask_image"],
}


def test_names_and_problems_are_there_once() -> None:
    assert len({row.name for row in FILTERS}) == len({row.text for row in FILTERS}) == len(FILTERS)
    assert all(set(row.goals) | set(row.memory) <= FILTER_PEERS.keys() for row in FILTERS)


def test_goals_of_a_row_judge_that_row() -> None:
    assert len(SPECIAL[SUBJECT]) == sum(len(row.goals) + len(row.memory) for row in FILTERS)
    for goal in SPECIAL[SUBJECT]:
        rows = [one for one in FILTERS if goal.applies(Row(one.name, "", FILTER, True, {}))]
        assert len(rows) == 1 and goal.text.startswith(rows[0].name)


@pytest.mark.parametrize("row", SMALL, ids=lambda row: row.name)
def test_small_problems(row: Filter) -> None:
    problem = FilterProblem(row.text)
    assert min(problem.shape) >= 64 and problem.x.dtype == problem.dtype
    assert problem.bytes == 2 * np.zeros(problem.shape, problem.dtype).nbytes
    if problem.dask:
        assert set(problem.x.shape) == {problem.whole("chunks")}
    else:
        assert problem.x.shape == problem.shape
    result = np.arange(np.prod(problem.shape), dtype="float64").reshape(problem.shape)
    compared = problem.compared(result)
    assert problem.error(compared, compared) == 0 < problem.limit
    with pytest.raises(ValueError, match="shape="):
        problem.error(compared, compared[1:])


@pytest.mark.parametrize("row", SMALL, ids=lambda row: row.name)
@pytest.mark.parametrize("name", NEEDS)
def test_answers_are_scipys(name: str, row: Filter) -> None:
    for package in ("scipy", *NEEDS[name]):
        pytest.importorskip(package)
    problem = FilterProblem(row.text)
    if (
        name == "faltung"
        and "resample" in problem.function
        and not hasattr(signal, "resample_poly")
    ):
        pytest.skip("not there yet")
    module = implementation(name, SUBJECT)
    assert module.start(1)
    try:
        task = module.build(problem, "")
    except Unable:
        assert name != ("dask-image" if problem.dask else "scipy") or problem.function == "unet"
        return
    task.call()
    if problem.function == "unet":
        whole = module.build(problem, "array")
        whole.call()
        assert problem.error(task.array(), whole.array()) == 0
        return
    right = implementation("scipy", SUBJECT).answer(problem)  # type: ignore[attr-defined]
    assert problem.error(task.array(), right) <= problem.limit


def test_page() -> None:
    def outcome(ms: float) -> Outcome:
        return Outcome(TIMED, int(1e6 * ms), int(1.1e6 * ms), 9, (int(1e6 * ms),), 1e-7)

    sobel = next(row for row in FILTERS if row.name == "sobel")
    dask = next(row for row in FILTERS if row.memory)
    rows = [
        Row("sobel", sobel.text, FILTER, True, {"faltung": outcome(10), "scipy": outcome(250)}),
        Row(
            dask.name,
            dask.text,
            FILTER,
            True,
            {"faltung": outcome(900), "dask-image": outcome(8000)},
            costs={"faltung": Cost(peak_bytes=10**8), "dask-image": Cost(peak_bytes=3 * 10**8)},
        ),
    ]
    versions = {"faltung": "0", "scipy": "1", "dask-image": "2"}
    run = Run("2030-01-01", {}, 2, 3, 0.3, versions, {}, rows=rows, subject=SUBJECT)
    reached = {one.goal.text: one.reached for one in judge(run)}
    assert reached == {
        "sobel, against scipy": True,
        f"{dask.name}, against dask-image": False,
        f"{dask.name}, against dask-image, memory": True,
    }
    text = page(run)
    assert "| 10.0 / 11.0 | 250 / 275 | - | 25.00 | - | 13.4 |" in text
    assert f"| {dask.name} | dask-image | 300 |" in text
    assert "# Benchmark results: filters of arrays and signals" in text


def test_scaled_keeps_all_but_sizes() -> None:
    (row,) = scaled(
        [replace(FILTERS[0], text="dask f 1000x500 float32 kernel=9x9 chunks=100")], 0.5
    )
    assert row.text == "dask f 500x250 float32 kernel=9x9 chunks=50"
    assert row.goals == FILTERS[0].goals
