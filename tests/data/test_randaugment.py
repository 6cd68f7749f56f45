"""The fourteen changes, some against Pillow's, which the paper used."""

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from faltung.data.randaugment import CHANGES, randaugment

RNG = np.random.default_rng(0)
LEVELS = RNG.integers(0, 256, (2, 3, 100, 120), np.uint8)
LEVELS[:, :, 0, 0], LEVELS[:, :, 0, 1] = 0, 255
X = LEVELS.astype(np.float32) / 255


def pillow(change: str, strength: float) -> np.ndarray:
    """What Pillow makes of the pictures, from 0 to 1."""
    made = []
    for picture in LEVELS:
        image = Image.fromarray(picture.transpose(1, 2, 0))
        if change == "posterize":
            image = ImageOps.posterize(image, 8 - round(4 * strength))
        elif change == "solarize":
            image = ImageOps.solarize(image, round(256 * (1 - strength)))
        elif change == "equalize":
            image = ImageOps.equalize(image)
        made.append(np.asarray(image).transpose(2, 0, 1))
    return np.stack(made).astype(np.float32) / 255


@pytest.mark.parametrize(
    ("change", "strength"),
    [("posterize", 0.5), ("posterize", 1.0), ("solarize", 0.5), ("equalize", 0.0)],
)
def test_as_pillow_does(change: str, strength: float) -> None:
    got = CHANGES[change](X, strength, "zero", np.random.default_rng(0))
    np.testing.assert_allclose(
        got, pillow(change, strength), atol=0.03 if change == "equalize" else 2.1 / 255
    )


def test_autocontrast_stretches_each_channel_to_the_range_of_the_sample() -> None:
    dull = X.copy()
    dull[:, 0] = 0.2 + 0.3 * dull[:, 0]
    got = CHANGES["autocontrast"](dull, 0.0, "zero", np.random.default_rng(0))
    np.testing.assert_allclose(got, X, atol=1e-5)


def test_sharpness_is_away_from_pillows_smooth() -> None:
    smooth = [
        np.asarray(Image.fromarray(p.transpose(1, 2, 0)).filter(ImageFilter.SMOOTH)) for p in LEVELS
    ]
    other = np.stack(smooth).transpose(0, 3, 1, 2).astype(np.float32) / 255
    got = CHANGES["sharpness"](X, 1.0, "zero", np.random.default_rng(0))
    signs = np.where(np.random.default_rng(0).random(2) < 0.5, -1.0, 1.0)
    wanted = other + (1 + 0.9 * signs[:, None, None, None]) * (X - other)
    np.testing.assert_allclose(got, wanted, atol=2 / 255)


@pytest.mark.parametrize("name", CHANGES)
def test_flat_pictures_stay_finite_and_no_strength_changes_no_place(name: str) -> None:
    flat = np.full((3, 1, 6, 7), 0.5, np.float32)
    got = CHANGES[name](flat, 1.0, "edge", np.random.default_rng(0))
    assert got.shape == flat.shape and got.dtype == np.float32 and np.isfinite(got).all()
    if name in ("rotate", "shear_rows", "shear_columns", "translate_rows", "translate_columns"):
        still = CHANGES[name](X, 0.0, "zero", np.random.default_rng(0))
        np.testing.assert_array_equal(still, X)


def test_each_picture_by_itself_and_the_old_ones_stay() -> None:
    x = np.repeat(X[:1], 64, 0)
    before = x.copy()
    got = randaugment(x, 1, 9, "zero", np.random.default_rng(0))
    np.testing.assert_array_equal(x, before)
    kinds = {each.tobytes() for each in got}
    assert len(kinds) > 12  # of fourteen, many of which have two signs
