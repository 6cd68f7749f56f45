"""Cycles of elementary functions, measured."""

import numpy as np
import pytest

from benchmarks import cycles
from benchmarks.accuracy import CLOSE, OPEN
from benchmarks.elementary import applied


def test_a_library_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    monkeypatch.setattr(
        cycles, "ROWS", {name: cycles.ROWS[name] for name in ("tanh", "hard swish")}
    )
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


def test_rows_are_the_same_function_everywhere() -> None:
    torch = pytest.importorskip("torch")
    for name, row in cycles.ROWS.items():
        x = cycles.numbers(name, "float32", 64)
        want = getattr(torch.ops.aten, row.torch)(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(applied(row.ours, x), want, rtol=1e-5, atol=1e-6, err_msg=name)


def test_models_of_one_node() -> None:
    pytest.importorskip("onnx")
    from faltung.onnx.model import load

    for name, row in cycles.ROWS.items():
        if row.domain == "com.microsoft":
            continue
        x = cycles.numbers(name, "float32", 64)
        (got,) = load(cycles.model(row, "float32", x.size)).run({"x": x[np.newaxis]})
        np.testing.assert_allclose(got[0], applied(row.ours, x), rtol=1e-6, err_msg=name)


def test_the_page_has_the_table() -> None:
    page = cycles.PAGE.read_text("utf-8")
    rows = page.partition(OPEN.format(cycles.TABLE))[2].partition(CLOSE.format(cycles.TABLE))[0]
    assert [line.split(" | ")[0].strip("| ") for line in rows.splitlines()[2:]] == [*cycles.ROWS]
