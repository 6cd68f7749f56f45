"""Maps read at computed points in graphs: slopes, and programs."""

from dataclasses import dataclass
from math import prod

import numpy as np
import pytest
from graph import networks
from graph.networks import problem
from graph.test_differentiate import check
from hypothesis import given
from program.programs import close, poison, ran, same, step_of, threads, wanted
from samplings import specs

from faltung import nn
from faltung.geometry.sample import SampleSpec
from faltung.graph.builder import Builder
from faltung.graph.ops import Sample, View
from faltung.graph.value import Value

CHANNELS = 3


@dataclass(frozen=True, slots=True, repr=False)
class Layer(nn.Layer):
    """A sampling of its input; points and masks are computed of the input too."""

    spec: SampleSpec

    def build(self, b: Builder, x: Value) -> Value:
        spec = self.spec
        each = spec.coordinates + spec.masked * spec.groups
        flat = b.settled(b.flatten(x))
        made = nn.Linear(each * prod(spec.output), name="points")(b, flat)
        whole = b.node(View(), (made,), (each * prod(spec.output[-1:]), *spec.output[:-1]))
        inputs = [x]
        for number, count in enumerate((spec.coordinates, *[spec.groups] * spec.masked)):
            width, name = count * spec.output[-1], f"part{number}"
            layer = nn.Conv(width, 1, name=name) if whole.space else nn.Linear(width, name=name)
            inputs.append(b.node(View(), (layer(b, whole),), (count, *spec.output)))
        return b.node(Sample(spec), inputs, (x.channels, *spec.output))


def row(patch: pytest.MonkeyPatch, spec: SampleSpec) -> str:
    channels = 2 * spec.groups
    net = nn.Sequential(nn.Conv(channels, 1), Layer(spec))
    patch.setitem(networks.TABLE, "sampled", (net, (CHANNELS, *spec.size)))
    return "sampled"


@given(specs(smooth=True))
def test_gradients_are_slopes(spec: SampleSpec) -> None:
    """Of the map, of the points and of the masks, by what made them."""
    with pytest.MonkeyPatch.context() as patch:
        check(problem(row(patch, spec)), directions=1)


@given(specs())
def test_programs_compute_what_graphs_mean(spec: SampleSpec) -> None:
    with pytest.MonkeyPatch.context() as patch:
        found = problem(row(patch, spec))
        step = step_of(found)
        poison(step)
        got = ran(step, found)
        close(got, wanted(step, found), 1e-9)
        with threads(3):
            same(ran(step_of(found), found), got)
    assert np.isfinite(got["loss"])
