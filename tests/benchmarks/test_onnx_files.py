"""ONNX files beside other runtimes: problems as text, lines of results, the page, one real run."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from onnx_models import made, node, numbers
from optional import optional
from small_runs import row, small_run

from benchmarks import onnx_files
from benchmarks.file_problem import FileProblem, shapes_of, text_of
from benchmarks.goals import judge
from benchmarks.page import page
from benchmarks.peers import FILE_PEERS, implementation
from benchmarks.protocol import FILE, ONNX
from benchmarks.results import FAILED, TIMED, Outcome, Run

optional("onnx")
PEERS = ["faltung"] + [name for name in ("onnxruntime", "openvino") if find_spec(name)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = made(
        [node("Conv", "x w", "y")], {"x": ("N", 2, 5, 5)}, ["y"], {"w": numbers(3, 2, 3, 3)}
    )
    (tmp_path / "a = b.onnx").write_bytes(data)  # a name that could be mistaken
    return tmp_path


def run(**more: object) -> Run:
    rows = [
        row("won", "n1", direction=FILE, faltung=10_000, onnxruntime=20_000, openvino=18_000),
        row("lost", "n1", direction=FILE, faltung=10_000, onnxruntime=9_000, openvino=30_000),
        row("won", "n8", direction=FILE, faltung=80_000, onnxruntime=120_000),
    ]
    rows[2].outcomes["openvino"] = Outcome(FAILED, reason="no")
    versions = dict.fromkeys(("faltung", "onnxruntime", "openvino"), "1")
    made: dict[str, object] = {"subject": ONNX, "rows": rows, "versions": versions}
    return replace(small_run(), **(made | more))


def test_a_problem_is_text(folder: Path) -> None:
    path = folder / "a = b.onnx"
    text = text_of(path, shapes_of(path, 3))
    problem = FileProblem(text)
    assert problem.path == path and problem.shapes == {"x": (3, 2, 5, 5)}
    first, again = problem.inputs["x"], FileProblem(text).inputs["x"]
    assert first.shape == (3, 2, 5, 5) and (first == again).all()
    assert problem.error(2 * first, first) == pytest.approx(1)


def test_sizes_that_are_not_known_are_refused(tmp_path: Path) -> None:
    data = made([node("Relu", "x", "y")], {"x": ("N", 2, "H", 5)}, ["y"])
    (tmp_path / "free.onnx").write_bytes(data)
    with pytest.raises(ValueError, match=r"free.onnx: x is no float32 array of known sizes"):
        shapes_of(tmp_path / "free.onnx", 1)


@pytest.mark.parametrize("name", FILE_PEERS)
def test_every_peer_has_its_functions_without_its_library(name: str) -> None:
    module = implementation(name, ONNX)
    assert callable(module.start) and callable(module.build) and module.environment(2)


@pytest.mark.parametrize("name", PEERS)
def test_peers_agree(name: str, folder: Path) -> None:
    path = folder / "a = b.onnx"
    module, problem = implementation(name, ONNX), FileProblem(text_of(path, shapes_of(path, 2)))
    module.start(1)
    task = module.build(problem, "")
    task.call()
    plain = implementation("faltung", ONNX).build(problem, "").array()
    assert np.asarray(task.array()).shape == (2 * 3 * 9,)
    assert problem.error(np.asarray(task.array()), np.asarray(plain)) < 1e-6


def test_lines_are_read_as_one_run(tmp_path: Path) -> None:
    out = tmp_path / "lines.jsonl"
    whole = run()
    for number, one in enumerate(whole.rows):
        onnx_files.add(out, replace(whole, rows=[one], minutes=1.0 + number))
    again = replace(whole.rows[1], outcomes={})
    onnx_files.add(out, replace(whole, date="later", rows=[again], minutes=0.5))
    found = onnx_files.read(out)
    assert found.rows == [whole.rows[0], again, whole.rows[2]]  # the last line of a row counts
    assert found.minutes == 3.5
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ValueError, match="at least one line"):
        onnx_files.read(tmp_path / "empty.jsonl")


def test_goals() -> None:
    first, eighth = judge(run())
    assert first.goal.text.startswith("networks at batch 1") and not first.reached
    assert first.values[0][0] == pytest.approx(0.9)
    assert eighth.values[0][0] == pytest.approx(1.5) and eighth.reached


def test_page() -> None:
    text = page(run())
    assert "# Benchmark results: networks as ONNX files" in text
    assert text.index("| lost | onnxruntime | 0.90 |") < text.index("| won | openvino | 1.80 |")
    assert "| batch 1 | 2 | 1.27, least 0.90, of 2 |" in text
    assert "## Losses (1 of 3 rows)" in text and "## Batch 8" in text


def test_the_short_table_of_another_page(tmp_path: Path) -> None:
    page_of_docs, lines = tmp_path / "docs.md", tmp_path / "lines.jsonl"
    page_of_docs.write_text(f"before\n{onnx_files.OPEN}old\n{onnx_files.CLOSE}\nafter\n")
    onnx_files.add(lines, run())
    words = ["--page", str(lines), "--to", str(page_of_docs)]
    assert onnx_files.main(words) == 0
    text = page_of_docs.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "A processor, 2 threads, 2030-01-02" in text
    assert "| lost | 10.0 | 9.00 | 30.0 | 0.90 |\n| won | 10.0 | 20.0 | 18.0 | 1.80 |" in text
    assert onnx_files.main(words) == 0 and page_of_docs.read_text() == text
    document = onnx_files.DOCUMENT.read_text("utf-8")
    assert document.count(onnx_files.OPEN) == document.count(onnx_files.CLOSE) == 1


def test_a_run_is_taken_up_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "lines.jsonl"
    words = [str(folder), "--batch", "2", "--threads", "1", "--rounds", "1", "--seconds", "0.001"]
    words += ["--out", str(out), "--peers", *PEERS[:2]]
    assert onnx_files.main(words) == 0
    lines = out.read_text().splitlines()
    (found,) = json.loads(lines[0])["rows"]
    assert found["name"] == "a = b" and found["text"] == "n2"
    assert {outcome["kind"] for outcome in found["outcomes"].values()} == {TIMED}
    assert "a = b" in capsys.readouterr().out and "## Batch 2" in out.with_suffix(".md").read_text()
    assert onnx_files.main(words) == 0  # nothing is left to measure
    assert out.read_text().splitlines() == lines
