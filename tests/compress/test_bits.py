"""Code lengths against a coder that really writes the bits, and reads the labels back from them."""

from itertools import product
from math import log2
from pathlib import Path

import numpy as np
import pytest
from runs import maps, source

from faltung import Model, nn
from faltung.compress.bits import Code, check_labels, counted, frequency_bits, label_bits, worth
from faltung.data.source import ArraySource

pytest.importorskip("constriction")

UNIT = 1 << 24


class Coder:
    """An arithmetic coder without rounding: an interval in whole numbers of any length."""

    def __init__(self, shares: list[list[int]]) -> None:
        self.shares = shares  # of UNIT, for each place and symbol

    def interval(self, symbols: list[int]) -> tuple[int, int]:
        """(start, width) of a message, in units of UNIT**-n."""
        start, width = 0, 1
        for row, symbol in zip(self.shares, symbols, strict=True):
            start = start * UNIT + width * sum(row[:symbol])
            width *= row[symbol]
        return start, width

    def write(self, symbols: list[int]) -> str:
        """The shortest bits all of whose continuations lie within the interval."""
        start, width = self.interval(symbols)
        total = 24 * len(symbols)
        length = 0
        while True:
            step = total - length
            at = -(-start >> step) if step >= 0 else 0
            if (at + 1) << step <= start + width:
                return format(at, f"0{length}b") if length else ""
            length += 1

    def read(self, bits: str) -> list[int]:
        """The message whose interval the bits lie in."""
        total = 24 * len(self.shares)
        at = int(bits or "0", 2) << (total - len(bits))
        start, width, made = 0, 1, []
        for i, row in enumerate(self.shares):
            start, scale = start * UNIT, UNIT ** (len(self.shares) - i - 1)
            symbol = 0
            while at >= (start + width * row[symbol]) * scale:
                start += width * row[symbol]
                symbol += 1
            made.append(symbol)
            width *= row[symbol]
        return made


def rounded(probabilities: np.ndarray) -> list[list[int]]:
    """Shares of UNIT, each at least 1."""
    made = np.maximum(np.rint(np.asarray(probabilities, np.float64) * UNIT), 1).astype(int)
    made[np.arange(len(made)), made.argmax(1)] += UNIT - made.sum(1)
    return [[int(n) for n in row] for row in made]


@pytest.fixture(scope="module")
def trained() -> Model:
    model = Model(nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2)), (1, 8, 8))
    model.fit(source(96), epochs=12, show=False)
    return model


def test_labels_given_a_network_are_as_long_as_an_arithmetic_coder_writes(trained: Model) -> None:
    samples = source(40, seed=5)
    coder = Coder(rounded(trained.predict(samples, softmax=True)))
    labels = np.asarray(samples.targets).tolist()
    bits = coder.write(labels)
    assert coder.read(bits) == labels
    found = label_bits(trained, samples)
    assert found.labels == 40 and found.each == found.bits / 40
    assert found.bits - 0.01 <= len(bits) <= found.bits + 2.01
    assert found.bits < 0.8 * 40  # something was learned


@pytest.mark.parametrize("classes", [2, 3])
def test_frequencies_are_as_long_as_an_arithmetic_coder_writes(classes: int) -> None:
    for before in ([], [0, 0, 1]):
        for labels in product(range(classes), repeat=4):
            counts = 1 + np.bincount(np.array(before, int), minlength=classes)
            rows = []
            for label in labels:
                rows.append(counts / counts.sum())
                counts[label] += 1
            bits = Coder(rounded(np.array(rows))).write(list(labels))
            known = np.array(before) if before else None
            found = frequency_bits(np.array(labels), classes, known)
            assert found == pytest.approx(
                -sum(log2(row[label]) for row, label in zip(rows, labels, strict=True))
            )
            assert found - 0.01 <= len(bits) <= found + 2.01


def test_all_messages_together_are_one() -> None:
    """Kraft's equality: frequencies waste nothing."""
    lengths = [frequency_bits(np.array(m), 3) for m in product(range(3), repeat=5)]
    assert sum(2.0**-each for each in lengths) == pytest.approx(1)


def test_the_two_parts_of_a_run(trained: Model, tmp_path: Path) -> None:
    trained.save(tmp_path / "x")
    samples = source(40, seed=5)
    found = worth(trained, samples, tmp_path / "x", held=source(10, seed=6))
    assert found.plain == Code(40, 40)
    assert found.frequencies.bits == pytest.approx(frequency_bits(samples.targets, 2))
    assert found.kept == 8 * (tmp_path / "x").stat().st_size > found.weights
    assert found.two_parts.bits == found.weights + found.given.bits
    assert found.held is not None and found.held.labels == 10
    trained.save(tmp_path / "x", coded=True)
    assert worth(trained, samples, tmp_path / "x").weights < 1.5 * found.weights
    assert found.as_dict()["held_out"] == {"labels": 10, "bits": found.held.bits}


def test_a_label_for_each_position_and_some_that_do_not_count() -> None:
    x, y = maps(6)
    y[0, :2] = -1
    model = Model(nn.Conv(2, 3, padding="same"), (1, 8, 8))
    found = label_bits(model, ArraySource(x, y))
    log_p = np.log2(model.predict(x, softmax=True).astype(np.float64))
    right = np.take_along_axis(log_p, np.maximum(y, 0)[:, None], 1)[:, 0]
    assert found.labels == 6 * 64 - 16 == len(counted(y))
    assert found.bits == pytest.approx(-right[y >= 0].sum(), rel=1e-5)


def test_what_has_no_bits() -> None:
    model = Model(nn.Linear(1), (3,))
    model.loss = "mse"
    with pytest.raises(ValueError, match="have no code length without a precision"):
        check_labels(model)
    with pytest.raises(ValueError, match="has one output"):
        check_labels(Model(nn.Linear(1), (3,)))
    with pytest.raises(ValueError, match="no label counts"):
        counted(np.full(4, -1))
    broken = Model(nn.Sequential(nn.Flatten(), nn.Linear(2, name="last")), (1, 8, 8))
    broken.set_parameters({"last.bias": [np.nan, 0]})
    with pytest.raises(FloatingPointError, match="not finite"):
        label_bits(broken, source(4))
