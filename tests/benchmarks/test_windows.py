"""Poolings and local layers as rows: every peer's answer against the references."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from benchmarks.page import page
from benchmarks.peers import WINDOW_PEERS, Unable, implementation
from benchmarks.protocol import WINDOW_DIRECTIONS, WINDOWS
from benchmarks.results import Outcome, Row, Run
from benchmarks.window_problem import WindowProblem, answer
from benchmarks.windows import WINDOWS as ROWS

SMALL = ("max n2 c5>5 9x8 k3 s2 p1", "avg n1 c4>4 6x6 k3 p1", "local n2 c3>4 5x6 k3 p1")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_rows(row: Row) -> None:
    problem = WindowProblem(row.text)
    assert problem.spec.batch >= 1 and problem.kind in ("max", "avg", "local")
    assert all(axis.lo == axis.hi for axis in problem.spec.axes)  # as all peers pad
    assert not set("|`\n") & set(row.name)
    if problem.kind != "local":
        assert problem.spec.channels_in == problem.spec.channels_out


def test_names_and_problems_are_there_once() -> None:
    assert len({row.name for row in ROWS}) == len({row.text for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("direction", WINDOW_DIRECTIONS)
@pytest.mark.parametrize("text", SMALL)
@pytest.mark.parametrize("name", ["faltung", "faltung-nchw", "torch", "torch-nhwc"])
def test_answers(name: str, text: str, direction: str, tmp_path: Path) -> None:
    if name.startswith("torch") and not find_spec("torch"):
        pytest.skip("needs torch")
    path = str(tmp_path / "answer.npy")
    assert answer(text, direction, path)
    problem = WindowProblem(text, direction)
    module = implementation(name, WINDOWS)
    try:
        task = module.build(problem, WINDOW_PEERS[name].variant)
    except Unable:
        assert name.startswith("torch") and problem.kind == "local"
        return
    task.call()
    assert problem.error(np.asarray(task.array()), np.load(path)) < 1e-6


def test_page() -> None:
    rows = [
        Row(row.name, row.text, direction, row.core, {"faltung": Outcome("timed", 9000, 9500, 3)})
        for row in ROWS[-1:]
        for direction in WINDOW_DIRECTIONS
    ]
    run = Run("today", {}, 2, 1, 0.1, {"faltung": "1"}, {}, rows=rows, subject=WINDOWS)
    text = page(run)
    assert "# Benchmark results: poolings and local layers" in text
    assert "| local 1-D k5, batch 32<br>`local n32 c32>32 256 k5 p2` |" in text
