"""Weka's ARFF: against scipy, and what scipy does not read."""

import io
import re
from pathlib import Path

import numpy as np
import pytest

from faltung.data.files import Like, read_files
from faltung.data.open import open_source

FILES = Path(__file__).parent / "files"
HEAD = "@relation r\n@attribute a numeric\n@attribute b REAL\n@attribute class {x, 'y z'}\n@data\n"


def saved(folder: Path, text: str, name: str = "a.arff") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_files_of_weka() -> None:
    """Dense and sparse: the same values, columns and labels."""
    for name in ("weka.arff", "weka-sparse.arff"):
        source = open_source(FILES / name, kind="table")
        assert source.classes == ("fall", "rise") and source.targets.tolist() == [1, 0] * 4
        assert source.label == "shape"  # type: ignore[attr-defined]
        assert source.columns == tuple("depth width mass age heat y".split())  # type: ignore
        np.testing.assert_array_equal(source.read([1]), np.float32([[1, 0.8, 0.4, 0, 0, -0.5]]))
    both = [open_source(FILES / f"weka{s}.arff").read(range(8)) for s in ("", "-sparse")]
    np.testing.assert_array_equal(*both)


def test_a_relation_holds_channels() -> None:
    source = open_source(FILES / "weka-relational.arff")
    assert (source.shape, source.classes) == ((2, 4), ("a b", "c"))
    first = np.float32([[-0.1, 0.73, 0.05, -1.65], [0.1, -0.5, 0.27, 0.25]])
    np.testing.assert_array_equal(source.read([0])[0], first)
    got, _ = read_files([FILES / "weka-relational.arff"], Like("series", (2, 4)))
    np.testing.assert_array_equal(got, source.read(range(4)))


def test_as_scipy_reads_it(tmp_path: Path) -> None:
    arff = pytest.importorskip("scipy.io.arff")
    text = (
        "% title\n@RELATION 'a b'\n\n@ATTRIBUTE 'first one' NUMERIC\n@attribute\tsecond\treal\n"
        "@attribute third integer\n@attribute kind { no, yes }\n@DATA\n% all\n"
        "1, 2.5e-3, 3, no\n-1,?,4,yes\n\n0.5,\t7,-8,no\n"
    )
    want, _ = arff.loadarff(io.StringIO(text))
    path = saved(tmp_path, text.replace("?", "1"))
    source = open_source(path, kind="table")
    got = source.read([0, 1, 2])
    for i, name in enumerate(("first one", "second", "third")):
        column = np.where(np.isnan(want[name]), 1, want[name])
        np.testing.assert_array_equal(got[:, i], column.astype(np.float32))
    assert source.columns == ("first one", "second", "third")  # type: ignore[attr-defined]
    assert [source.classes[i] for i in source.targets] == [v.decode() for v in want["kind"]]  # type: ignore
    with pytest.raises(ValueError, match=r"line 11: column 'second' is empty: fill gaps"):
        open_source(saved(tmp_path, text), kind="table")


@pytest.mark.parametrize(
    ("rows", "samples"),
    [
        ("1,2,x\n3,4,'y z'\n", [[1, 2], [3, 4]]),
        ('1, 2 ,x\n3\t4\t"y z"\n', [[1, 2], [3, 4]]),
        ("1,2,x % the first\n{0 3, 1 4, 2 'y z'}\n", [[1, 2], [3, 4]]),
        ("{1 2}\n{2 'y z'}\n", [[0, 2], [0, 0]]),
    ],
)
def test_rows(rows: str, samples: list[list[float]], tmp_path: Path) -> None:
    source = open_source(saved(tmp_path, HEAD + rows), kind="table")
    assert source.read([0, 1]).tolist() == samples
    assert source.classes == ("x", "y z") and source.targets.tolist() == [0, 1]


def test_numbers_to_estimate_and_numbers_that_are_listed(tmp_path: Path) -> None:
    head = "@relation r\n@attribute sex {0,1}\n@attribute class numeric\n@attribute b real\n@data\n"
    source = open_source(saved(tmp_path, head + "0,1.5,2\n1,2,3\n"), kind="table")
    assert source.targets.tolist() == [[1.5], [2]] and source.read([1]).tolist() == [[1, 3]]


