"""Numbers on a line, a table and a bar that fit any terminal."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faltung.train import terminal
from faltung.train.metrics import EpochMetrics
from faltung.train.terminal import Now, bar_line, clean, epoch_line, header, shown, table_line

ROW = EpochMetrics(3, 300, 0.05, 1.5, 0.25, 1.75, 0.5, 2.5, 12_345.6)
anything = st.one_of(st.none(), st.floats(0, 1e7))


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        ("number", 0.0, "0.0000"),
        ("number", 0.12345, "0.1235"),
        ("number", 0.0000123, "1.23e-05"),
        ("number", 12_345.0, "1.23e+04"),
        ("number", math.nan, "nan"),
        ("percent", 1.0, "100.00%"),
        ("percent", 0.98765, "98.77%"),
        ("rate", 12_345.6, "12,346"),
        ("rate", 1.234, "1.23"),
        ("seconds", 0.0123, "0.012 s"),
        ("seconds", 9.996, "10.0 s"),
        ("seconds", 59.99, "1:00"),
        ("seconds", 864_000.0, "10 d"),
        ("clock", 7.4, "0:07"),
        ("clock", 3599.6, "1:00:00"),
        ("clock", 500_000.0, "5 d 18 h"),
        ("clock", math.inf, "?"),
        ("clean", "a\nb\x1b[2J\u202e", "a\ufffdb\ufffd[2J\ufffd"),
    ],
)
def test_numbers(function: str, value: float, text: str) -> None:
    assert getattr(terminal, function)(value) == text


def test_an_epoch_in_words() -> None:
    assert epoch_line(ROW, 20, 61, True) == (
        "epoch  3/20  loss 1.5000  accuracy 25.00%  val loss 1.7500  val accuracy 50.00%  lr 0.05"
        "  12,346 samples/s  2.50 s  left 1:01  best"
    )
    assert (
        epoch_line(EpochMetrics(1, 1, 0.5, 2), 2, None, False) == "epoch 1/2  loss 2.0000  lr 0.5"
    )


def test_the_table_loses_its_least_important_columns_first() -> None:
    full = ("loss", "accuracy", "val_loss", "val_accuracy", "lr", "samples_per_second", "seconds")
    assert shown(ROW, 20, 200) == full
    assert shown(ROW, 20, 80) == tuple(name for name in full if name != "lr")
    assert shown(ROW, 20, 40) == ("loss", "val_accuracy")
    assert shown(ROW, 20, 10) == ()
    assert shown(EpochMetrics(1, 1, 0.5, 2.0), 20, 80) == ("loss", "lr")  # what was never measured


@given(st.integers(8, 200), st.integers(1, 10**6), *[anything] * 4)
def test_nothing_is_wider_than_the_terminal(
    width: int, epochs: int, loss: float | None, share: float | None, rate: float, left: float
) -> None:
    share = None if share is None else min(share, 1.0)
    row = EpochMetrics(epochs, epochs, 1e-7, loss or 0.0, share, loss, share, left, rate)
    columns = shown(row, epochs, width)
    if columns:
        assert len(table_line(columns, row, epochs, True)) < width
        assert len(header(columns, epochs)) < width
    now = Now(epochs, epochs, 5, 10, loss, share, rate, left)
    assert len("".join(text for text, _ in bar_line(now, width, False))) <= width


def test_the_bar() -> None:
    now = Now(3, 20, 50, 100, 0.5, 0.25, 1234.5, 61)
    text = "".join(text for text, _ in bar_line(now, 79, True))
    wanted = " 3/20  #########----------  50/100  loss 0.5000  acc 25.00%  1,234/s  left 1:01"
    assert text == wanted and len(text) == 79
    assert "validating" in "".join(t for t, _ in bar_line(Now(1, 2, 9, 9, *[None] * 4), 79, True))
    assert clean(text) == text


def test_the_chosen_metric_is_shown_by_its_name() -> None:
    row = replace(ROW, scores={"balanced_accuracy": 0.4321})
    assert "  val accuracy 50.00%  val balanced accuracy 0.4321  lr 0.05" in epoch_line(
        row, 20, None, False
    )
    columns = shown(row, 20, 80)
    name = "val_balanced_accuracy"
    assert name in columns and shown(row, 20, 40) == ("loss", name)
    top, line = header(columns, 20), table_line(columns, row, 20, best=False)
    assert len(top) == len(line) < 80
    assert top[: line.index("0.4321") + 6].endswith(" val bal acc")


def test_of_several_scores_the_last_are_lost_first() -> None:
    row = replace(ROW, scores={"f1": 0.1, "auc": 0.2, "kappa": 0.3})
    wide = shown(row, 20, 200)
    assert [name for name in wide if name.removeprefix("val_") in row.scores] == [
        *("val_f1", "val_auc", "val_kappa")
    ]
    assert "lr" in wide and "lr" not in shown(row, 20, 90)
    assert shown(row, 20, 76)[-2:] == ("val_f1", "val_auc")
    assert shown(row, 20, 66)[-1:] == ("val_f1",)
