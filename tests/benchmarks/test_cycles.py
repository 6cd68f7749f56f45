"""Cycles of elementary functions, measured."""

import numpy as np
import pytest

from benchmarks import cycles
from benchmarks.accuracy import CLOSE, OPEN


def test_a_library_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    monkeypatch.setattr(cycles, "ROWS", {name: cycles.ROWS[name] for name in ("tanh", "HardSwish")})
    monkeypatch.setattr(cycles, "REPEATS", 3)
    found = cycles.measured("faltung")
    assert set(found) == {f"{name} {d}" for name in cycles.ROWS for d in cycles.DTYPES}


def test_what_a_library_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setitem(cycles.CALLS, "faltung", none)
    assert cycles.measured("faltung") == {}
    lines = cycles.table({"faltung": {"exp float32": 7.04}, "pytorch": {"exp float64": 12.0}})
    assert lines[2] == "| exp | 7.0 |  |  | 12.0 |"
    assert len(lines) == 2 + len(cycles.ROWS)


def test_models_compute_what_their_rows_say() -> None:
    """The same numbers from every library that is here."""
    pytest.importorskip("onnx")
    torch = pytest.importorskip("torch")
    from faltung.onnx.model import load

    for name, row in cycles.ROWS.items():
        x = cycles.numbers(name, "float32", 64)
        (got,) = load(cycles.model(row, "float32", x.size)).run({"x": x[np.newaxis]})
        want = getattr(torch.ops.aten, row.torch)(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(got[0], want, rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_page_has_the_table() -> None:
    page = cycles.PAGE.read_text("utf-8")
    rows = page.partition(OPEN.format(cycles.TABLE))[2].partition(CLOSE.format(cycles.TABLE))[0]
    assert [line.split(" | ")[0].strip("| ") for line in rows.splitlines()[2:]] == [*cycles.ROWS]
