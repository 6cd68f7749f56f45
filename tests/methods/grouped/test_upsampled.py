"""Input gradients of depthwise layers with strides of two, all phases at once."""

import numpy as np
import pytest
from grid import MACHINES, grid
from methods.test_every_method import check

from faltung import conv_input_grad
from faltung.geometry import parse
from faltung.machine.table import Machine
from faltung.plan import plan_input_grad

TEXTS = [
    "n2 c16>16 7x7 k3 s2 p1 g16",
    "n1 c9>9 15x30 k3 s2 p1 g9",
    "n1 c17>17 12x50 k5 s2x1 p2 g17",
    "n1 c8>8 20x41 k7 s2 p3 g8",
    "n1 c8>8 10x9 k3 s1x2 p1 g8",
    "n1 c16>16 13x29 k4 s2 p(2,1)x(0,3) g16",
    "n1 c8>8 6x17 k2 s2 g8",
    "n1 c5>5 3x4 k3 s2 p2 g5",
    "n1 c5>5 2x2 k7 s2 p6 g5",
    "n2 c3>3 66 k5 s2 p2 g3",
    "n1 c4>4 5x6x9 k3 s2x1x2 p1 g4",
    "n1 c6>6 9x10 k3 s2 p1 g6 flip",
    "n1 c6>6 9x10 k3 s2 p1 g6 m:reflect,circular",
]


@grid(text=TEXTS, machine=MACHINES)
def test_exact(text: str, machine: Machine) -> None:
    check(parse(text), "depthwise", machine, always=True)
    check(parse(f"{text} f64"), "depthwise", machine, always=True)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("text", TEXTS)
def test_bits(text: str, last: bool) -> None:
    """Those of the phases."""
    spec, rng = parse(text), np.random.default_rng(0)
    g = rng.standard_normal(spec.output_shape).astype(np.float32)
    w = rng.standard_normal(spec.weight_shape).astype(np.float32)
    shape = spec.input_shape
    if last:
        g = np.ascontiguousarray(np.moveaxis(g, 1, -1))
        shape = (shape[0], *shape[2:], shape[1])
    given = {
        "stride": spec.stride,
        "padding": tuple((axis.lo, axis.hi) for axis in spec.axes),
        "padding_mode": tuple(axis.mode for axis in spec.axes),
        "groups": spec.groups,
        "flip": spec.flip,
        "channels_last": last,
    }
    found = [conv_input_grad(g, w, shape, method=m, **given) for m in ("depthwise", "direct")]
    assert found[0].tobytes() == found[1].tobytes()


def test_when_it_is_one_step() -> None:
    def titles(text: str, last: bool = True) -> list[str]:
        return [title for title, _ in plan_input_grad(parse(text), channels_last=last).reasons]

    for last in (False, True):
        assert titles("c16>16 9x9 k3 s2 p1 g16", last) == ["all phases"]
        # No stride; a stride of three; a dilation; several channels; a phase without taps.
        assert titles("c16>16 9x9 k3 p1 g16", last) == ["phase 0x0"]
        assert len(titles("c16>16 9x9 k3 s3 p1 g16", last)) == 9
        assert len(titles("c16>16 9x9 k3 s2 d3 p1 g16", last)) == 4
        assert len(titles("c32>32 9x9 k3 s2 p1 g16", last)) == 4
        assert "all phases" not in titles("c16>16 9x9 k1 s2 g16", last)
