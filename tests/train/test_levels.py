"""Weights on their grids answer the same, and take whole numbers in a coded file."""

from copy import copy
from pathlib import Path

import numpy as np
import pytest

from faltung import Model, nn
from faltung.formats.tensors import load_tensors
from faltung.train.levels import settle

pytest.importorskip("constriction")


@pytest.mark.parametrize("bits", [3, 8])
def test_the_same_answers_in_fewer_bits(bits: int, tmp_path: Path) -> None:
    net = nn.Sequential(
        nn.Quantise(0.25),
        nn.Conv(8, 3, bits=bits, name="first"),
        nn.ReLU(),
        nn.ConvTranspose(6, 3, bits=bits, name="second"),
        nn.Flatten(),
        nn.Quantise(0.5),
        nn.Linear(24, bits=bits, name="third"),
    )
    model, rng = Model(net, (2, 7, 6), seed=1), np.random.default_rng(0)
    own = {n: rng.normal(size=a.shape) for n, a in model.parameters.items() if n.endswith("bias")}
    model.set_parameters(own)
    found, x = copy(model), rng.uniform(0, 30, (5, 2, 7, 6)).astype(np.float32)
    settle(found)
    assert found.predict(x).tobytes() == model.predict(x).tobytes()
    once = found.parameters["third.weight"]
    settle(found)
    assert found.parameters["third.weight"].tobytes() == once.tobytes()
    paid: dict[str, float] = {}
    found.save(tmp_path / "x", coded=True)
    load_tensors(tmp_path / "x", bits=paid)
    for name in ("first.weight", "second.weight", "third.weight"):
        assert paid[name] < (bits + 0.5) * found.parameters[name].size, name
    assert Model.load(tmp_path / "x").predict(x).tobytes() == model.predict(x).tobytes()


def test_without_grids_nothing_changes() -> None:
    model = Model(nn.Linear(3), (4,))
    before = model.parameters
    settle(model)
    assert all(model.parameters[name].tobytes() == before[name].tobytes() for name in before)
