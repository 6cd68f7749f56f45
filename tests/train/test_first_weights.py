"""First weights are drawn when something asks for them, and are the same whenever that is."""

import copy
from pathlib import Path

import numpy as np
import pytest

from faltung import Model, nn
from faltung.graph import initial
from faltung.train import network

NET = nn.Sequential(nn.Conv(3, 3, padding="same"), nn.ReLU(), nn.Flatten(), nn.Linear(2))


def _refused(graph: object, seed: int = 0) -> None:
    raise AssertionError("first weights were drawn")


def test_nothing_is_drawn_that_a_file_replaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(NET, (1, 6, 6), seed=4)
    x = np.ones((2, 1, 6, 6), np.float32)
    seen = model.predict(x)
    model.save(tmp_path / "m.safetensors")
    monkeypatch.setattr(network, "parameters", _refused)
    for again in (
        Model.load(tmp_path / "m.safetensors"),
        copy.deepcopy(model),
        model.astype("float32"),
    ):
        assert again.predict(x).tobytes() == seen.tobytes()
    with pytest.raises(AssertionError, match="drawn"):
        Model(NET, (1, 6, 6)).predict(x)


def test_some_that_are_set_leave_the_others_as_drawn() -> None:
    model = Model(NET, (1, 6, 6), seed=4)
    drawn = initial.parameters(model.training_graph, 4)
    name, *others = drawn
    model.set_parameters({name: np.zeros_like(drawn[name])})
    kept = model.parameters
    assert not kept[name].any()
    assert all(np.array_equal(kept[other], drawn[other]) for other in others)


def test_values_that_fail_leave_the_first_ones() -> None:
    model = Model(NET, (1, 6, 6), seed=4)
    drawn = initial.parameters(model.training_graph, 4)
    bad = {**drawn, list(drawn)[-1]: np.full(drawn[list(drawn)[-1]].shape, "x")}
    with pytest.raises(ValueError):
        model.set_parameters(bad)
    assert all(np.array_equal(model.parameters[name], drawn[name]) for name in drawn)
