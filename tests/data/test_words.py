"""What was understood of data, in one line."""

from pathlib import Path

import numpy as np
import pytest

from faltung.data import ArraySource, Source, open_source
from faltung.data.words import in_words

LABELS = [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            open_source("digits"),
            "1,797 samples, 1 channel, 8x8, values 0..16 -> /16; 10 classes",
        ),
        (
            ArraySource(np.full((4, 3, 100), -0.5), LABELS),
            "4 series, 3 channels, length 100, values -0.5..-0.5; 2 classes",
        ),
        (
            ArraySource(np.ones((4, 12), int), LABELS, kind="text"),
            "4 texts, 12 tokens each; 2 classes",
        ),
        (
            ArraySource(np.ones((1, 5)), [[0.5, 1, 2]]),
            "1 row, 5 columns, values 1..1; 3 numbers to estimate",
        ),
        (
            ArraySource(np.ones((4, 1, 2, 3, 4)), np.tile([0, 1], (4, 2, 3, 2))),
            "4 volumes, 1 channel, 2x3x4, values 1..1; 2 classes at every position",
        ),
        (
            ArraySource(np.full((1, 1, 2, 2), 7, "u1"), skipped=["a"]),
            "1 sample, 1 channel, 2x2, values 7..7 -> /255; no targets; 1 skipped",
        ),
    ],
)
def test_words(source: Source, words: str) -> None:
    assert in_words(source) == words


def test_a_split_that_is_not_used(tmp_path: Path) -> None:
    x, y = np.ones((4, 1, 8, 8), "u1"), np.array([0, 1, 0, 1])
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    source = open_source(tmp_path / "a.npz")
    assert in_words(source).endswith("; 2 classes; 2 held out as the data say")
    assert in_words(source, own=False).endswith("; 2 classes")
