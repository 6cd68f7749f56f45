"""What notebooks show: boxes of models, trainings, plans and convolutions; executed, and seen."""

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import browser, complaints
from limits import limit

import faltung
from faltung import Model, nets, nn
from faltung.geometry.html import shape
from faltung.train.history import History
from faltung.train.metrics import EpochMetrics

HOSTILE = "<script>alert(1)</script>&amp;\"'"
CODE = """
import numpy as np, faltung
from faltung import Model, nn
x = np.random.default_rng(0).random((32, 1, 8, 8), dtype=np.float32)
net = nn.Sequential(nn.Conv(2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2))
model = Model(net, (1, 8, 8))
spec = faltung.parse("c3>8 16x16 k3 p1")
plan = faltung.plan_forward(spec)
"""


EXECUTE = """
import json, sys
import nbclient, nbformat
cells = map(nbformat.v4.new_code_cell, sys.argv[2:])
book = nbformat.v4.new_notebook(cells=list(cells))
nbclient.NotebookClient(book, kernel_name="python3").execute()
found = [cell.outputs[-1].data for cell in book.cells[1:]]
open(sys.argv[1], "w").write(json.dumps(found))
"""


class Page(HTMLParser):
    """Text and tags; every tag that is opened is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.tags, self.open = "", set[str](), list[str]()
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def rows(count: int) -> list[EpochMetrics]:
    return [
        EpochMetrics(i, i, 0.1, 1 / i, 0.5, 1.5 / i, 0.4, scores={"f1": 0.3})
        for i in range(1, count + 1)
    ]


def examples() -> dict[str, Any]:
    many = rows(30)
    classes = [HOSTILE + "w" * 100, *map(str, range(9))]
    net = nets.get("lenet5", classes=10, input_shape=(1, 8, 8))
    spec = faltung.parse("n8 c64>64 12x32x32 k3x1x3 p(0,1)x0x1 m:circular g4 f64")
    model = Model(net, (1, 8, 8), classes=classes)
    return {
        "model": model,
        "summary": model.summary(),
        "history": History(many, best=many[11], notes=[HOSTILE]),
        "spec": spec,
        "plan": faltung.plan_forward(faltung.parse("n1 c3>64 224x224 k7 s2 p3")),
    }


@pytest.mark.parametrize("name", ["model", "summary", "history", "spec", "plan"])
def test_boxes_are_small_and_escaped(name: str) -> None:
    html = examples()[name]._repr_html_()
    page = Page(html)
    most = 200_000 if name == "spec" else 30_000  # that of a spec holds the explorer, folded
    assert "script" not in page.tags and len(html) < most and "http" not in html
    said = {
        "model": ["21,386", HOSTILE[:20], "10 in all", "Conv k5 p2, ReLU"],
        "summary": ["Conv k5 p2, ReLU", "method", "21,386 parameters"],
        "history": ["30 epochs", HOSTILE, "val f1", "logarithmic"],
        "spec": [
            "depth",
            "circular",
            "0, 1",
            shape((8, 64, 11, 32, 32)),
            "3-D cross-correlation, float64",
        ],
        "plan": ["direct", "winograd", "pack weights", "other methods"],
    }
    for words in said[name]:
        assert words in page.text


def test_of_a_long_training_the_ends_and_the_best() -> None:
    html = examples()["history"]._repr_html_()
    cells = html.split("<table")[1]
    assert [row.count("font-weight:650") > 0 for row in cells.split("<tr")[2:]].index(True) == 2
    assert cells.count("<tr") == 1 + 8
    assert ">12</td>" in cells and ">13</td>" not in cells and ">30</td>" in cells
    assert "no epochs" in History()._repr_html_()
    assert "<svg" not in History(rows(1))._repr_html_()


def test_large_networks_and_numbers() -> None:
    net = nets.get("googlenet", classes=10, input_shape=(1, 8, 8))
    assert len(Model(net, (1, 8, 8))._repr_html_()) < 30_000
    text = Model(nn.Sequential(nn.Embedding(9, 4), nn.Conv(2, 3)), (12,), tokens=True)
    assert "(tokens)" in text._repr_html_() and "never trained" in text._repr_html_()
    half = Model(nn.Linear(2), (3,)).astype("bfloat16")
    assert "bfloat16" in half._repr_html_()


def test_an_executed_notebook(tmp_path: Path) -> None:
    """In a process of its own: kernels are talked to through sockets."""
    for needed in ("nbclient", "ipykernel", "nbformat"):
        pytest.importorskip(needed)
    fit = "model.fit(x, np.arange(32) % 2, epochs=2, show=False)"
    file = tmp_path / "made.json"
    words = [str(file), CODE, fit, "model", "plan", "spec", "model.summary()"]
    subprocess.run([sys.executable, "-c", EXECUTE, *words], check=True, timeout=limit(120))
    found = json.loads(file.read_text())
    for data, said in zip(
        found, ["2 epochs", "Model", "method", shape((8, 3, 3, 3))], strict=False
    ):
        Page(data["text/html"])
        assert said in data["text/html"] and data["text/plain"]
    assert found[-1]["text/plain"].startswith("layer")


def test_in_a_browser(tmp_path: Path) -> None:
    file = tmp_path / "boxes.html"
    boxes = "".join(f"<div>{each._repr_html_()}</div>" for each in examples().values())
    file.write_text(f"<!doctype html><meta charset=utf-8><link rel=icon href='data:,'>{boxes}")
    with browser() as opened:
        for width, scheme in ((390, "light"), (1280, "dark")):
            assert not complaints(opened, file, width, scheme)
