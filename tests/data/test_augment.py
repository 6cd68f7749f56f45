"""Augmentation against a sample at a time in plain NumPy, and what it promises."""

import re
from typing import Any

import numpy as np
import pytest

from faltung.data.augment import ROWS, Augment, amplify, cutout, flip, flip_all, jitter, move

NOT_ALONE = ("magnitude", "mixup", "cutmix")
SHAPES = [(64, 1, 9), (64, 3, 8, 7), (64, 2, 6, 5, 7)]  # series, pictures, volumes


def batch(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).random(shape).astype(np.float32) + 1


def moved(sample: np.ndarray, offsets: tuple[int, ...], fill: str) -> np.ndarray:
    """out[p] = sample[p + offset], or the fill outside; the oracle."""
    out = np.zeros_like(sample)
    space = sample.shape[1:]
    for place in np.ndindex(*space):
        source = [p + o for p, o in zip(place, offsets, strict=True)]
        if fill == "edge":
            source = [min(max(s, 0), n - 1) for s, n in zip(source, space, strict=True)]
        if all(0 <= s < n for s, n in zip(source, space, strict=True)):
            out[:, *place] = sample[:, *source]
    return out


@pytest.mark.parametrize("fill", ["zero", "edge"])
@pytest.mark.parametrize("shape", SHAPES)
def test_moved_by_one_offset_of_those_allowed(shape: tuple[int, ...], fill: str) -> None:
    x = batch(shape)
    got = move(x, 2, fill, np.random.default_rng(3))
    starts = np.random.default_rng(3).integers(0, 5, (len(shape) - 2, len(x)))
    for i, sample in enumerate(got[:20]):
        offsets = tuple(int(s) - 2 for s in starts[:, i])
        np.testing.assert_array_equal(sample, moved(x[i], offsets, fill))
    assert set(starts.ravel()) == set(range(5)) and got.flags.c_contiguous


