"""Series as text: headers, labels, padding, and lines that are wrong."""

import re
from pathlib import Path

import numpy as np
import pytest

from faltung.data.open import open_source


def saved(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    data = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(data)
    return folder / name


def test_ucr(tmp_path: Path) -> None:
    """The first lines of a file as the archive has it."""
    text = "1\t-0.5\t1.25e+00\t3\n-1\t0.5\t-1\t2\n1\t1\t2\t3\n"
    source = open_source(saved(tmp_path, text, "ItalyPowerDemand_TRAIN.tsv"))
    assert (source.kind, source.shape, source.classes) == ("series", (1, 3), ("-1", "1"))
    assert source.targets.tolist() == [1, 0, 1]
    assert source.read([0]).tolist() == [[[-0.5, 1.25, 3.0]]]
    assert source.names[2] == "line 3"


def test_old_ucr_with_blanks(tmp_path: Path) -> None:
    text = "  1.0000000e+00  5.0e-01 -1\n  2.0000000e+00  1 2\n"
    source = open_source(saved(tmp_path, text, "a.txt"))
    assert source.classes == ("1", "2") and source.shape == (1, 2)


@pytest.mark.parametrize(
    "text",
    [
        "cat,1,2\ndog,3,4\n",
        "class,a,b\ncat,1,2\ndog,3,4\n",
        "a,b,Label\n1,2,cat\n3,4,dog\n",
        "x,y,label\n1,2,cat\n3,4,dog\n",
        "label,0,1\ncat,1,2\ndog,3,4\n",
        "name,a,b\ncat,1,2\ndog,3,4",
        "cat;1;2\r\ndog;3;4\r\n",
        "cat\t1\t2\n\n  \ndog\t3\t4\n",
        '"cat","1","2"\n"dog",3,4\n',
        "\ufeffcat, 1, 2\ndog, 3, 4\n",
    ],
)
def test_headers_and_labels(text: str, tmp_path: Path) -> None:
    source = open_source(saved(tmp_path, text))
    assert source.classes == ("cat", "dog")
    assert source.read([0, 1]).tolist() == [[[1, 2]], [[3, 4]]]


def test_a_table_of_features(tmp_path: Path) -> None:
    source = open_source(saved(tmp_path, "a,1,2\nb,3,4\n"), kind="table")
    assert (source.kind, source.shape) == ("table", (2,))
    assert source.read([1]).tolist() == [[3, 4]]


def test_numbers_to_estimate(tmp_path: Path) -> None:
    source = open_source(saved(tmp_path, "y,a,b\n0.5,1,2\n1,3,4\n"))
    assert source.classes is None and source.targets.tolist() == [[0.5], [1]]


def test_classes_of_a_run(tmp_path: Path) -> None:
    path = saved(tmp_path, "2.0,1,2\n2,3,4\n")
    assert open_source(path, classes=["1", "2"]).targets.tolist() == [1, 1]
    with pytest.raises(ValueError, match="sample line 1 has the label '2'"):
        open_source(path, classes=["1", "3"])


def test_padding_at_the_end_is_not_data(tmp_path: Path) -> None:
    path = saved(tmp_path, "a\t0\t1\t2\t3\nb\t0\t2\tNaN\tNaN\nb\t0\t1\t2\t\n", "a.tsv")
    with pytest.raises(
        ValueError,
        match=r"line 2 has 2 values and line 1 has 4; bring series to one length with size",
    ):
        open_source(path)
    source = open_source(path, size=2)
    np.testing.assert_allclose(source.read([1]), [[[0, 2]]])
    assert open_source(path, size=7).shape == (1, 7)


def test_padding_of_all_series(tmp_path: Path) -> None:
    path = saved(tmp_path, "a\t0\t1\tNaN\nb\t0\t2\tNaN\n", "a.tsv")
    assert open_source(path).shape == (1, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n\n", "a.csv: contains no samples"),
        ("label,a,b\n", "a.csv: contains no samples"),
        ("a,1,2\nb,1\n", "a.csv: line 2 has 1 values and line 1 has 2"),
        ("a,1,2\nb,1,x\x1b[2J\n", "a.csv: line 2: 'x\\x1b[2J' is not a number"),
        ("a,1,2\n,1,2\n", "a.csv: line 2 has no label"),
        ("a,1,2\nb\n", "a.csv: line 2 contains no value"),
        ("a,1,2\nb,,1\n", "a.csv: line 2: value 1 is NaN"),
        ("a,1,2\nb,,\n", "a.csv: line 2 contains no value"),
        ("a,1,2\nb,inf,1\n", "a.csv: line 2 contains an infinite value"),
        ("a,1,2\nb,1e300,1\n", "a.csv: x: sample line 2 contains an infinite value"),
        ("label,Label\n1,2\n", "a.csv: 2 columns are called 'label'"),
        ('a,1,2\nb,"1,2\n', "a.csv: line 2 cannot be read, unexpected end of data: a quote"),
        (b"a,1\nb,\xff\xfe\n", "a.csv: cannot be read"),
        ("a,1\nb,2\n".encode("utf-16"), "a.csv"),
        (b"a,1\nb,\0\n", "a.csv: line 2: '\\x00' is not a number"),
        ("a," + "1" * 200_000 + "\n", "a.csv: line 1 has a cell of more than 100,000"),
        ("1.5,1,2\nnan,1,2\n", "a.csv: line 2 has no label: add it"),
    ],
)
def test_refusals(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^" + re.escape(message)):
        open_source(saved(tmp_path, text))


def test_an_empty_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.csv: the file is empty"):
        open_source(saved(tmp_path, ""))


def test_options_that_do_not_suit(tmp_path: Path) -> None:
    path = saved(tmp_path, "a,1,2\nb,3,4\n")
    with pytest.raises(ValueError, match="kind='picture'"):
        open_source(path, kind="picture")
    with pytest.raises(ValueError, match="channels=3"):
        open_source(path, channels=3)


def test_what_targets_are_wanted(tmp_path: Path) -> None:
    """Whole numbers may be numbers to estimate; what cannot be what is wanted is named."""
    whole, words = saved(tmp_path, "1,5,6\n2,7,8\n"), saved(tmp_path, "a,5,6\nb,7,8\n", "b.csv")
    parts = saved(tmp_path, "1,5,6\n2.5,7,8\n", "c.csv")
    assert open_source(whole, targets="numbers").targets.tolist() == [[1], [2]]
    assert open_source(whole, targets="labels").classes == ("1", "2")
    assert open_source(parts).targets.tolist() == [[1], [2.5]]
    with pytest.raises(
        ValueError, match=r"^b\.csv: line 1: the label 'a' is not a number; loss mse"
    ):
        open_source(words, targets="numbers")
    with pytest.raises(ValueError, match=r"^c\.csv: line 2: 2\.5 is a number, not the label of a"):
        open_source(parts, targets="labels")
    with pytest.raises(ValueError, match=r"sample line 2 has the label '2.5', which is not one of"):
        open_source(parts, classes=["1", "2"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,1,2\ny,3\n", "line 2: column 3 is empty: fill gaps of a table first"),
        ("x,1,2\ny,?,4\n", "line 2: column 2 is empty"),
        ("x,1,2\ny,3,inf\n", "line 2 contains an infinite value"),
        ("x\ny\n", "line 1 contains no value"),
        ("a,b,label\n1,2,x\n1,,y\n", "line 3: column 'b' is empty"),
    ],
)
def test_a_table_has_no_padding(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^" + re.escape(f"a.csv: {message}")):
        open_source(saved(tmp_path, text), kind="table")


def test_the_same_class_in_other_forms(tmp_path: Path) -> None:
    source = open_source(saved(tmp_path, "1,5\n1.0,6\n 1 ,7\n1e0,8\n2,9\n"))
    assert source.classes == ("1", "2") and source.targets.tolist() == [0, 0, 0, 0, 1]
