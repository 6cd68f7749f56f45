"""The pages of networks and of training, from fixed numbers."""

from dataclasses import replace
from pathlib import Path

import pytest
from small_runs import network_run, training_run

from benchmarks.goals import judge
from benchmarks.limits import judged
from benchmarks.page import page
from benchmarks.results import Row, Run, read, timed, write


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}")[1].split("\n## ")[0]


@pytest.mark.parametrize("run", [network_run(), training_run()])
def test_json_reads_back(run: Run, tmp_path: Path) -> None:
    write(run, tmp_path / "run.json")
    assert read(tmp_path / "run.json") == run


def test_networks_in_milliseconds() -> None:
    text = page(network_run())
    assert text.startswith("# Benchmark results: networks\n")
    rows = section(text, "Inference")
    assert "| 11,689,512 | 3,628.0 | 403 | 84% | torch-nhwc | 1.56 | 9.00 / 13.5 |" in rows
    assert "0.0200 / 0.0300" in rows and "**failed**" in rows
    assert "| 1.00 | 1.56 |" not in section(text, "Geometric means")
    assert "| all | 1.12 | 1.56 |" in section(text, "Geometric means")


def test_losses_of_networks() -> None:
    lost = section(page(network_run()), "Losses (1 of 2 rows)")
    assert "| LeNet-5 `lenet5 1x28x28 n1` | Inference | onnxruntime |" in lost
    assert "| 0.0200 | 0.0160 | 0.800 |" in lost and "ours ms" in lost


def test_compile_times() -> None:
    line = section(page(network_run()), "Until the first answer").strip().splitlines()[-1]
    assert line.startswith("| ResNet-18 | 3.25 | 0.12 |")


def test_goals_of_networks() -> None:
    verdicts = {verdict.goal.text: verdict for verdict in judge(network_run())}
    assert not verdicts["LeNet-5 at batch 1, against ONNX Runtime"].reached
    (large,) = [verdict for text, verdict in verdicts.items() if text.startswith("GoogLeNet")]
    assert large.reached and large.values[0][0] == pytest.approx(14 / 9)
    assert len(verdicts) == 2


def test_goals_of_training() -> None:
    verdicts = {verdict.goal.text: verdict for verdict in judge(training_run())}
    step = verdicts["step of the 1-D and the 3-D network, against the best of PyTorch"]
    assert step.values[0][0] == pytest.approx(1.8) and step.reached
    memory = verdicts["memory of a step, against PyTorch channels-first"]
    assert [value for value, _ in memory.values] == [1.5]
    assert len(verdicts) == 2


def test_limits() -> None:
    found = {limit.text: (value, limit.holds(value)) for limit, value in judged(training_run())}
    assert found == {
        "first step of Inception (small), cold": (6.0, False),
        "first step of Inception (small), warm": (0.25, True),
        "`faltung train digits`, cold": (15.0, True),
        "`faltung train digits`, warm": (11.0, False),
        "accuracy of `faltung train digits`": (0.9889, True),
    }
    assert judged(network_run()) == []


def test_memory_and_commands() -> None:
    text = page(training_run())
    assert "| 1-D net | 16.0 | 24.0 | 1.50 |" in section(text, "Memory, in MiB")
    commands = section(text, "Commands")
    assert "| `faltung train digits` | 15.0 | 11.0 | 98.89% |  |" in commands
    assert (
        "| `faltung train digits --net inception` | - | - | - | ended with code 2: no |" in commands
    )
    assert "| accuracy of `faltung train digits` | >= 0.985 | 0.9889 | yes |" in section(
        text, "Limits"
    )


def test_it_says_whether_answers_were_compared() -> None:
    run = training_run()
    assert "**not compared**" not in page(run)
    rows = [
        replace(row, outcomes={"faltung": timed([[9]], None), "torch": timed([[8]], None)})
        for row in run.rows
    ]
    text = page(replace(run, rows=rows))
    assert "**not compared** with any other" in text and "## Accuracy" not in text


def test_a_run_without_rows() -> None:
    empty: list[Row] = []
    assert "was not timed" in page(replace(network_run(), rows=empty))
