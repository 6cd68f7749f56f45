"""The rule for arrays, row by row."""

import numpy as np
import pytest

from faltung.data.layout import channels_first, guess_kind


@pytest.mark.parametrize(
    ("shape", "dtype", "kind"),
    [
        ((9, 30), "float32", "series"),
        ((9, 8, 10), "uint8", "picture"),
        ((9, 8, 8), "float64", "picture"),
        ((9, 3, 100), "float32", "series"),
        ((9, 3, 8, 8), "float32", "picture"),
        ((9, 1, 4, 8, 8), "float32", "volume"),
    ],
)
def test_kinds(shape: tuple[int, ...], dtype: str, kind: str) -> None:
    assert guess_kind(np.zeros(shape, dtype), "x") == kind


@pytest.mark.parametrize(
    ("shape", "kind", "channels", "arranged"),
    [
        ((9, 30), "series", None, (9, 1, 30)),
        ((9, 6, 30), "series", None, (9, 6, 30)),
        ((9, 30, 2), "series", None, (9, 2, 30)),
        ((9, 100, 3), "series", None, (9, 3, 100)),
        ((9, 9, 128), "series", None, (9, 9, 128)),
        ((9, 128, 9), "series", None, (9, 9, 128)),
        ((9, 64, 100), "series", "first", (9, 64, 100)),
        ((9, 64, 100), "series", "last", (9, 100, 64)),
        ((9, 30, 2), "series", 2, (9, 2, 30)),
        ((9, 8, 10), "picture", None, (9, 1, 8, 10)),
        ((9, 3, 8, 10), "picture", None, (9, 3, 8, 10)),
        ((9, 8, 10, 3), "picture", None, (9, 3, 8, 10)),
        ((9, 3, 10, 3), "picture", None, (9, 3, 10, 3)),
        ((9, 16, 16, 13), "picture", None, (9, 13, 16, 16)),
        ((9, 13, 16, 16), "picture", None, (9, 13, 16, 16)),
        ((9, 8, 10, 12), "picture", "first", (9, 8, 10, 12)),
        ((9, 8, 10, 12), "picture", "last", (9, 12, 8, 10)),
        ((9, 8, 8, 8, 20), "volume", None, (9, 20, 8, 8, 8)),
        ((9, 8, 10, 12), "picture", 12, (9, 12, 8, 10)),
        ((9, 4, 10, 12), "volume", None, (9, 1, 4, 10, 12)),
        ((9, 8, 10, 12, 2), "volume", None, (9, 2, 8, 10, 12)),
        ((9, 7), "text", None, (9, 7)),
        ((9, 7), "table", None, (9, 7)),
    ],
)
def test_channels(
    shape: tuple[int, ...], kind: str, channels: int | None, arranged: tuple[int, ...]
) -> None:
    assert channels_first(np.zeros(shape), kind, channels, "x").shape == arranged


def test_values_move_with_their_axis() -> None:
    x = np.arange(2 * 5 * 6 * 3).reshape(2, 5, 6, 3)
    np.testing.assert_array_equal(channels_first(x, "picture", None, "x")[:, 1], x[..., 1])


@pytest.mark.parametrize(
    ("shape", "kind", "channels"),
    [((9, 3), "picture", None), ((9, 3, 8, 8), "series", None), ((9, 3, 8, 8), "picture", 1)],
)
def test_refusals(shape: tuple[int, ...], kind: str, channels: int | None) -> None:
    with pytest.raises(ValueError, match=r"^x.shape=\(9, 3"):
        channels_first(np.zeros(shape), kind, channels, "x")


def test_too_few_axes() -> None:
    with pytest.raises(ValueError, match="must have 2 to 5 axes"):
        guess_kind(np.zeros(4), "x")
