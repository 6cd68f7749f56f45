"""The page of one sample: dead maps, one scale, branches, files that stay small, a browser."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from browser import browser, complaints

from faltung import Model, nets, nn
from faltung.train import look_page
from faltung.train.look_layers import Block, Branch, Group, evidence, steps
from faltung.train.look_page import looked, page
from faltung.train.map_sheets import Sheet, sheet

Array = npt.NDArray[Any]
GREY = (128, 128, 128)


def pixels(found: Sheet, number: int = 0) -> Array:
    from PIL import Image

    data = base64.b64decode(found.pictures[number].uri.partition(",")[2])
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    assert image.size == (found.pictures[number].width, found.pictures[number].height)
    return np.asarray(image)


def test_a_dead_map_is_grey_and_counted_and_all_have_one_scale() -> None:
    maps = np.zeros((3, 8, 8), np.float32)
    maps[0, 2, 3], maps[2] = 4.0, 2.0
    found = sheet(maps)
    assert (found.low, found.high, found.signed, found.dead) == (0, 4, False, (1,))
    image = pixels(found)
    first, dead, half = (image[28, 60 * i + 28][:3] for i in range(3))
    assert tuple(dead) == GREY and tuple(first) != GREY
    assert tuple(image[18, 24][:3]) != tuple(half) and tuple(half) != tuple(first)
    assert image[0, 57][3] == 0  # between maps


def test_around_zero_where_some_are_below() -> None:
    found = sheet(np.array([[[-1.0, 0.0, 3.0]], [[0.0, 0.0, 0.0]]]))
    assert (found.low, found.high, found.signed, found.dead) == (-3, 3, True, (1,))
    row = pixels(found)[0]
    assert tuple(row[28][:3]) == (247, 247, 247)  # zero is white
    assert row[2][2] > row[2][0] and row[50][0] > row[50][2]  # blue, red


@pytest.mark.parametrize(
    ("shape", "unit", "rows"),
    [
        ((5,), "numbers", False),
        ((5, 1, 1), "numbers", False),
        ((7, 900), "maps", True),
        ((300, 3), "maps", True),
        ((9, 4, 6, 5), "maps", False),
        ((2000, 1), "numbers", False),
        ((80, 130, 70), "maps", False),
        ((1, 1, 300), "maps", False),
    ],
)
def test_any_shape(shape: tuple[int, ...], unit: str, rows: bool) -> None:
    maps = np.random.default_rng(0).standard_normal(shape)
    maps.reshape(len(maps), -1)[0, 0] = np.nan
    found = sheet(maps)
    assert (found.unit, found.rows, found.maps) == (unit, rows, len(maps))
    for number in range(len(found.pictures)):
        assert pixels(found, number).shape[1] <= 1100
    assert found.bytes < 200_000


def test_the_way_of_an_inception_network() -> None:
    model = Model(nets.get("googlenet", classes=4, input_shape=(1, 8, 8)), (1, 8, 8))
    way = steps(model.graph, model.summary().rows)
    blocks = [step for step in way if isinstance(step, Block)]
    assert len(blocks) == 9
    names = [branch.name for branch in blocks[0].branches]
    assert names == ["one", "three", "five", "pool"]
    assert [len(branch.groups) for branch in blocks[0].branches] == [1, 2, 2, 2]
    assert blocks[0].branches[-1].end == blocks[0].shape[0]
    groups = [step for step in way if isinstance(step, Group)]
    inside = [g for block in blocks for branch in block.branches for g in branch.groups]
    rows = [row for row in model.summary().rows if not row.follows and row.kind != "Concat"]
    assert len(groups) + len(inside) == len(rows)
    assert groups[0] == Group("conv1", "relu1", "Conv k3 p1, BN, ReLU", (32, 8, 8))


def test_what_only_hands_on_is_no_branch() -> None:
    net = nets.get("unet", classes=2, input_shape=(1, 16, 16))
    model = Model(net, (1, 16, 16))
    assert not [s for s in steps(model.graph, model.summary().rows) if isinstance(s, Block)]


def test_evidence_is_the_sum_of_maps_times_gradients() -> None:
    block = Block("b", (Branch("x", (), 0, 2), Branch("y", (), 2, 3)), (3, 2))
    maps, grads = np.ones((3, 2)), np.array([[1, 1], [1, 0], [-0.5, -0.5]])
    assert evidence(block, maps, grads) == [0.75, -0.25]
    assert evidence(block, maps, 0 * grads) == [0, 0]


def branched(**more: Any) -> Model:
    """Two blocks of branches, in which maps die."""

    def block(name: str) -> nn.Layer:
        one = nn.Sequential(nn.Conv(4, 1), nn.ReLU(), name="one")
        three = nn.Sequential(nn.Conv(4, 1), nn.ReLU(), nn.Conv(6, 3, padding="same"), name="three")
        return nn.Parallel(one, three, name=name)

    net = nn.Sequential(
        *(nn.Conv(8, 3, padding="same"), nn.ReLU(), block("first"), nn.MaxPool(2)),
        *(block("second"), nn.GlobalAvgPool(), nn.Flatten(), nn.Linear(3)),
    )
    model = Model(net, (1, 8, 8), **more)
    model.set_parameters({"conv1.bias": np.array([-9.0] * 2 + [0.0] * 6)})
    return model


def test_pages_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    model = branched()
    x = np.random.default_rng(0).random((1, 8, 8), dtype=np.float32)
    whole = page(looked(model, x), "noise")
    assert "2 of 8 maps are zero: 0, 1" in whole
    monkeypatch.setattr(look_page, "MOST_BYTES", 4_000)
    small = page(looked(model, x), "noise")
    assert len(small) < len(whole) and "6 of 8 maps shown" in small


def test_in_a_browser(tmp_path: Path) -> None:
    """Nothing is wider than a phone or a screen, and nothing is complained of."""
    classes = ["<script>alert(1)</script>" + "a" * 150, "b", "c"]
    model = branched(classes=classes)
    x = np.random.default_rng(0).random((1, 8, 8), dtype=np.float32)
    file = tmp_path / "page.html"
    file.write_text(page(looked(model, x), "name " * 40 + "w" * 200, "runs/<b>"))
    with browser() as opened:
        for width, scheme in ((390, "dark"), (1280, "light")):
            assert not complaints(opened, file, width, scheme)
