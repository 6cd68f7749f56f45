"""``faltung compare``: what differs, what came of it, and whom to believe."""

from pathlib import Path

import numpy as np
import pytest

from faltung.cli.main import main
from faltung.train.compared import compared, mcnemar

X = np.random.default_rng(0).random((60, 1, 8, 8)).astype(np.float32)
Y = (X[:, 0, :4].mean((1, 2)) > X[:, 0, 4:].mean((1, 2))).astype(int)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    np.savez(folder / "data.npz", x=X, y=Y)
    for name, words in (
        ("one", ["--net=lenet5"]),
        ("<b>two", ["--lr=0.02"]),
        ("three", ["--seed=1"]),
    ):
        data = str(folder / "data.npz")
        assert main(["train", data, "--epochs=2", *words, "--out", str(folder / name)]) == 0
    return folder


def test_side_by_side(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = runs / "page.html"
    words = [str(runs / "one"), str(runs / "<b>two"), "--html", str(page)]
    assert main(["compare", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = {line.split("  ")[0].strip(): line.split()[-2:] for line in lines[1:-2]}
    assert lines[0].split() == ["one", "<b>two"]
    assert table["net.name"] == ["lenet5", "convnet"] and table["train.lr"][1] == "0.02"
    assert "train.epochs" not in table and table["epochs"] == ["2", "2"]
    assert {"accuracy", "loss", "parameters", "bytes", "seconds"} <= set(table)
    assert "of 12 held-out samples one alone gets " in lines[-2] and "McNemar" in lines[-2]
    text = page.read_text()
    assert "<b>two" not in text and "&lt;b&gt;two" in text
    assert "<script" not in text and text.count("<svg") == 3
    assert main(["compare", *words]) == 2  # the page is there
    assert main(["compare", *words, "--overwrite"]) == 0


def test_other_samples_are_not_compared(runs: Path) -> None:
    assert not compared([runs / "one", runs / "three"]).said


def test_refusals(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(runs / "one")]) == 2
    assert "give two or more to compare" in capsys.readouterr().err
    assert main(["compare", str(runs / "one"), str(runs / "none")]) == 2
    assert "none" in capsys.readouterr().err


@pytest.mark.parametrize(("only", "other"), [(0, 0), (5, 5), (9, 1), (1, 9), (0, 20), (300, 210)])
def test_mcnemar_is_the_exact_binomial_test(only: int, other: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    wanted = stats.binomtest(only, only + other).pvalue if only + other else 1.0
    assert mcnemar(only, other) == pytest.approx(wanted)