def test_attributes_are_matched_by_name(tmp_path: Path) -> None:
    like = Like("table", (2,), columns=("b", "a"), label="class")
    got, _ = read_files([saved(tmp_path, HEAD + "1,2,x\n{0 3}\n")], like)
    assert got.tolist() == [[2, 1], [0, 3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3\n", "line 1: '1,2,3' is not a line of an ARFF header"),
        ("@relation r\n", "has no line '@data'"),
        ("@relation r\n@data\n", "line 2: attributes are missing before @data"),
        ("@attribute a\n", "line 1: attribute 'a' is of no type"),
        ("@attribute a string\n", "line 1: attribute 'a' is string; numeric and nominal ones are"),
        ("@attribute 'a b' date 'yyyy'\n", "line 1: attribute 'a b' is date 'yyyy'; numeric"),
        ("@attribute a {}\n", "line 1: attribute 'a' lists no values"),
        ("@attribute a real\n@attribute a real\n@data\n1,2\n", "2 columns are called 'a'"),
        ("@attribute a real\n@attribute b real\n@data\n1,2\n", "the header names no label"),
        (HEAD, "contains no samples"),
        (HEAD + "1,2\n", "line 6 has 2 values for 3 attributes"),
        (HEAD + "1,2,y z\n", "line 6 has 4 values for 3 attributes: quote values with blanks"),
        (HEAD + "1,,x\n", "line 6: a value is missing: write ?"),
        (HEAD + "1,2,x,\n", "line 6: a value is missing: write ?"),
        (HEAD + "1,2,w\n", "line 6: 'w' is none of the values of 'class': x, y z"),
        (HEAD + "1,2,?\n", "line 6 has no label (column 'class')"),
        (HEAD + "1,b,x\n", "line 6: 'b' is not a number (column 'b')"),
        (HEAD + "1,2,x,{5}\n", "line 6: cannot be read from '{5}': weights of samples are not"),
        (HEAD + "1,2,'x\n", "line 6: cannot be read from ''x': a quote is open"),
        (HEAD + "{3 1}\n", "line 6: the index '3' must be one of 0 to 2, once"),
        (HEAD + "{0 1, 0 2}\n", "line 6: the index '0' must be one of 0 to 2, once"),
        (HEAD + "{0 1, 1}\n", "line 6: a sparse line must have an index before each value"),
        (HEAD + "{0 1}, {2}\n", "line 6: "),
        (HEAD.replace("b REAL", "b {red, blue}") + "1,red,x\n", "line 6: 'red' is not a number"),
    ],
)
def test_refusals(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(f"a.arff: {message}")):
        open_source(saved(tmp_path, text))


RELATION = "@attribute bag relational\n@attribute t0 real\n@attribute t1 real\n@end bag\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RELATION + "@attribute c {x}\n@data\n'1,2\\n3',x\n", "line 7, channel 2 has 1 values for"),
        (RELATION + "@attribute c {x}\n@data\n'1,2\\n3,?',x\n", "line 7: its channels are not"),
        (RELATION + "@attribute c {x}\n@data\n'1,2',y\n", "line 7: 'y' is none of the values"),
        (RELATION + "@attribute c {x}\n@attribute d real\n@data\n", "a file with a relational"),
        (RELATION + "@data\n'1,2'\n", "has no labels"),
        (RELATION.replace("t1 real", "t1 {a}") + "@data\n", "line 3: an attribute of a relation"),
        (RELATION.replace("@end bag\n", "") + "@data\n", "line 4: attributes are missing before"),
    ],
)
def test_relations_that_are_wrong(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(f"a.arff: {message}")):
        open_source(saved(tmp_path, text))


def test_a_sparse_line_does_not_ask_for_more_memory_than_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from faltung.data import text_lines

    monkeypatch.setattr(text_lines, "FREE_UNPACKED_BYTES", 1 << 20)
    head = "".join(f"@attribute a{i} real\n" for i in range(1000))
    text = f"@relation r\n{head}@data\n" + "{}\n" * 3000
    with pytest.raises(ValueError, match=r"^a\.arff: would take more than"):
        open_source(saved(tmp_path, text))
