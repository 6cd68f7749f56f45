"""Long sums in blocks of input channels: exact, and the bits of a sum in one go."""

import numpy as np
import pytest
from grid import MACHINES, grid
from laws.fences import between_fences, fenced
from methods.fused import FORMULAS, PLACES, check
from methods.test_every_method import only

import faltung
from faltung.geometry import parse
from faltung.machine.table import Machine
from faltung.methods.base.correlation import contiguous
from faltung.methods.base.remembered import forget
from faltung.methods.plain import direct
from faltung.methods.plain.blocked import panel_of
from faltung.plan.build import build_forward
from faltung.plan.choose import Policy

# So few bytes of weights in a panel that short sums have several.
SMALL = 0.02
SPECS = [
    "n2 c150>33 5x4 k1",
    "n1 c201>21 7x7 k1 s2",
    "n3 c130>5 13 k1",
    "n1 c163>40 9x5 k1 s1x2",
    "n2 c150>17 4x5 k1 f64",
    "n2 c75>10 8x6 k2 s2",
]


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Panels of a few channels, whatever the number of tiles."""
    monkeypatch.setattr(direct, "PANEL_SHARE", SMALL)
    monkeypatch.setattr(direct, "MIN_PANEL_TILES", 1)
    monkeypatch.setattr("faltung.plan.build.choose", only("direct"))
    forget()


def blocked(spec: str, machine: Machine, last: bool) -> bool:
    question = parse(spec)
    x, out = (contiguous(s, last) for s in (question.input_shape, question.output_shape))
    w = contiguous(question.weight_shape, False)
    policy = Policy(method="direct")
    plan = build_forward(question, x, w, out, bias=False, machine=machine, policy=policy)
    return any(isinstance(step.recipe, direct.BlockedKernel) for step in plan.work.steps)


@pytest.mark.usefixtures("panels")
@grid(every=96, text=SPECS, name=FORMULAS, place=PLACES, machine=MACHINES)
def test_formulas_read_and_write_once_the_sums_are_complete(
    text: str, name: str, place: str, machine: Machine
) -> None:
    for last, threads in ((False, 1), (True, 3)):
        assert blocked(text, machine, last) or "k2" in text
        check(parse(text), name, last, place, machine, threads)


@pytest.mark.usefixtures("panels")
@between_fences(text=SPECS, place=PLACES, every=24)
def test_between_fences(text: str, place: str, side: str, machine: Machine) -> None:
    def new(n_bytes: int) -> np.ndarray:
        return fenced(n_bytes, side == "after")

    check(parse(text), "residual", True, place, machine, 1, new)


@grid(
    text=["n2 c1100>40 7x7 k1", "n1 c2048>21 7x7 k1 s2", "n2 c1031>17 5x7 k1"],
    dtype=["float32", "float64", "float16"],
    last=[False, True],
    machine=MACHINES,
)
def test_the_bits_are_those_of_a_sum_in_one_go(
    text: str, dtype: str, last: bool, machine: Machine
) -> None:
    spec, draw = parse(text), np.random.default_rng(5)
    shapes = spec.input_shape, spec.weight_shape, (spec.channels_out,)
    x, w, b = (draw.standard_normal(shape).astype(dtype) for shape in shapes)
    if dtype == "float32" or (dtype, machine.lanes("float64") > 2) == ("float64", True):
        assert blocked(text, machine, last)
    x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1) if last else x
    given = {"stride": spec.stride}
    found = faltung.conv(x, w, b, method="direct", **given)
    np.testing.assert_array_equal(found, faltung.conv(x, w, b, method="spatial", **given))
    np.testing.assert_array_equal(faltung.conv(x[:1], w, b, method="direct", **given), found[:1])


@pytest.mark.parametrize("channels", [512, 515, 960, 1031, 2048, 3072])
@pytest.mark.parametrize("size", [128, 170, 256])
def test_panels_are_nearly_equal(channels: int, size: int) -> None:
    panel = panel_of(channels, size, 4)
    assert panel % 4 == 0
    assert panel <= size + 3
    last = channels % panel or panel
    assert panel - last < 4 * -(-channels // panel)
