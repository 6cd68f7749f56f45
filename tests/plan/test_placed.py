"""Where parts of convolutions begin and end, and that their methods do not follow from sizes."""

from dataclasses import replace

import pytest

from faltung.geometry.conv import conv_spec
from faltung.jit.target import current
from faltung.methods.base.correlation import contiguous, forward
from faltung.plan.choose import AUTO, Policy, choose
from faltung.plan.placed import grid_of

PLACED = Policy(placed=True)


def method(shape: tuple[int, ...], weight: tuple[int, ...], **options: object) -> str:
    spec = conv_spec(shape, weight, **options)
    x, out = contiguous(spec.input_shape, True), contiguous(spec.output_shape, True)
    c = forward(spec, x, contiguous(spec.weight_shape, True), out)
    return choose(replace(c, placed=True), current(), PLACED).best.name


@pytest.mark.parametrize("channels", [1, 16, 64, 256])
@pytest.mark.parametrize("kernel", [1, 3, 5, 31])
def test_the_method_does_not_follow_from_the_size(channels: int, kernel: int) -> None:
    weight = (channels, channels, kernel, kernel)
    sizes = ((kernel, kernel), (kernel, 500), (200, 210), (1000, 2000))
    found = {method((1, channels, *size), weight) in ("winograd",) for size in sizes}
    assert len(found) == 1
    grids = {grid_of(conv_spec((1, channels, *size), weight), current(), AUTO) for size in sizes}
    assert len(grids) == 1


def test_far_transforms_are_out() -> None:
    for weight in ((32, 32, 31, 31), (512, 512, 1, 1)):
        spec = conv_spec((1, weight[1], 300, 300), weight)
        x, out = contiguous(spec.input_shape, True), contiguous(spec.output_shape, True)
        c = forward(spec, x, contiguous(spec.weight_shape, True), out)
        decision = choose(replace(c, placed=True), current(), PLACED)
        reasons = {o.name: o.why_not for o in decision.candidates}
        assert "place in the whole" in (reasons["fft"] or "")
        assert reasons["strassen"] and decision.best.name not in ("fft", "strassen")


def test_grids_are_those_of_tiles() -> None:
    spec = conv_spec((1, 64, 99, 99), (64, 64, 3, 3), padding=2, dilation=(1, 2))
    (a, b) = grid_of(spec, current(), AUTO)
    assert a in (2, 4) and b in (4, 8)
    assert grid_of(spec, current(), Policy(precision="strict")) == (1, 1)
    assert grid_of(replace(spec, groups=64), current(), AUTO) == (1, 1)
