"""Sections 4 and 5 of the explorer in a browser: keyboard, pointer, touch, phone, dark, names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faltung import Model, nn
from faltung.explore.fields import fields
from faltung.explore.measured import measured
from faltung.explore.network import network
from faltung.explore.page import page
from faltung.explore.shown import sample
from faltung.train.explain import seen_in

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a network with branches, whose names come from a stranger."""
    net = nn.Sequential(
        nn.Conv(4, 3, padding=1),
        nn.ReLU(),
        nn.Parallel(nn.Conv(2, 1, name="one"), nn.Conv(3, 3, padding=1, name=HOSTILE)),
        nn.MaxPool(2),
        nn.Flatten(),
        nn.Linear(2),
    )
    model = Model(net, (1, 12, 12), seed=2, classes=("one", HOSTILE))
    x = np.random.default_rng(0).random((1, 12, 12), dtype=np.float32)
    heat, said = measured(model, x)
    one = fields(model.graph, HOSTILE, sample=sample(x), measured=heat, said=said)
    made = tmp_path_factory.mktemp("page") / "page.html"
    made.write_text(page(fields=[one], network=network(seen_in(model, x), HOSTILE, "run")), "utf-8")
    return made


def says(part: Any, text: str) -> None:
    """Wait until an element says this: the page changes with the next frame."""
    api = pytest.importorskip("playwright.sync_api")
    api.expect(part).to_contain_text(text)


def test_what_a_unit_sees(file: Path, chromium: Any) -> None:
    """A layer and a unit are chosen by keyboard, pointer and touch; words say what they see."""
    context = chromium.new_context(has_touch=True, viewport={"width": 1280, "height": 900})
    view = context.new_page()
    asked: list[str] = []
    view.on("request", lambda request: asked.append(request.url))
    view.goto(file.as_uri())
    part = view.locator("#fields")
    part.locator("select").last.select_option("0")
    status = part.get_by_role("status")
    part.get_by_label("row", exact=True).focus()
    for key in ("Home", "ArrowRight", "ArrowRight"):
        view.keyboard.press(key)
    part.get_by_label("column", exact=True).focus()
    view.keyboard.press("Home")
    says(status, "Unit 2, 0 of conv1 sees rows 1 to 3, columns 0 to 1")
    part.locator(".layer[aria-pressed=true]").focus()
    view.keyboard.press("ArrowDown")
    says(status, "parallel1.one sees rows 1 to 3")
    box = part.locator("svg.grid").bounding_box()
    assert box
    part.locator("svg.grid").tap(position={"x": box["width"] - 2, "y": 2})
    says(status, "Unit 0, 11")
    part.get_by_role("button", name="unit 6, 6").click()
    says(part, "what it uses, by gradients")
    part.get_by_text("as a table").click()
    says(part.locator("tbody tr").nth(5), "linear1")
    assert asked == [file.as_uri()]


def test_a_network_at_work(file: Path, chromium: Any) -> None:
    """Steps, maps and branches by keyboard and pointer; names of strangers stay text."""
    view = chromium.new_page(viewport={"width": 1280, "height": 1400})
    said: list[str] = []
    view.on("dialog", lambda dialog: said.append(dialog.message))
    view.on("pageerror", lambda error: said.append(str(error)))
    view.goto(file.as_uri())
    part = view.locator("#network")
    assert HOSTILE in part.locator(".answers").inner_text()
    large = part.locator(".large .one-map")
    large.hover()
    says(part.locator(".large"), "What this unit sees.")
    part.get_by_role("button", name="What does this unit see?").click()
    says(view.locator("#fields").get_by_role("status"), "of conv1 sees")
    part.get_by_role("button", name="Next").click()
    says(part.locator(".beside-each-other"), HOSTILE)
    assert part.locator(".branch").count() == 2
    part.get_by_role("button", name="map 0").first.focus()
    view.keyboard.press("ArrowRight")
    says(part.locator(".large"), "Map 1 of parallel1")
    part.get_by_label("the network", exact=True).check()
    part.get_by_role("button", name="Play").click()
    part.get_by_role("button", name="Pause").click()
    assert view.locator("img").count() == 0 and not said


def test_for_everyone(file: Path, chromium: Any) -> None:
    """On a phone nothing is wider than it, and a checker of accessibility finds nothing serious."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    for scheme in ("light", "dark"):
        view = chromium.new_page(
            viewport={"width": 360, "height": 740}, color_scheme=scheme, reduced_motion="reduce"
        )
        view.goto(file.as_uri())
        assert view.evaluate("document.documentElement.scrollWidth") <= 360
        rules = {"resultTypes": ["violations"]}
        for part in ("#fields", "#network"):
            found = axe.Axe().run(view, context=part, options=rules).response["violations"]
            bad = [one for one in found if one["impact"] in ("serious", "critical")]
            assert not bad, json.dumps([(o["id"], o["nodes"][0]["html"][:200]) for o in bad])