@pytest.mark.parametrize("shape", SHAPES)
def test_about_half_are_mirrored(shape: tuple[int, ...]) -> None:
    x = batch(shape)
    got = flip(x, np.random.default_rng(0))
    mirrored = [np.array_equal(a, b[..., ::-1]) for a, b in zip(got, x, strict=True)]
    kept = [np.array_equal(a, b) for a, b in zip(got, x, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert 20 < sum(mirrored) < 44


@pytest.mark.parametrize("shape", SHAPES)
def test_mirrored_along_each_axis_by_itself(shape: tuple[int, ...]) -> None:
    x = batch(shape)
    got = flip_all(x, np.random.default_rng(0))
    axes = range(1, len(shape))
    ways = [[a for i, a in enumerate(axes) if n >> i & 1] for n in range(1 << len(axes))]
    ways = [way for way in ways if 1 not in way or not way]  # axis 1 of a sample with its channels
    spatial = [tuple(a - 1 for a in way if a > 1) for way in ways]
    seen = {
        next(i for i, way in enumerate(spatial) if np.array_equal(np.flip(b, way), a))
        for a, b in zip(got, x, strict=True)
    }
    assert seen == set(range(len(spatial)))


def test_amplitudes_differ_by_channel_and_sample() -> None:
    x = np.ones((500, 3, 9), np.float32)
    got = amplify(x, 0.2, np.random.default_rng(0))
    assert (got == got[..., :1]).all()
    np.testing.assert_allclose(got[..., 0].std(0), 0.2, rtol=0.1)
    np.testing.assert_allclose(got[..., 0].mean(0), 1, atol=0.03)


@pytest.mark.parametrize("side", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_cutout_is_one_box_in_all_channels(shape: tuple[int, ...], side: int) -> None:
    x = batch(shape)
    got = cutout(x, side, np.random.default_rng(0))
    for before, after in zip(x, got, strict=True):
        gone = after[0] == 0
        assert ((after == 0) == gone).all()  # x is at least 1
        np.testing.assert_array_equal(after[:, ~gone], before[:, ~gone])
        places = np.argwhere(gone)
        box = places.max(0) - places.min(0) + 1
        assert len(places) == box.prod() and (box <= side).all() and (2 * box >= side).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_jitter_has_the_spread_of_each_channel(shape: tuple[int, ...]) -> None:
    x = np.zeros((500, *shape[1:]), np.float32)
    unit = np.arange(1, shape[1] + 1)
    got = jitter(x, 0.1, unit, np.random.default_rng(0))
    axes = (0, *range(2, x.ndim))
    np.testing.assert_allclose(got.std(axes), 0.1 * unit, rtol=0.1)
    np.testing.assert_allclose(got.mean(axes), 0, atol=0.01 * shape[1])


EVERYTHING = Augment(
    **{"shift": 1, "flip": True, "flip_all": True, "crop": 2, "cutout": 2, "jitter": 0.1},
    **{"rotate": 20, "scale": 0.2, "bend": 1, "colour": 0.3, "erase": 0.9, "fill": "edge"},
)


def test_same_generator_same_batch_and_the_old_one_is_left_alone() -> None:
    x = batch((5, 3, 8, 8))
    before = x.copy()
    one, two = (EVERYTHING(x, np.random.default_rng(7), (1, 2, 3)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(x, before)
    assert one.dtype == np.float32 and one.shape == x.shape and not np.shares_memory(one, x)


@pytest.mark.parametrize("name", [name for name in ROWS if name not in NOT_ALONE])
def test_each_alone(name: str) -> None:
    augment = Augment(**{name: ROWS[name].type(1)})
    x = batch((8, 3, 9, 9) if "picture" in ROWS[name].kinds else (8, 3, 9))
    got = augment(x, np.random.default_rng(0))
    assert bool(augment) and got.dtype == np.float32 and not np.array_equal(got, x)


def test_nothing_costs_nothing() -> None:
    x = batch((2, 1, 4, 4))
    assert not Augment() and Augment()(x, np.random.default_rng(0)) is x


def test_crop_is_a_window_of_a_padded_picture() -> None:
    x = batch((30, 1, 5, 5))
    np.testing.assert_array_equal(
        Augment(crop=2)(x, np.random.default_rng(4)), move(x, 2, "zero", np.random.default_rng(4))
    )


def test_series_are_filled_with_their_ends() -> None:
    x = batch((30, 2, 9))
    assert (Augment(series_shift=3)(x, np.random.default_rng(0)) >= 1).all()


def test_settings_come_back() -> None:
    assert Augment(**EVERYTHING.as_dict()) == EVERYTHING


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"shift": -1}, "shift=-1: must be at least 0"),
        ({"crop": 1.5}, "crop=1.5: must be an int"),
        ({"cutout": True}, "cutout=True: must be an int"),
        ({"flip": 1}, "flip=1: must be True or False"),
        ({"jitter": -0.1}, "jitter=-0.1: must be at least 0"),
        ({"jitter": float("nan")}, "jitter=nan: must be"),
        ({"jitter": "much"}, "jitter='much': must be a number"),
        ({"rotate": 181}, "rotate=181: must be at most 180"),
        ({"erase": 1.5}, "erase=1.5: must be at most 1"),
        ({"flip_all": "x"}, "flip_all='x': must be True or False"),
        ({"randaugment": 2.0}, "randaugment=2.0: must be an int"),
        ({"magnitude": 11}, "magnitude=11: must be at most 10"),
        ({"mixup": -1}, "mixup=-1: must be at least 0"),
        ({"fill": "wrap"}, "fill='wrap': must be one of zero, edge"),
    ],
)
def test_values(more: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        Augment(**more)


@pytest.mark.parametrize(
    ("more", "kind", "shape", "message"),
    [
        ({"flip": True}, "series", (1, 9), "flip=True: is for pictures and volumes, not series"),
        ({"shift": 1}, "text", (9,), "shift=1: text cannot be changed"),
        ({"series_shift": 1}, "picture", (1, 9, 9), "series_shift=1: is for series, not picture"),
        ({"jitter": 0.1}, "text", (9,), "jitter=0.1: text cannot be changed like numbers"),
        ({"rotate": 5}, "series", (1, 9), "rotate=5: is for pictures and volumes, not series"),
        ({"randaugment": 1}, "volume", (1, 9, 9, 9), "is for pictures, not volume"),
        ({"amplitude": 0.1}, "picture", (1, 9, 9), "amplitude=0.1: is for series"),
        ({"cutmix": 1}, "table", (9,), "cutmix=1: is for pictures and volumes and series"),
        ({"bend": 9}, "series", (1, 9), "bend=9: must be less than the shortest axis"),
        ({"crop": 8}, "picture", (1, 9, 8), "crop=8: must be less than the shortest axis, 8"),
        ({"series_shift": 9}, "series", (3, 9), "series_shift=9: must be less than"),
    ],
)
def test_kinds(more: dict[str, Any], kind: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Augment(**more).check(kind, shape)


@pytest.mark.parametrize("mixes", [{"mixup": 0.4}, {"cutmix": 1.0}])
def test_mixing_is_asked_for_and_labels_become_probabilities(mixes: dict[str, float]) -> None:
    x, y = batch((6, 3, 8, 8)), np.array([0, 1, 2, 0, 1, -1])
    same, labels = Augment().mix(x, y, 3, np.random.default_rng(0))
    assert same is x and labels is y
    mixed, soft = Augment(**mixes).mix(x, y, 3, np.random.default_rng(0))
    assert mixed.shape == x.shape and soft.shape == (6, 3)
    assert mixed.dtype == soft.dtype == np.float32 and not np.array_equal(mixed, x)


def test_kinds_that_suit() -> None:
    EVERYTHING.check("volume", (2, 6, 5, 7))
    Augment(jitter=0.1).check("table", (5,))
    Augment(jitter=0.1, series_shift=2).check("series", (5, 9))
