"""Rows of an epoch, and the CSV that they become."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faltung.train.metrics import COLUMNS, EpochMetrics, from_csv, to_csv

ROW = EpochMetrics(1, 100, 0.1, 2.5, 0.25, 1 / 3, None, 0.125, 12_345.678)
number = st.one_of(st.none(), st.floats())


def test_the_columns() -> None:
    assert ",".join(COLUMNS) == (
        "epoch,step,lr,loss,accuracy,val_loss,val_accuracy,seconds,samples_per_second"
    )
    assert to_csv([ROW]).splitlines()[1] == (
        "1,100,0.1,2.5,0.25,0.3333333333333333,,0.125,12345.678"
    )


@given(st.lists(st.tuples(st.floats(), st.floats(), *[number] * 5), max_size=5))
def test_there_and_back_to_the_bit(values: list[tuple[float, ...]]) -> None:
    rows = [EpochMetrics(n, 10 * n, *row) for n, row in enumerate(values)]
    again = from_csv(to_csv(rows), "x")
    assert list(map(repr, again)) == list(map(repr, rows))


def test_scalars_of_numpy_become_numbers() -> None:
    row = EpochMetrics(np.int64(3), np.int32(4), np.float32(0.1), np.float64(2))  # type: ignore[arg-type]
    assert type(row.epoch) is int and type(row.lr) is float
    assert from_csv(to_csv([row]), "x") == [row]


@pytest.mark.parametrize(
    "change", [{"epoch": -1}, {"step": 1.5}, {"loss": "x"}, {"lr": None}, {"step": math.inf}]
)
def test_rows_that_are_none(change: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(change))}=.*: must be"):
        replace(ROW, **change)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("epoch", "Epoch"), "line 1: must be epoch,step"),
        (("1,100,", "1,"), "line 2: 8 columns: must be 9"),
        (("1,100,", "1,x,"), "line 2: step='x': must be a whole number"),
        (("1,100,", "1,-5,"), "line 2: step='-5'"),
        (("2.5", "zwei"), "line 2: loss='zwei': must be a number"),
        (("2.5", ""), "line 2: loss=None: must be a number"),
        (("2,200", "2,50"), "line 3: step=50: must not be less"),
        (("1,100,", '"1,100,'), "line 2"),
        (("2.5", "2" * 200_000), "line 2: has 200,0"),
        ((to_csv([ROW, replace(ROW, epoch=2, step=200)]), ""), "line 1"),
    ],
)
def test_a_file_that_is_none_is_told_by_its_line(change: tuple[str, str], says: str) -> None:
    text = to_csv([ROW, replace(ROW, epoch=2, step=200)])
    with pytest.raises(ValueError) as error:
        from_csv(text.replace(*change), "metrics.csv")
    assert str(error.value).startswith("metrics.csv: line") and says in str(error.value)


def test_what_a_spreadsheet_leaves_is_read() -> None:
    assert from_csv(to_csv([ROW]).replace("\n", "\r\n"), "x") == [ROW]


def test_scores_have_columns_of_their_names() -> None:
    row = replace(ROW, scores={"balanced_accuracy": 0.1 + 0.2, "f1": None})
    rows = [row, replace(row, epoch=9, scores={"balanced_accuracy": 0.5, "f1": 0.25})]
    text = to_csv(rows)
    assert text.splitlines()[0].endswith(",samples_per_second,val_balanced_accuracy,val_f1")
    assert text.splitlines()[1].endswith(",0.30000000000000004,")
    assert from_csv(text, "x") == rows


def test_files_of_before_there_were_metrics_are_read() -> None:
    text = (
        "epoch,step,lr,loss,accuracy,val_loss,val_accuracy,seconds,samples_per_second\n"
        "1,45,0.01,1.5,0.5,1.25,0.75,2.0,1000.0\n"
    )
    assert from_csv(text, "x") == [EpochMetrics(1, 45, 0.01, 1.5, 0.5, 1.25, 0.75, 2.0, 1000.0)]
    assert to_csv(from_csv(text, "x")) == text


@pytest.mark.parametrize("name", ["val_f2", "val_loss", "f1", "val_f1,val_f1", "val_f1,val_x"])
def test_columns_of_no_metric(name: str) -> None:
    text = to_csv([replace(ROW, scores={"f1": 0.5})]).replace("val_f1", name)
    with pytest.raises(ValueError, match="x: line 1: must be epoch,step"):
        from_csv(text, "x")


def test_a_score_is_a_number() -> None:
    given: dict[str, Any] = {"f1": np.float32(0.5)}
    assert replace(ROW, scores=given).scores == {"f1": 0.5}
    given = {"f1": "high"}
    with pytest.raises(ValueError, match=r"scores\['f1'\]='high': must be a number"):
        replace(ROW, scores=given)
