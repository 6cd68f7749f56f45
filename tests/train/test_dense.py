"""Classifiers made dense."""

import numpy as np
import pytest

from faltung import Model, nets, nn

C = nn.Conv


def samples(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "mobilenetv2", "googlenet"])
def test_networks_of_the_literature(name: str) -> None:
    shape = (1, 32, 32) if name == "lenet5" else (3, 64, 64)
    model = Model(nets.get(name, input_shape=shape, classes=5), shape, classes=list("abcde"))
    dense = model.dense()
    x = samples(2, *shape)
    assert dense.classes == model.classes
    assert dense.predict(x)[:, :, 0, 0] == pytest.approx(model.predict(x), abs=1e-5)
    big = samples(shape[0], 128, 96)
    whole = dense.predict(big)
    assert whole.ndim == 3 and min(whole.shape[1:]) > 1
    assert dense.predict(big, tile=3).tobytes() == whole.tobytes()


def test_without_padding_every_position_is_the_answer_for_its_window() -> None:
    net = nn.Sequential(
        C(6, 3), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(2), C(8, 3), nn.Flatten(), nn.ReLU(),
        nn.Linear(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(3),
    )  # fmt: skip
    model = Model(net, (2, 12, 14))
    dense, x = model.dense(), samples(2, 40, 38)
    whole = dense.predict(x)
    assert whole.shape == (3, 15, 13)
    for i, j in ((0, 0), (4, 7), (14, 12)):
        window = x[:, 2 * i : 2 * i + 12, 2 * j : 2 * j + 14]
        assert whole[:, i, j] == pytest.approx(model.predict(window), rel=1e-4, abs=1e-5)


def test_a_linear_layer_keeps_its_bits() -> None:
    model = Model(nn.Sequential(C(4, 3), nn.Flatten(), nn.Linear(5)), (1, 9, 8))
    x = samples(1, 9, 8)
    assert model.dense().predict(x).tobytes() == model.predict(x).tobytes()


def test_means_become_windows() -> None:
    net = nn.Sequential(C(4, 3, padding=1), nn.AdaptiveAvgPool(2), nn.Flatten(), nn.Linear(3))
    model = Model(net, (1, 8, 8))
    assert model.dense().predict(samples(1, 16, 8)).shape == (3, 3, 1)
    assert str(model.dense().net).count("AvgPool(4") in (0, 1)
    with pytest.raises(ValueError, match=r"layer 'adaptiveavgpool1' have several sizes"):
        Model(net, (1, 9, 9)).dense()


def test_series_volumes_and_networks_that_are_dense_already() -> None:
    for shape in ((2, 20), (1, 6, 7, 8)):
        net = nn.Sequential(C(3, 3), nn.GlobalAvgPool(), nn.Linear(2))
        dense = Model(net, shape).dense()
        assert dense.predict(samples(*shape)).shape == (2,) + (1,) * (len(shape) - 1)
    model = Model(C(2, 3), (1, 8, 8))
    x = samples(1, 8, 8)
    assert model.dense().predict(x).tobytes() == model.predict(x).tobytes()


def test_it_is_saved_and_loaded(tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = Model(nn.Sequential(C(4, 3), nn.Flatten(), nn.Linear(5)), (1, 9, 8)).dense()
    model.save(tmp_path / "dense.safetensors")
    x = samples(1, 30, 20)
    assert Model.load(tmp_path / "dense.safetensors").predict(x).tobytes() == (
        model.predict(x).tobytes()
    )


def test_what_cannot_be_dense() -> None:
    with pytest.raises(ValueError, match="needs a network for maps"):
        Model(nn.Linear(2), (3,)).dense()
