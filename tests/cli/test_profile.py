"""``faltung profile``: as Markdown, of a step of training, and what is refused."""

from pathlib import Path

import pytest
from optional import optional

import faltung
from faltung import nets
from faltung.cli.main import main
from faltung.formats.onnx_export import export_onnx
from faltung.plan.bandwidth import Bandwidth
from faltung.program import profile_page
from faltung.program.profile_page import Yardsticks

SMALL = ["profile", "lenet5", "--input=1x12x12", "--batch=2", "--repeats=1"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Yardsticks that nobody measures."""
    measured = Yardsticks(1, 100.0, Bandwidth((4096, 1 << 28), (1e-6, 1e-2)))
    monkeypatch.setattr(profile_page, "yardsticks", lambda threads: measured)


def test_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    # Which steps are the largest is measured, so all of them are asked for first.
    assert main([*SMALL, "--markdown", "--largest=100"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("On 1 thread multiply-adds in registers reach 100 GFLOP/s")
    assert "| lenet5 | " in text and "| `n1 c1>6 12x12 k5 p2` | other convolutions |" in text
    assert main([*SMALL, "--markdown", "--largest=3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("| `")]) == 3


def test_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--training"]) == 0
    text = capsys.readouterr().out
    assert "ConvolveWeight" in text and "Optimizer" in text
    assert main([*SMALL, "--training", "--markdown"]) == 0
    assert "other convolutions, for the weight" in capsys.readouterr().out


def test_training_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    optional("onnx")
    model = faltung.Model(nets.get("lenet5", input_shape=(1, 12, 12)), (1, 12, 12))
    export_onnx(model.graph, model.parameters, tmp_path / "net.onnx")
    assert main(["profile", str(tmp_path / "net.onnx"), "--training", "--repeats=1"]) == 0
    text = capsys.readouterr().out
    assert "ConvolveWeight" in text and "CrossEntropy" in text and "Optimizer" in text


def test_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--largest=0"]) != 0
    assert "largest=0" in capsys.readouterr().err
