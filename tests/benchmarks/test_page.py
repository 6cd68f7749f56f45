"""The page from fixed numbers, and the JSON that reads back."""

from pathlib import Path

import pytest
from small_runs import row, small_run

from benchmarks.page import page
from benchmarks.results import read, write
from benchmarks.run import main
from benchmarks.words import microseconds, milliseconds, table


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}")[1].split("\n## ")[0]


def test_json_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "run.json"
    write(small_run(), path)
    assert read(path) == small_run()


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"schema": 99}')
    with pytest.raises(ValueError, match="schema=99"):
        read(path)


def test_page_is_written_again_from_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(small_run(), tmp_path / "run.json")
    assert main(["--page", str(tmp_path / "run.json")]) == 0
    assert (tmp_path / "run.md").read_text() == page(small_run())


def test_machine_versions_and_peak_are_told() -> None:
    text = page(small_run())
    for words in (
        "A processor",
        "2030-01-02",
        "2.13.0",
        "480 GFLOP/s",
        "2 round(s)",
        "differ by 50.0%",
    ):
        assert words in text
    assert "not measured" in page(small_run(peak=None))


def test_a_missing_peer_is_named() -> None:
    assert "| `openvino` | **missing** | openvino is not installed" in page(small_run())


def test_losses_have_a_section_of_their_own() -> None:
    lost = section(page(small_run()), "Losses (1 of 5 rows)")
    assert "| lost `n1 c128>128 28x28 k3 p1` | Forward | jax | 540 | 135 | 0.250 |" in lost
    assert "won" not in lost


def test_no_loss_is_said_and_so_is_no_measurement() -> None:
    run = small_run()
    run.rows[:] = [row("won", "n1 c1>1 9 k3", faltung=1, torch=2)]
    assert "None: on every row" in page(run)
    run.rows[:] = [row("only others", "n1 c1>1 9 k3", torch=2)]
    assert "`faltung` was not timed" in page(run)


def test_cells_and_reasons() -> None:
    text = page(small_run())
    forward = section(text, "Forward")
    assert "500 / 750" in forward  # least and median
    assert "**failed**" in forward
    reasons = section(text, "Not measured, and why")
    assert "| `ncnn` | failed | the process ended with code -11 | lost (forward) |" in reasons
    assert "| `scipy-oaconvolve` | unable | one channel alone | won (forward) |" in reasons


def test_signals_have_a_table_with_their_own_peers() -> None:
    layers, signals = [
        part for part in section(page(small_run()), "Forward").split("\n\n") if "MFLOP" in part
    ]
    assert "scipy-oaconvolve" in signals and "scipy-oaconvolve" not in layers


def test_half_the_peak_for_double() -> None:
    line = next(line for line in page(small_run()).splitlines() if line.startswith("| double"))
    assert "| 231.2 | 231 | 96% | torch | 4.00 |" in line


def test_small_things() -> None:
    assert [microseconds(ns) for ns in (1234, 12345, 1234567)] == ["1.23", "12.3", "1,235"]
    times = [milliseconds(ns) for ns in (16_400, 123_400, 1_234_000, 12_340_000, 1_234_000_000)]
    assert times == ["0.0164", "0.123", "1.23", "12.3", "1,234"]
    assert table(["a", "b"], [["c", "1"]]).splitlines() == [
        "| a | b |",
        "| :-- | --: |",
        "| c | 1 |",
    ]
