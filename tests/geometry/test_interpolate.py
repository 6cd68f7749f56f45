"""Interpolation against PyTorch and against the reference of ONNX, where these are installed."""

import numpy as np
import pytest
from grid import grid
from optional import optional

from faltung.geometry.interpolate import (
    COORDINATES,
    MODES,
    ROUNDINGS,
    Resizing,
    interpolated,
    place,
    resized,
)
from faltung.geometry.resample import Table
from faltung.reference.resample import along

torch, F = optional("torch"), optional("torch.nn.functional")
SIZES = (1, 2, 3, 5, 7, 10, 33, 49)
OUTPUTS = (1, 2, 3, 5, 9, 14, 33, 98)
NAMES = {"linear": "bilinear", "cubic": "bicubic"}


def numbers(size: int) -> np.ndarray:
    return np.random.default_rng(size).normal(size=(1, 1, size, 2))


def peer(x: np.ndarray, mode: str, corners: bool = False, **how: object) -> np.ndarray:
    more = {"align_corners": corners} if mode in NAMES else {}
    return F.interpolate(torch.tensor(x), mode=NAMES.get(mode, mode), **more, **how).numpy()


@grid(mode=MODES, size=SIZES, output=OUTPUTS, every=2)
def test_sizes_as_in_pytorch(mode: str, size: int, output: int) -> None:
    x = numbers(size)
    for corners in (False, True)[: 1 + (mode in NAMES)]:
        for smooth in (False, True)[: 1 + (mode in NAMES)]:
            got = along(
                x, interpolated(mode, size, output, align_corners=corners, antialias=smooth), 2
            )
            how = {"antialias": True} if smooth else {}
            want = peer(x, mode, corners, size=(output, 2), **how)
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


@grid(mode=MODES[:-1], size=SIZES, scale=[0.5, 0.7, 1.0, 1.5, 2.0, 2.3, 3.9], every=2)
def test_scales_as_in_pytorch(mode: str, size: int, scale: float) -> None:
    """The scale itself places the outputs, not the ratio of the sizes."""
    x, output = numbers(size), int(size * scale)
    if not output:
        return
    for smooth in (False, True)[: 1 + (mode in NAMES)]:
        how = {"antialias": True} if smooth else {}
        got = along(x, interpolated(mode, size, output, scale=scale, antialias=smooth), 2)
        want = peer(x, mode, scale_factor=(scale, 1.0), **how)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


RESIZINGS = [
    Resizing(mode, coordinates, rounding, -0.6, exclude, antialias)
    for mode in ("nearest", "linear", "cubic")
    for coordinates in COORDINATES
    for rounding in (ROUNDINGS if mode == "nearest" else ROUNDINGS[:1])
    for exclude in ((False, True) if mode != "nearest" else (False,))
    for antialias in ((False, True) if mode != "nearest" else (False,))
]


def wanted(x: np.ndarray, how: Resizing, output: int, scale: float) -> np.ndarray:
    """By ONNX's reference; 7 beyond what "tf_crop_and_resize" reads."""
    op = pytest.importorskip("onnx.reference.ops.op_resize")
    if how.mode == "nearest":

        def weights(ratio: float, scale: float) -> np.ndarray:
            return op._nearest_coeffs(ratio, mode=how.rounding)

    else:
        name = f"_{how.mode}_coeffs" + ("_antialias" if how.antialias else "")

        def weights(ratio: float, scale: float) -> np.ndarray:
            more = {"A": how.a} if how.mode == "cubic" else {}
            return getattr(op, name)(ratio, scale, **more)

    cropped = how.coordinates == "tf_crop_and_resize"
    return op._interpolate_1d_along_axis(
        x,
        0,
        scale,
        output,
        weights,
        roi=np.array([0.1, 1.2]) if cropped else None,
        extrapolation_value=7.0,
        coordinate_transformation_mode=how.coordinates,
        exclude_outside=how.exclude,
    )


def settled(how: Resizing, size: int, output: int, scale: float) -> bool:
    """No position is a rounding away from an entry: the reference is not sure of these itself."""
    if how.coordinates == "pytorch_half_pixel" and scale * size == 1:
        return False  # the definition says 0, the reference -0.5
    places = [place(how.coordinates, o, size, output, scale, (0.1, 1.2)) for o in range(output)]
    ties = (0.0, 0.5) if how.mode == "nearest" else (0.0,)
    return all(
        x + t == round(x + t) or abs(x + t - round(x + t)) > 1e-6 for x in places for t in ties
    )


@grid(how=RESIZINGS, size=[1, 2, 3, 5, 8, 13], output=[1, 2, 3, 5, 7, 16], off=[1, 1.013], every=4)
def test_as_in_onnx(how: Resizing, size: int, output: int, off: float) -> None:
    scale = output / size * off
    if not settled(how, size, output, scale):
        return
    x = np.random.default_rng(size).normal(size=size)
    roi = (0.1, 1.2) if how.coordinates == "tf_crop_and_resize" else (0.0, 1.0)
    made = resized(how, size, output, scale, roi)
    got = along(x, made, 0)
    got[[not count for count in made.counts]] = 7.0
    np.testing.assert_allclose(got, wanted(x, how, output, scale), rtol=0, atol=1e-9)


@grid(how=[how for how in RESIZINGS if how.mode != "nearest"], size=[2, 7], output=[2, 5, 20])
def test_weights_of_a_row_add_up_to_one(how: Resizing, size: int, output: int) -> None:
    """So that a constant stays what it is."""
    made = resized(how, size, output)
    assert all(abs(sum(w for _, w in row) - 1) < 1e-12 for row in made.rows() if row)


def test_straight_lines_stay_straight() -> None:
    """Linear interpolation within the outermost centres, in every convention."""
    for coordinates in COORDINATES[:-1]:
        made = resized(Resizing("linear", coordinates), 6, 17)
        line = along(np.arange(6.0), made, 0)
        places = [place(coordinates, o, 6, 17, 17 / 6) for o in range(17)]
        np.testing.assert_allclose(line, np.clip(places, 0, 5), atol=1e-12)


REFUSED = {
    "mode='lanczos': must be one of": lambda: Resizing("lanczos"),
    "coordinate_transformation_mode='x': must": lambda: Resizing(coordinates="x"),
    "nearest_mode='x': must be one of": lambda: Resizing(rounding="x"),
    "antialias=1: must be 0": lambda: Resizing("nearest", antialias=True),
    "scale=0.0: must be above 0": lambda: resized(Resizing(), 3, 3, 0.0),
    "must be resized to at least 1": lambda: resized(Resizing(), 3, 0),
    "size=1099511627776: must be at most": lambda: resized(Resizing(), 3, 1 << 40),
    "size=1048576: must be at most 262144": lambda: resized(Resizing("linear"), 3, 1 << 20),
    "is too small for antialiasing": lambda: resized(
        Resizing("linear", antialias=True), 3, 100, 1e-9
    ),
    "mode='fractal': must be one of": lambda: interpolated("fractal", 3, 3),
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        REFUSED[text]()


def test_tables_are_tables() -> None:
    assert isinstance(interpolated("linear", 3, 5), Table)
    assert interpolated("nearest", 5, 5).identity and interpolated("linear", 5, 5).identity
