"""``faltung profile``: as Markdown, of a step of training, and what is refused."""

import pytest

from faltung.cli.main import main
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
    assert main([*SMALL, "--markdown", "--largest=3"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("On 1 thread multiply-adds in registers reach 100 GFLOP/s")
    assert "| lenet5 | " in text and "| `n1 c1>6 12x12 k5 p2` | other convolutions |" in text
    assert len([line for line in text.splitlines() if line.startswith("| `")]) == 3


def test_training(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--training"]) == 0
    text = capsys.readouterr().out
    assert "ConvolveWeight" in text and "Optimizer" in text
    assert main([*SMALL, "--training", "--markdown"]) == 0
    assert "other convolutions, for the weight" in capsys.readouterr().out


def test_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "model.onnx", "--training"]) != 0
    assert "training: is of a network of faltung" in capsys.readouterr().err
    assert main([*SMALL, "--largest=0"]) != 0
    assert "largest=0" in capsys.readouterr().err
