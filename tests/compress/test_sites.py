"""Layers in stages: on every geometry they compute what the layer with their product does."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from compress.test_factors import product
from graph import interpreter
from grid import grid

from cases import CASES, Case
from faltung import Model, nn
from faltung.compress.factors import Form, forms
from faltung.compress.sites import Site, sites

TRANSPOSED: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "plain": ({}, (5, 6)),
    "strided": ({"stride": 2, "padding": 1, "output_padding": 1}, (5, 6)),
    "each axis": (
        {"stride": (2, 3), "padding": ((1, 0), 2), "dilation": (1, 2), "output_padding": (0, 1)},
        (4, 5),
    ),
    "grouped": ({"stride": 2, "groups": 2}, (5, 4)),
    "same": ({"stride": 2, "padding": "same_upper"}, (5, 4)),
    "one axis": ({"stride": 3}, (7,)),
    "three axes": ({"stride": (1, 2, 1), "padding": 1}, (3, 4, 3)),
}


def layer_of(case: Case) -> nn.Conv:
    spec = case.spec
    return nn.Conv(
        spec.channels_out,
        spec.kernel,
        stride=spec.stride,
        padding=spec.padding,
        dilation=spec.dilation,
        groups=spec.groups,
        padding_mode=spec.padding_mode,
        flip=spec.flip,
    )


def check(layer: nn.Layer, shape: tuple[int, ...], least: int = 1) -> None:
    """All forms, each at a rank between: stages and the whole with the product of their weights."""
    model = Model(layer, shape, dtype="float64")
    (site,), left = sites(model)
    assert not left
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((site.groups, site.outs, site.ins, *site.kernel))
    bias = rng.standard_normal(model.graph.output.channels) if site.biased else None
    x = rng.standard_normal((2, *shape))
    count = 0
    for form in forms(weight, not site.transposed):
        ranks = list(form.ranks())
        if ranks:
            _staged(model, site, form, ranks[len(ranks) // 2], x, bias)
            count += 1
    assert count >= least


def _staged(
    model: Model, site: Site, form: Form, ranks: tuple[int, ...], x: np.ndarray, bias: Any
) -> None:
    stages, factors = form.stages(ranks), form.factors(ranks)
    layers = site.layers(stages, "part")
    net, shape = site.alone(layers)
    made = Model(net, shape, dtype="float64")
    weights = {
        f"{layer.name}.weight": site.stored(layer, factor)
        for layer, factor in zip(layers, factors, strict=True)
    }
    own = {f"{site.name}.weight": site.stored(site.layer, product(factors))}
    if bias is not None:
        weights[f"{layers[-1].name}.bias"] = own[f"{site.name}.bias"] = bias
    wanted = interpreter.run(model.graph, own, x)
    found = interpreter.run(made.graph, weights, x)
    size = max(np.abs(wanted).max(initial=1.0), 1.0)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-10 * size, err_msg=form.name)
    # What they are said to cost is what they cost.
    from faltung.graph.summary import summary

    paper, cost = summary(made.graph), site.cost(stages)
    biases = 0 if bias is None else bias.size
    assert cost == (8 * (paper.parameters - biases), paper.macs)
    assert eval(repr(net), vars(nn)) == net


FLOATS = [c for c in CASES if c.spec.dtype in ("float32", "float64") and c.spec.batch]


@grid(case=FLOATS, every=16)
def test_every_geometry(case: Case) -> None:
    spec = replace(case.spec, batch=1)
    check(layer_of(case), (spec.channels_in, *spec.size))


@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed(name: str) -> None:
    words, space = TRANSPOSED[name]
    check(nn.ConvTranspose(6, 3, **words), (4, *space), 3)


def test_linear() -> None:
    check(nn.Linear(5), (7,))
    check(nn.Linear(5, bias=False), (7,))
    model = Model(nn.Sequential(nn.Flatten(), nn.Linear(5)), (3, 2, 2), dtype="float64")
    (site,), _ = sites(model)
    assert site.alone([site.layer])[1] == (3, 2, 2) and site.ins == 12


def test_what_cannot_be_taken_apart_says_why() -> None:
    net = nn.Sequential(nn.Conv(8, 3), nn.SqueezeExcite(2), nn.Local(3, 2))
    found, left = sites(Model(net, (3, 6, 6)))
    assert [site.name for site in found] == ["conv1"]
    assert left == {
        name: "it is part of another layer, or of a network from elsewhere"
        for name in ("squeezeexcite1.reduce", "squeezeexcite1.expand")
    }
