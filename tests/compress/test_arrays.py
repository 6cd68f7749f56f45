"""The walk as a function on arrays."""

from pathlib import Path

import numpy as np
import pytest
from runs import shapes
from small_means import SMALL

from faltung import Model, nets
from faltung.compress import measure, recipe
from faltung.compress.arrays import compress
from faltung.compress.means import MEANS
from faltung.compress.recipe import Leaf
from faltung.geometry.errors import FaltungError


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(MEANS):
        monkeypatch.delitem(MEANS, name)
    for name, row in SMALL.items():
        monkeypatch.setitem(MEANS, name, row)
    monkeypatch.setattr(recipe, "LEAVES", (Leaf("palettes", 4, False, bits=1),))
    monkeypatch.setattr(recipe, "ROUNDS", 1)
    monkeypatch.setattr(measure, "ROUNDS", 1)


def trained() -> tuple[Model, np.ndarray, np.ndarray]:
    x, y = shapes(80)
    model = Model(nets.get("lenet5", classes=2, input_shape=(1, 8, 8)), (1, 8, 8))
    model.fit(x, y, epochs=3, validation=0.2, batch=16, show=False)
    return model, x, y


def test_a_smaller_model_and_what_it_costs(tmp_path: Path) -> None:
    model, x, y = trained()
    before = model.parameters
    x2, y2 = shapes(24, seed=3)
    small, entries, end = compress(
        model, x, y, report=(x2, y2), drop=60, epochs=1, batch=16, out=tmp_path / "out"
    )
    assert end.chosen is not None
    entry = entries[end.chosen]
    assert small.evaluate(x2, y2)["accuracy"] == entry.report.value
    assert entry.bytes < entries[0].bytes and entry.report.samples == 24
    assert all(np.array_equal(before[name], value) for name, value in model.parameters.items())
    again = compress(
        model, x, y, report=(x2, y2), drop=60, epochs=1, batch=16, out=tmp_path / "out"
    )
    assert again[1] == entries  # read, not measured again
    with pytest.raises(FileExistsError, match="holds another compression"):
        compress(model, x, y, report=(x2, y2), drop=61, epochs=1, batch=16, out=tmp_path / "out")
    with pytest.raises(FaltungError, match=r"limits: none of .* keeps the limits"):
        compress(model, x, y, report=(x2, y2), bytes=9, epochs=1, batch=16)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"drop": -1}, "drop=-1: must be at least 0"),
        ({"epochs": 0}, "epochs=0: must be at least 1"),
        ({"held": 0.01}, "held_out: 2 samples: must be at least 4"),
        ({"held": (np.ones((4, 1, 9, 9)), [0, 1, 0, 1])}, r"x.shape=\(4, 1, 9, 9\)"),
        ({"momentum": 0.9}, "momentum=0.9: applies to sgd"),
    ],
)
def test_refused(more: dict[str, object], message: str) -> None:
    x, y = shapes(80)
    model = Model(nets.get("lenet5", classes=2, input_shape=(1, 8, 8)), (1, 8, 8))
    with pytest.raises((ValueError, TypeError), match=message):
        compress(model, x, y, **more)  # type: ignore[arg-type]
