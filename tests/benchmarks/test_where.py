"""Where the time goes: lines that are read back, and the page between its marks."""

from dataclasses import replace
from pathlib import Path

from onnx_models import made, node, numbers
from optional import optional

from benchmarks import where
from faltung.graph.kinds import OTHER
from faltung.plan.bandwidth import Bandwidth
from faltung.program.profile import Profile, Timed
from faltung.program.profile_page import Yardsticks

optional("onnx")

ROW = Timed("a", "Convolve", "direct", (8, 9, 9), 1e-3, 80_000_000, 500_000, OTHER, "n1 c8>8 9x9")
SCALE = Yardsticks(2, 100.0, Bandwidth((1000, 1_000_000), (1e-6, 20e-6)))
MACHINE = {"processor": "A processor", "features": "fma"}
LINE = where.Line("net", "2030-01-02", MACHINE, SCALE, Profile((ROW,), 2e-3, 2))


def test_lines_are_read_back(tmp_path: Path) -> None:
    assert where.line_of(LINE.text) == LINE
    chained = replace(LINE, profile=replace(LINE.profile, chains=("a + 1: in bands",)))
    assert where.line_of(chained.text) == chained
    assert "- a + 1: in bands" in where.page([chained])
    newer = replace(LINE, day="2030-01-03")
    (tmp_path / "x.jsonl").write_text("\n".join([LINE.text, newer.text, ""]))
    assert where.read(tmp_path / "x.jsonl") == [newer]


def test_the_page() -> None:
    text = where.page([LINE, replace(LINE, name="other", day="2030-02-01")])
    assert "A processor, fma, 2 threads, float32, batch 1, 2030-01-02 to 2030-02-01." in text
    assert "| net | 2.00 | 1.00 (80%) | 1.00 | 1 | +1.00 |" in text
    assert text.count("arithmetic 80%") == 2 and "## other" in text
    assert where.page([]) == ""


def test_the_command_keeps_what_is_around_the_marks(tmp_path: Path) -> None:
    data = made(
        [node("Conv", "x w", "y")], {"x": ("N", 2, 5, 5)}, ["y"], {"w": numbers(3, 2, 3, 3)}
    )
    (tmp_path / "m.onnx").write_bytes(data)
    page, out = tmp_path / "page.md", tmp_path / "x.jsonl"
    page.write_text(f"before\n{where.OPEN}old\n{where.CLOSE}\nafter\n")
    more = ["--threads", "1", "--seconds", "0.001", "--out", str(out), "--to", str(page)]
    assert where.main([str(tmp_path), "m", *more]) == 0
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "## m" in text and "n1 c2>3 5x5 k3" in text
    assert where.main(more) == 0 and page.read_text() == text  # the same from what was measured


def test_the_marks_of_the_page_are_there() -> None:
    text = where.PAGE.read_text("utf-8")
    assert text.count(where.OPEN) == text.count(where.CLOSE) == 1
