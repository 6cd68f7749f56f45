"""What is promised of every case of the table, on every machine: the same bits whoever computes
them, little rounding, and NaN and infinity where the sums have them and nowhere else.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from grid import MACHINES, grid, rows
from laws.layouts import back, one_if_narrow, options, real, to
from laws.methods import sums_bound

import faltung
from cases import CASES, Case, integers
from faltung import reference
from faltung.geometry import ConvSpec, parse
from faltung.plan import plan as planning

WALK = grid(
    case=[case for case in CASES if case.spec.batch],
    last=[False, True],
    machine=MACHINES,
    where=one_if_narrow,
)


@pytest.fixture
def every_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Also the smallest problem goes to the whole team."""
    monkeypatch.setattr(planning, "MIN_PARALLEL_CYCLES", 0.0)
    before = faltung.get_threads()
    yield
    faltung.set_threads(before)


@WALK
def test_the_same_bits(case: Case, last: bool, machine: object, every_thread: None) -> None:
    spec = replace(case.spec, batch=7 if case.spec.macs < 1_000_000 else 3)
    x, w, bias, g = real(spec)
    x, g = to(x, last), to(g, last)
    given = {**options(spec), "channels_last": last}
    layer = faltung.Conv(w, bias, **given)
    found = []
    for threads in (1, 2, 3):
        faltung.set_threads(threads)
        found.append(
            (
                faltung.conv(x, w, bias, **given),
                faltung.conv_input_grad(g, w, x.shape, **given),
                faltung.conv_weight_grad(x, g, w.shape, **given),
            )
        )
    for other in found[1:]:
        assert [a.tobytes() for a in found[0]] == [a.tobytes() for a in other]
    forward, by_x, _ = found[0]
    assert layer(x).tobytes() == forward.tobytes()
    for i in (0, spec.batch - 1):
        assert faltung.conv(x[i], w, bias, **given).tobytes() == forward[i].tobytes()
        assert layer(x[i : i + 1]).tobytes() == forward[i].tobytes()
        alone = faltung.conv_input_grad(g[i], w, x.shape[1:], **given)
        assert alone.tobytes() == by_x[i].tobytes()


def check_rounding(spec: ConvSpec, last: bool) -> None:
    x, w, bias, g = real(spec)
    given = {**options(spec), "channels_last": last, "precision": "strict"}
    unit = np.finfo(spec.dtype).eps / 2
    size = abs(x), abs(w), abs(bias), abs(g)
    inputs, outputs = spec.channels_in // spec.groups, spec.channels_out // spec.groups
    rows = [  # result, what it should be, the same of absolute values, terms in a sum
        (
            back(faltung.conv(to(x, last), w, bias, **given), last),
            reference.conv(x, w, bias, spec),
            reference.conv(*size[:3], spec),
            inputs * spec.taps + 1,
        ),
        (
            back(faltung.conv_input_grad(to(g, last), w, to(x, last).shape, **given), last),
            reference.conv_input_grad(g, w, spec),
            reference.conv_input_grad(size[3], size[1], spec),
            # A border that is folded back brings its taps along.
            outputs * spec.taps * (1 if set(spec.padding_mode) == {"zeros"} else 3**spec.rank),
        ),
        (
            faltung.conv_weight_grad(to(x, last), to(g, last), w.shape, **given),
            reference.conv_weight_grad(x, g, spec),
            reference.conv_weight_grad(size[0], size[3], spec),
            spec.batch * int(np.prod(spec.output)),
        ),
    ]
    for got, want, most, terms in rows:
        error = np.abs(got - want)
        assert (error <= (terms + 2) * unit * most * 1.01).all(), "beyond what any order can do"
        if want.size >= 30:
            # One chain of sums errs as the root of its length: 5e-7 up to 800 products in float32.
            relative = np.sqrt(np.mean(error**2) / np.mean(want**2))
            assert relative <= sums_bound(terms, spec.dtype), f"{relative} of {terms}"


@WALK
def test_rounding(case: Case, last: bool, machine: object) -> None:
    check_rounding(case.spec, last)


@grid(
    dtype_precision_bound=rows(
        "dtype precision bound",
        [
            ("f32", "strict", 5e-7),
            ("f64", "strict", 1e-15),
            ("f32", "fast", 2e-6),
            ("f64", "fast", 4e-15),
        ],
    ),
    text=["c64>64 20x20 k3 p1", "c1>1 50000 k31 psame", "c24>24 20x20 k3"],
    machine=MACHINES,
    every=4,
)
def test_a_few_units_for_ordinary_layers(
    text: str, dtype: str, precision: str, bound: float, machine: object
) -> None:
    spec = parse(f"{text} {dtype}")
    x, w, _, g = real(spec)
    given = {**options(spec), "precision": precision}
    for got, want in (
        (faltung.conv(x, w, **given), reference.conv(x, w, None, spec)),
        (
            faltung.conv_input_grad(g, w, x.shape, **given),
            reference.conv_input_grad(g, w, spec),
        ),
    ):
        assert np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2)) < bound


@WALK
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_what_is_not_finite_goes_where_the_sums_say(
    case: Case, last: bool, machine: object
) -> None:
    spec = case.spec
    given = {**options(spec), "channels_last": last, "precision": "strict"}
    x, w, bias, g = integers(spec)
    w[w == 0] = 1  # 0 * inf would be a NaN of the weight's making
    rng = np.random.default_rng(1)
    for value in (np.nan, np.inf, -np.inf):
        bad_x, bad_g = x.copy(), g.copy()
        for array in (bad_x, bad_g):
            array.flat[rng.integers(array.size, size=2)] = value
        got = back(faltung.conv(to(bad_x, last), w, bias, **given), last)
        np.testing.assert_array_equal(got, reference.conv(bad_x, w, bias, spec))
        shape = to(x, last).shape
        got = back(faltung.conv_input_grad(to(bad_g, last), w, shape, **given), last)
        np.testing.assert_array_equal(got, reference.conv_input_grad(bad_g, w, spec))
        got = faltung.conv_weight_grad(to(bad_x, last), to(g, last), w.shape, **given)
        np.testing.assert_array_equal(got, reference.conv_weight_grad(bad_x, g, spec))


@WALK
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_a_weight_that_is_not_finite_stays_in_its_channels(
    case: Case, last: bool, machine: object
) -> None:
    spec = case.spec
    given = {**options(spec), "channels_last": last, "precision": "strict"}
    x, w, bias, g = integers(spec)
    by_x = reference.conv_input_grad(g, w, spec)
    x[x == 0] = 1  # every product with the weight shows
    w[-1, -1] = np.nan
    got = back(faltung.conv(to(x, last), w, bias, **given), last)
    np.testing.assert_array_equal(got[:, :-1], reference.conv(x, w, bias, spec)[:, :-1])
    if all(low == high == 0 for low, high in spec.padding):
        assert np.isnan(got[:, -1]).all()
    shape = to(x, last).shape
    got = back(faltung.conv_input_grad(to(g, last), w, shape, **given), last)
    np.testing.assert_array_equal(got[:, :-1], by_x[:, :-1])


def test_signs_of_zero_are_those_of_sums() -> None:
    # +0 is where a sum begins, and -0 + 0 is +0: no result is a negative zero.
    x = np.full((1, 2, 5, 5), -0.0, np.float32)
    for channels in (1, 20):
        w = np.ones((channels, 2, 3, 3), np.float32)
        assert not np.signbit(faltung.conv(x, w, padding=1)).any()
        assert not np.signbit(faltung.conv_transpose(x, w[:2].reshape(2, -1, 3, 3))).any()
