"""Grad-CAM against its definition; what it makes of runs is in tests/cli/test_look.py."""

import numpy as np
import pytest

from faltung import Model, nn
from faltung.program.probe import probe, watchable
from faltung.train.explain import cam


def test_maps_are_weighted_by_the_mean_of_their_gradient() -> None:
    rng = np.random.default_rng(0)
    maps, grad = rng.standard_normal((2, 3, 4, 5))
    want = np.maximum(sum(g.mean() * m for m, g in zip(maps, grad, strict=True)), 0)
    np.testing.assert_allclose(cam(maps, grad), want / want.max())
    assert cam(maps, grad).max() == 1


def test_where_nothing_speaks_for_the_class_it_is_cold() -> None:
    assert not cam(np.ones((2, 4)), -np.ones((2, 4))).any()


def test_the_heat_is_where_the_class_is() -> None:
    """The gradient of a class that one place alone speaks for."""
    layers = nn.Sequential(
        nn.Conv(1, 1, bias=False), nn.ReLU(), nn.GlobalAvgPool(), nn.Flatten(), nn.Linear(2)
    )
    model = Model(layers, (1, 6, 6))
    model.set_parameters({"conv1.weight": np.ones((1, 1, 1, 1))})
    model.set_parameters({"linear1.weight": np.array([[1.0], [-1.0]])})
    x = np.zeros((1, 1, 6, 6), np.float32)
    x[0, 0, 2, 4] = 3
    values = [value for value in watchable(model.graph) if value.positions > 1]
    for label, peak in ((0, 1.0), (1, 0.0)):
        weights = np.eye(2, dtype=np.float32)[[label]]
        _, maps, grad = probe(model.graph, model.state, x, values, weights=weights, to=values[-1])
        assert grad is not None
        heat = cam(maps[values[-1].name][0], grad[0])
        assert heat[2, 4] == peak and heat.sum() == peak


@pytest.mark.parametrize("space", [(12,), (6, 5), (4, 5, 6)])
def test_the_gradient_is_that_of_differences(space: tuple[int, ...]) -> None:
    """d output[label] / d map, one entry at a time, in float64."""
    layers = nn.Sequential(
        nn.Conv(3, 3, padding="same"), nn.Tanh(), nn.Conv(2, 3), nn.Flatten(), nn.Linear(2)
    )
    model = Model(layers, (1, *space), dtype="float64")
    x = np.random.default_rng(0).standard_normal((1, 1, *space))
    to = next(value for value in watchable(model.graph) if value.name.startswith("tanh1"))
    weights = np.array([[0.0, 1.0]])
    output, maps, grad = probe(model.graph, model.state, x, [to], weights=weights, to=to)
    np.testing.assert_allclose(output[0], model.predict(x)[0], rtol=1e-12)
    rest = Model(nn.Sequential(*layers.layers[2:]), (3, *space), dtype="float64")
    rest.set_parameters(
        {name: model.parameters[name.replace("conv1", "conv2")] for name in rest.parameters}
    )
    assert grad is not None
    for at in [(0,) * (1 + len(space)), tuple(n - 1 for n in (3, *space))]:
        step = np.zeros((3, *space))
        step[at] = 1e-6
        up, down = (rest.predict(maps[to.name][0] + s)[1] for s in (step, -step))
        assert grad[0][at] == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-9)
