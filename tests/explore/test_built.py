"""The page is built from its sources, loads nothing, and what is put into it stays data."""

import base64
import gzip
import hashlib
import html
import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from explore.conftest import Opener
from explore.lines import problem

import faltung
from faltung.explore.page import built, frame, page

EXPLORER = Path(__file__).parent.parent.parent / "explorer"
HOSTILE = "</script><script>window.hacked = 1</script><!--"


@pytest.mark.skipif(not EXPLORER.exists(), reason="the sources are not here")
def test_it_is_up_to_date() -> None:
    sources = [path for path in (EXPLORER / "src").rglob("*") if path.is_file()]
    digest = hashlib.sha256()
    first = [EXPLORER / name for name in ("build.mjs", "package-lock.json", "template.html")]
    for path in [*first, *sorted(sources, key=lambda path: path.as_posix())]:
        digest.update(f"{path.relative_to(EXPLORER).as_posix()}\n".encode())
        digest.update(path.read_bytes())
    found = re.search('<meta name="sources" content="([0-9a-f]+)">', built())
    assert found and found[1] == digest.hexdigest(), "run `npm ci && npm run build` in explorer/"


def test_it_is_small_and_names_no_address() -> None:
    assert len(built().encode()) < 400_000
    addresses = set(re.findall("https?://[^\"'`\\s)<>]*", built()))
    assert all("www.w3.org/" in each for each in addresses), addresses  # names of SVG and MathML


def test_what_is_put_in_is_only_data(chromium: Any, tmp_path: Path) -> None:
    text = page(faltung.parse("c1>1 9 k3"), network={"title": HOSTILE}, fields=None)
    assert text.count("</script>") == built().count("</script>") and "fields" not in text[-2000:]
    path = tmp_path / "page.html"
    path.write_text(text)
    opened = chromium.new_page()
    opened.goto(path.as_uri())
    assert opened.input_value("#line") == "n1 c1>1 9 k3"
    data = json.loads(opened.inner_text("#data") or opened.text_content("#data"))
    assert data["network"]["title"] == HOSTILE
    assert opened.evaluate("window.hacked") is None
    opened.close()


def test_in_a_notebook_it_is_folded_and_moves_when_opened(chromium: Any, tmp_path: Path) -> None:
    spec = faltung.parse("n1 c2>2 6x8 k3 p1 m:circular")
    box = spec._repr_html_()
    assert len(box) < 200_000 and frame(spec) in box
    packed = re.search("atob\\('([^']*)'\\)", html.unescape(box))
    assert packed and gzip.decompress(base64.b64decode(packed[1])).decode() == built()
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{box}")
    opened = chromium.new_page()
    opened.goto(path.as_uri())
    opened.wait_for_timeout(200)
    assert all(each.query_selector("#line") is None for each in opened.frames)
    opened.click("summary")
    inside = opened.frame_locator("iframe")
    assert inside.locator("#line").input_value() == str(spec)
    inside.locator("text=Stride").first.click()
    assert inside.locator("#line").input_value() == "n1 c1>1 8x8 k3 s2"
    opened.close()


def test_the_code_on_the_page_does_what_it_says(opener: Opener) -> None:
    opened = opener()
    draw, generator = random.Random(5), np.random.default_rng(5)
    torch = pytest.importorskip("torch") if _installed("torch") else None
    for number in range(12):
        spec = problem(draw)
        x, w, y = (
            generator.integers(-9, 9, shape).astype(float)
            for shape in (spec.input_shape, spec.weight_shape, spec.output_shape)
        )
        options: dict[str, Any] = {
            name: getattr(spec, name)
            for name in ("stride", "padding", "dilation", "groups", "padding_mode", "flip")
        }
        way = "transposed" if number % 3 == 0 else "forward"
        code = opened.evaluate("a => faltung.code(...a)", [str(spec), way])
        if way == "forward":
            made, expected = "y", faltung.conv(x, w, **options)
        else:
            made, expected = "x", faltung.conv_input_grad(y, w, spec.input_shape, **options)
        names: dict[str, Any] = {"faltung": faltung, "x": x, "w": w, "y": y}
        exec(code["python"], names)
        np.testing.assert_array_equal(names[made], expected, err_msg=code["python"])
        if torch is not None:
            names = {
                name: torch.from_numpy(each) for name, each in zip("xwy", (x, w, y), strict=True)
            }
            names |= {"torch": torch, "F": torch.nn.functional}
            torch.set_default_dtype(torch.float64)
            try:
                exec(code["torch"], names)
            finally:
                torch.set_default_dtype(torch.float32)
            np.testing.assert_allclose(
                names[made].numpy(), expected, atol=1e-9, err_msg=f"{spec}\n{code['torch']}"
            )
    opened.context.close()


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None
