"""First values: by seed and name alone, as large as the layer asks for."""

import numpy as np
import pytest

from faltung import nn
from faltung.graph.initial import generator, parameters

NET = nn.Sequential(
    nn.Conv(64, 3, name="a"), nn.BatchNorm(), nn.ReLU(), nn.Conv(32, (5, 1)), nn.Local(2, 3)
)


def test_each_is_what_its_parameter_says() -> None:
    graph = nn.build(NET, (16, 12, 10))
    made = parameters(graph, 7)
    assert list(made) == [p.name for p in graph.parameters]
    for p in graph.parameters:
        array = made[p.name]
        assert array.shape == p.shape and array.dtype == np.float32
        if p.initial == "normal":
            assert abs(array.std() / np.sqrt(2 / p.fan_in) - 1) < 0.1
            assert abs(array.mean()) < 4 * np.sqrt(2 / p.fan_in / p.size)
        else:
            assert (array == p.initial).all()
    assert made["batchnorm1.weight"][0] == 1
    assert made["batchnorm1.running_var"][0] == 1
    assert made["batchnorm1.bias"][0] == made["a.bias"][0] == 0


def test_neither_order_nor_neighbours_matter() -> None:
    first = parameters(nn.build(NET, (16, 12, 10)), 7)
    other = nn.Sequential(nn.Conv(16, 1, name="before"), nn.Conv(64, 3, name="a"))
    second = parameters(nn.build(other, (5, 12, 10)), 7)
    np.testing.assert_array_equal(first["a.weight"], second["a.weight"])
    assert (parameters(nn.build(NET, (16, 12, 10)), 8)["a.weight"] != first["a.weight"]).any()
    assert (first["conv1.weight"].ravel()[:9] != first["a.weight"].ravel()[:9]).all()


def test_both_precisions_begin_alike() -> None:
    single, double = (parameters(nn.build(NET, (3, 9, 9), dtype=d)) for d in ("float32", "float64"))
    for name, array in double.items():
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array.astype(np.float32), single[name])


def test_the_row_for_padding_is_zero() -> None:
    net = nn.Sequential(nn.Embedding(9, 4, padding_index=3, name="words"), nn.Conv(2, 2))
    table = parameters(nn.build(net, (5,), tokens=True))["words.weight"]
    assert (np.flatnonzero((table == 0).all(axis=1)) == [3]).all()
    assert abs(table[4:].std() - 1) < 0.5  # variance 1, whatever the number of words


def test_the_values_stay_what_they_are() -> None:
    """Runs are repeated by seed: these numbers must never change."""
    drawn = generator(0, "conv1.weight").standard_normal(3)
    np.testing.assert_allclose(drawn, WANT, rtol=1e-15)


WANT = [-0.30139364790566664, 1.7154988741504515, 1.1184954297925722]


def test_a_seed_is_a_whole_number() -> None:
    graph = nn.build(nn.Linear(2), (3,))
    with pytest.raises(ValueError, match=r"^seed=-1: must be at least 0$"):
        parameters(graph, -1)
    with pytest.raises(TypeError, match=r"^seed=0.5: must be an int$"):
        parameters(graph, 0.5)  # type: ignore[arg-type]
