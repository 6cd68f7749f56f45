"""What must hold between results, whatever the method: adjoints, linearity, shifts, splits,
rounding.
"""

import numpy as np
import pytest
from laws.layouts import options, real

import faltung
from faltung import reference
from faltung.geometry import parse

PROBLEMS = [
    "n2 c8>24 17x19 k3 p1",
    "n1 c64>64 14x14 k3 s2 p1 d2",
    "n3 c6>9 50 k7 p3 g3 m:circular",
    "n1 c4>16 7x8x9 k3 p1 m:reflect,zeros,replicate",
    "n2 c1>1 33x31 k5 p2",
    "n2 c5>7 20x20 k4 s3 p(1,2)x(0,3) flip",
]


@pytest.mark.parametrize("text", PROBLEMS)
def test_gradients_are_adjoints(text: str) -> None:
    spec = parse(text + " f64")
    x, w, _, g = real(spec)
    forward = float((faltung.conv(x, w, **options(spec)) * g).sum())
    back = float((faltung.conv_input_grad(g, w, x.shape, **options(spec)) * x).sum())
    weight = float((faltung.conv_weight_grad(x, g, w.shape, **options(spec)) * w).sum())
    scale = np.linalg.norm(x) * np.linalg.norm(w) * np.linalg.norm(g)
    assert abs(forward - back) < 1e-14 * scale
    assert abs(forward - weight) < 1e-14 * scale


@pytest.mark.parametrize("text", PROBLEMS)
@pytest.mark.parametrize(("dtype", "bound"), [("f32", 5e-7), ("f64", 5e-15)])
def test_rounding(text: str, dtype: str, bound: float) -> None:
    spec = parse(f"{text} {dtype}")
    x, w, bias, g = real(spec)
    given = {**options(spec), "precision": "strict"}
    pairs = [
        (faltung.conv(x, w, bias, **given), reference.conv(x, w, bias, spec)),
        (
            faltung.conv_input_grad(g, w, x.shape, **given),
            reference.conv_input_grad(g, w, spec),
        ),
        (
            faltung.conv_weight_grad(x, g, w.shape, **given),
            reference.conv_weight_grad(x, g, spec),
        ),
    ]
    for got, want in pairs:
        error = np.sqrt(np.mean((got - want) ** 2) / np.mean(want**2))
        assert error < bound


def test_long_sums_keep_their_digits() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 1, 1_000_000)).astype(np.float32)
    g = rng.standard_normal((1, 1, 999_998)).astype(np.float32)
    got = faltung.conv_weight_grad(x, g, (1, 1, 3)).ravel()
    wide = x.astype(np.float64).ravel()
    want = np.array([wide[k : k + 999_998] @ g.astype(np.float64).ravel() for k in range(3)])
    assert np.abs(got - want).max() < 1e-5 * np.linalg.norm(wide)


def integers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(-5, 6, shape).astype(np.float32)


def test_linear_in_both_arguments() -> None:
    x, y, w, v = (integers(2, 5, 12, 13) + i for i in range(2)), None, None, None
    x, y = x
    w, v = integers(6, 5, 3, 3), integers(6, 5, 3, 3)[::-1].copy()
    conv = faltung.conv
    np.testing.assert_array_equal(conv(2 * x - 3 * y, w), 2 * conv(x, w) - 3 * conv(y, w))
    np.testing.assert_array_equal(conv(x, 2 * w - 3 * v), 2 * conv(x, w) - 3 * conv(x, v))


def test_shifts_with_the_input() -> None:
    x, w = integers(1, 4, 30, 31), integers(5, 4, 3, 4)
    circular = {"padding": "same", "padding_mode": "circular"}
    got = faltung.conv(np.roll(x, (3, -5), (2, 3)), w, **circular)
    np.testing.assert_array_equal(got, np.roll(faltung.conv(x, w, **circular), (3, -5), (2, 3)))


def test_parts_make_the_whole() -> None:
    x, w = integers(4, 6, 15, 16), integers(8, 6, 3, 3)
    whole = faltung.conv(x, w, padding=1)
    np.testing.assert_array_equal(
        np.concatenate([faltung.conv(part, w, padding=1) for part in (x[:1], x[1:])]), whole
    )
    np.testing.assert_array_equal(
        np.concatenate([faltung.conv(x, part, padding=1) for part in (w[:3], w[3:])], 1), whole
    )
    np.testing.assert_array_equal(
        faltung.conv(x[:, :2], w[:, :2], padding=1) + faltung.conv(x[:, 2:], w[:, 2:], padding=1),
        whole,
    )
    grouped = faltung.conv(x, w[:, :3], padding=1, groups=2)
    halves = [
        faltung.conv(x[:, 3 * i : 3 * i + 3], w[4 * i : 4 * i + 4, :3], padding=1) for i in (0, 1)
    ]
    np.testing.assert_array_equal(grouped, np.concatenate(halves, 1))


def test_flip_twice_is_once_not() -> None:
    x, w = integers(2, 3, 14, 15), integers(4, 3, 3, 4)
    np.testing.assert_array_equal(
        faltung.conv(x, w[:, :, ::-1, ::-1], padding=2, flip=True), faltung.conv(x, w, padding=2)
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [(1, 1), (3, 40)])
def test_what_is_not_finite_goes_where_the_sums_say(
    value: float, channels: tuple[int, int]
) -> None:
    x = np.ones((1, channels[0], 20, 21), np.float32)
    w = np.ones((channels[1], channels[0], 3, 3), np.float32)
    x[0, 0, 10, 7] = value
    got = faltung.conv(x, w, padding=1)[0]
    touched = np.zeros((20, 21), bool)
    touched[9:12, 6:9] = True
    assert np.isfinite(got[:, ~touched]).all()
    assert not np.isfinite(got[:, touched]).any()
