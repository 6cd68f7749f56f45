"""Means of compression that are simple enough to be seen to be right, for tests of the walk."""

from dataclasses import replace

import numpy as np

from faltung import nn
from faltung.compress.means import Left, Means, Outcome, Task, remade
from faltung.geometry.errors import FaltungError
from faltung.train.model import Model


def narrow(model: Model, task: Task, strength: float) -> Outcome:
    """LeNet-5 with fewer channels of its first convolution: those of the least weights are gone."""
    layers, old = model.net.layers, model.parameters  # type: ignore[attr-defined]
    count = max(1, round((1 - strength) * layers[0].channels))
    if count == layers[0].channels:
        return Outcome(model, (Left("conv1", "has one channel"),), changed=False)
    sizes = np.abs(old["conv1.weight"]).reshape(layers[0].channels, -1).sum(1)
    kept = np.sort(np.argsort(-sizes, kind="stable")[:count])
    made = dict(old)
    made |= {name: old[name][kept] for name in ("conv1.weight", "conv1.bias")}
    made["conv2.weight"] = old["conv2.weight"][:, kept]
    net = nn.Sequential(replace(layers[0], channels=count), *layers[1:])
    said = f"conv1 {layers[0].channels} -> {count} channels"
    return Outcome(remade(model, net, made), (Left("linear3", "is the last"),), said)


def few_values(model: Model, task: Task, strength: float) -> Outcome:
    """Weights rounded to so many bits of their largest."""
    made = {}
    for name, value in model.parameters.items():
        if name.endswith(".weight"):
            step = np.abs(value).max() / 2 ** (strength - 1)
            value = (np.round(value / step) * step).astype(value.dtype)
        made[name] = value
    return Outcome(remade(model, model.net, made), (), f"{strength:g} bits")


def refuses(model: Model, task: Task, strength: float) -> Outcome:
    """A means that takes no network."""
    raise FaltungError("dtype='float32': is not what this takes")


SMALL = {
    "prune": Means("small_means:narrow", "part of the channels that go", "fewer channels"),
    "palettes": Means("small_means:few_values", "bits", "rounded weights"),
}
