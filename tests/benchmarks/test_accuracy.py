"""The tables of ``docs/accuracy.md``: errors that are right, and a page that takes them."""

import numpy as np
import pytest

from benchmarks import accuracy, denormals
from faltung import reference
from faltung.geometry import parse

SMALL = {"3x3": "n2 c4>6 8x9 k3 p1 g2", "signal": "c1>1 90 k9 p(3,2)"}


@pytest.mark.parametrize("text", SMALL.values())
def test_long_double_agrees_with_the_reference(text: str) -> None:
    spec = parse(f"{text} f64")
    x, w, g = accuracy.drawn(spec, "float64")
    assert accuracy.error(reference.conv(x, w, None, spec), accuracy.exact(spec, x, w)) < 1e-15
    want = accuracy.exact_weight_grad(spec, x, g)
    assert accuracy.error(reference.conv_weight_grad(x, g, spec), want) < 1e-15


@pytest.mark.parametrize("direction", ["forward", "weight_grad"])
def test_table(direction: str) -> None:
    header, _, *rows = accuracy.table(direction, SMALL)
    assert header.startswith("| problem | products | sum, float32 | winograd, float32 |")
    assert len(rows) == 2
    for row in rows:
        _, _, products, *errors, _ = (cell.strip() for cell in row.split("|"))
        count = len(accuracy.METHODS[direction])
        assert 9 <= int(products) <= 200 and len(errors) == 2 * count
        assert float(errors[0]) < 5e-7 and float(errors[count]) < 1e-15


def test_dtypes() -> None:
    lines = accuracy.dtypes("c4>4 9x9 k3 p1")
    assert [line.split("|")[1].strip() for line in lines[2:]] == [*accuracy.NARROW, "int32, int64"]


def test_the_page_has_a_place_for_every_table() -> None:
    page = accuracy.PAGE.read_text("utf-8")
    for name in accuracy.TABLES:
        changed = accuracy.written(page, name, ["| a line |"])
        assert "| a line |\n<!-- /" in changed and len(changed) < len(page)
        lines = page.partition(accuracy.OPEN.format(name))[2].partition("<!-- /")[0].splitlines()
        assert accuracy.written(page, name, lines) == page
    with pytest.raises(ValueError, match="has no"):
        accuracy.written(page, "no such table", [])


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "FORWARD", SMALL)
    assert accuracy.main(["--only", "forward"]) == 0
    assert "| signal | 9 |" in capsys.readouterr().out


def test_denormals(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(denormals.ROWS, "winograd", ("c8>8 12x12 k3 p1", True))
    assert denormals.main(["--only", "winograd", "--rounds", "1", "--seconds", "0.001"]) == 0
    out = capsys.readouterr().out
    for direction in ("forward", "input grad", "weight grad"):
        assert f"| winograd, {direction} |" in out
    assert "more than 2 times as long" in out
    assert np.isfinite(denormals.least([lambda: None], 1, 1e-4)[0])
