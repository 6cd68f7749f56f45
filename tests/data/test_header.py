"""What is a header and what a sample; which column is the label; what is refused."""

import re
from pathlib import Path

import pytest

from faltung.data.files import Like, read_files
from faltung.data.open import open_source
from faltung.data.words import in_words

NO_NAME = "column 1 has no name, as the row numbers that pandas and R write: save without them"
EITHER = "may be a header or a sample"
NO_LABEL = "is a header and names no label"


def saved(folder: Path, text: str, name: str = "a.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


# (text, name of the file, classes, label, columns, samples)
HEADERS = [
    ("label,0,1\ncat,1,2\ndog,3,4\n", ("cat", "dog"), "label", ("0", "1")),
    ("label,400,410\ncat,1,2\ndog,3,4\n", ("cat", "dog"), "label", ("400", "410")),
    ("class,0.5,0.7\ncat,1,2\ndog,3,4\n", ("cat", "dog"), "class", ("0.5", "0.7")),
    ("0,1,LABEL \n1,2,cat\n3,4,dog\n", ("cat", "dog"), "LABEL", ("0", "1")),
    ('"a","Class","b"\n1,x,2\n3,z,4\n', ("x", "z"), "Class", ("a", "b")),
    ("a;target;b\n1;x;2\n3;z;4\n", ("x", "z"), "target", ("a", "b")),
    ("a\ty\tb\n1\t0\t2\n3\t1\t4\n", ("0", "1"), "y", ("a", "b")),
    ("y,1,2\n0,1,2\n1,3,4\n", ("0", "1"), "y", ("1", "2")),
    ("x,y,label\n1,2,a\n3,4,b\n", ("a", "b"), "label", ("x", "y")),
    ("x,y,species\n1,2,a\n3,4,b\n", ("a", "b"), "species", ("x", "y")),
    ("name,a,b\ncat,1,2\ndog,3,4\n", ("cat", "dog"), "name", ("a", "b")),
    ("sep=;\na;b;label\n1;2;x\n3;4;z\n", ("x", "z"), "label", ("a", "b")),
    ("# label,a,b\n1,2,3\n2,3,4\n", ("1", "2"), "label", ("a", "b")),
    ("# from a logger\nlabel,a,b\n1,2,3\n2,3,4\n", ("1", "2"), "label", ("a", "b")),
    ("\n\nlabel,a,b\r\n1,2,3\r\n\r\n2,3,4\r\n", ("1", "2"), "label", ("a", "b")),
]
SAMPLES = [
    ("cat,1,2\ndog,3,4\n", ("cat", "dog")),
    ("cat,0,1,2\ncat,3,4,5\ndog,3,4,6\n", ("cat", "dog")),
    ("target,0.5,0.7\nother,1,2\ntarget,3,4\n", ("other", "target")),
    ("y,1,2\nn,3,4\ny,5,6\n", ("n", "y")),
    ("1,0,2\n2,3,4\n", ("1", "2")),
    ("0,1,3\n2,3,4\n", ("0", "2")),
    ("0.0,1.0,2.0\n2,3,4\n", ("0", "2")),
    ("cat,1,?\ndog,3,NA\n", ("cat", "dog")),
]


@pytest.mark.parametrize(("text", "classes", "label", "columns"), HEADERS)
def test_headers(
    text: str, classes: tuple[str, ...], label: str, columns: tuple[str, ...], tmp_path: Path
) -> None:
    source = open_source(saved(tmp_path, text))
    assert (source.classes, len(source)) == (classes, 2)
    assert (source.label, source.columns) == (label.strip(), columns)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("text", "classes"), SAMPLES)
def test_samples(text: str, classes: tuple[str, ...], tmp_path: Path) -> None:
    source = open_source(saved(tmp_path, text))
    assert (source.classes, len(source)) == (classes, text.count("\n"))
    assert source.label is source.columns is None  # type: ignore[attr-defined]


def test_the_archive_has_no_headers(tmp_path: Path) -> None:
    """Its format decides what nothing else does."""
    text = "a\t0\t1\t2\nb\t3\t4\t5\n"
    assert len(open_source(saved(tmp_path, text, "a.tsv"))) == 2
    with pytest.raises(ValueError, match=EITHER):
        open_source(saved(tmp_path, text))


REFUSED = [
    (",0,1,2\n0,1.5,2.5,1\n1,1.5,2.5,0\n", NO_NAME),
    (",label,0\n0,a,2.5\n1,b,2.5\n", NO_NAME),
    ('"","V1","label"\n"1",2,"a"\n"2",3,"b"\n', NO_NAME),
    ("Unnamed: 0,a,label\n0,1,a\n1,2,b\n", NO_NAME),
    ("label,a,\nx,1,2\n", "line 1: column 3 has no name: name it"),
    ("label,a,a\nx,1,2\n", "2 columns are called 'a': give each its own name"),
    ("label,Label\n1,2\n", "2 columns are called 'label'"),
    ("a,class,label\n1,x,y\n", "2 columns could be the label, class, label: choose one with label"),
    ("0,1,2,3\n1,2,3,4\n", f"line 1, 0,1,2,3, {NO_LABEL}: call its column label"),
    ("a,b,c\n1,2,3\n", f"line 1, a,b,c, {NO_LABEL}"),
    ("a,b,c,d\nu,v,1,2\n", f"line 1, a,b,c,d, {NO_LABEL}"),  # two columns of words
    ("id,0,1,2\n5,1,2,3\n7,2,3,4\n", f"line 1, id,0,1,2, {NO_LABEL}"),
    ("0,1\n1,0\n", f"line 1, 0,1, {EITHER}"),
    ("y,0.5,0.7\nn,1,2\n", f"line 1, y,0.5,0.7, {EITHER}"),
    ("species,0,1,2\ncat,1,2,3\ndog,4,5,6\n", f"line 1, species,0,1,2, {EITHER}"),
    ("cat,1,x\ndog,3,4\n", "line 1 is neither a header nor a sample: 'x' is not a number"),
    ("id,a,label\n0,2,x\n1,2,z\n2,3,x\n", "column 'id' counts the lines, which is no measurement"),
    ("a,index,label\n2,1,x\n2,2,z\n3,3,x\n", "column 'index' counts the lines"),
    ("label,a\nx,1,2\n", "line 2 has 3 cells, the header 2: each column needs a name"),
    ("label,a,b\n", "contains no samples: line 1 is a header"),
    ("label,a,b\n,1,2\n", "line 2 has no label (column 'label'): add it"),
    ("label,a,b\nx,1,many\n", "line 2: 'many' is not a number (column 'b')"),
    ("x,1,2\ny,1,many\n", "line 2: 'many' is not a number (column 3)"),
    ("5.1,3.5,Iris-setosa\n4.9,3.0,Iris-setosa\n", "line 1: 'Iris-setosa' is not a number (column"),
    ("1,5;2,5\n1,5;2,5\n", "line 1: '1,5' is not a number: write numbers with a point"),
    ("label;a;b\nx;1;2,5\n", "line 2: '2,5' is not a number (column 'b'): write numbers with a"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_refusals(text: str, message: str, tmp_path: Path) -> None:
    if message == NO_NAME:
        message = f"line 1: {NO_NAME}"
    with pytest.raises(ValueError, match="^" + re.escape(f"a.csv: {message}")):
        open_source(saved(tmp_path, text))


def test_an_id_that_does_not_count_is_a_feature(tmp_path: Path) -> None:
    source = open_source(saved(tmp_path, "id,a,label\n7,2,x\n1,2,z\n4,3,x\n"))
    assert in_words(source).endswith("; 2 classes (column label)")
    assert source.columns == ("id", "a")  # type: ignore[attr-defined]


def test_the_label_that_was_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path, "label,kind,0\n1,a,2\n3,b,4\n")
    source = open_source(path, label="kind")
    assert source.classes == ("a", "b") and source.columns == ("label", "0")  # type: ignore
    assert open_source(path, label="KIND").classes == ("a", "b")
    numbers = saved(tmp_path, "0,1,2\n1,8,9\n0,9,8\n")
    assert open_source(numbers, label="0").read([0]).tolist() == [[[8, 9]]]
    with pytest.raises(ValueError, match=r"^label='size': a.csv has no such column; it has 0"):
        open_source(numbers, label="size")
    with pytest.raises(ValueError, match=r"^label='size': a.csv has no header"):
        open_source(saved(tmp_path, "cat,1,2\ndog,3,4\n"), label="size")
    with pytest.raises(TypeError, match=r"^label=0: must be the name of a column"):
        open_source(path, label=0)  # type: ignore[arg-type]


# Prediction ---------------------------------------------------------------------------------------

TABLE = Like("table", (3,), columns=("a", "b", "c"), label="kind")
SERIES = Like("series", (1, 3))
ANY = Like("series", (1, 3), fit=True)
RIGHT = [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    "text",
    [
        "a,b,c\n1,2,3\n4,5,6\n",
        "c,a,b\n3,1,2\n6,4,5\n",
        "b,KIND,c,a\n2,x,3,1\n5,z,6,4\n",
        "c;b;a;label\n3;2;1;x\n6;5;4;z\n",
        "who,a,b,c\nx,1,2,3\nz,4,5,6\n",
        "1,2,3\n4,5,6\n",
        "x,1,2,3\nz,4,5,6\n",
    ],
)
def test_columns_of_a_table_are_matched_by_name(text: str, tmp_path: Path) -> None:
    got, _ = read_files([saved(tmp_path, text)], TABLE)
    assert got.tolist() == RIGHT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "lacks the columns c: must have those of training, a, b, c"),
        ("a,b,c,d\n1,2,3,4\n", "has further columns d: must have those of training, a, b, c"),
        ("a,b,C\n1,2,3\n", "lacks the columns c and has further columns C: must have those"),
        (",a,b,c\n0,1,2,3\n", "line 1: " + NO_NAME),
        ("5,1,2,3\n4,4,5,6\n", "line 1 has 4 cells for 3 values, so a label may be among them"),
        ("a,b,c\n1,2,\n", "line 2: column 'c' is empty: fill gaps of a table first"),
        ("1,2\n4,5\n", "line 1 has 2 values, must have 3, as in training"),
    ],
)
def test_other_columns_are_named(text: str, message: str, tmp_path: Path) -> None:
    path = saved(tmp_path, text)
    with pytest.raises(ValueError, match="^" + re.escape(f"{path}: {message}")):
        read_files([path], TABLE)


def test_columns_are_matched_where_there_are_labels_too(tmp_path: Path) -> None:
    path = saved(tmp_path, "b,kind,c,a\n2,x,3,1\n5,z,6,4\n")
    source = open_source(path, kind="table", like=TABLE, classes=["x", "z"])
    assert source.read([0, 1]).tolist() == RIGHT and source.targets.tolist() == [0, 1]
    with pytest.raises(ValueError, match="has further columns d"):
        open_source(saved(tmp_path, "a,b,c,d,kind\n1,2,3,4,x\n"), kind="table", like=TABLE)
    with pytest.raises(ValueError, match="names no label"):
        open_source(saved(tmp_path, "a,b,c\n1,2,3\n"), kind="table", like=TABLE)


def test_a_feature_that_is_called_like_a_label(tmp_path: Path) -> None:
    like = Like("table", (2,), columns=("y", "x"), label="kind")
    got, _ = read_files([saved(tmp_path, "x,y\n1,2\n")], like)
    assert got.tolist() == [[2, 1]]


@pytest.mark.parametrize("like", [SERIES, ANY])
@pytest.mark.parametrize(
    "text",
    [
        "a,b,c\n1,2,3\n4,5,6\n",
        "label,a,b,c\n7,1,2,3\n8,4,5,6\n",
        "0,1,2\n1,2,3\n4,5,6\n",
        "0,1,2,y\n1,2,3,7\n4,5,6,8\n",
        "x,1,2,3\nz,4,5,6\n",
        "x,1,2,3,nan\nz,4,5,6,\n",
    ],
)
def test_series_whose_header_or_labels_say_it(text: str, like: Like, tmp_path: Path) -> None:
    got, _ = read_files([saved(tmp_path, text)], like)
    assert got.tolist() == [[each] for each in RIGHT]


def test_numbers_alone(tmp_path: Path) -> None:
    """Of fixed length, a count of values tells; of any length, nothing does."""
    plain, labelled = "1,2,3\n4,5,6\n", "7,1,2,3\n8,4,5,6\n"
    for text in (plain, labelled):
        assert read_files([saved(tmp_path, text)], SERIES)[0][:, 0].tolist() == RIGHT
        with pytest.raises(ValueError, match=r"--labels first, --labels none"):
            read_files([saved(tmp_path, text)], ANY)
    for like in (SERIES, ANY):
        got, _ = read_files([saved(tmp_path, labelled)], like, labels="first")
        assert got[:, 0].tolist() == RIGHT
        got, _ = read_files([saved(tmp_path, plain)], like, labels="none")
        assert got[:, 0].tolist() == RIGHT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "7,1,2,3\n8,4,5\n",
            "line 1 has 4 cells and line 2 has 3, for 3 values, so a label may be",
        ),
        ("7,1,2,nan\n8,4,5,nan\n", "line 1 has 4 cells for 3 values, so a label may be among"),
        (
            "7,1,2\n8,4,5,6\n",
            "line 2 has 4 cells and line 1 has 3, for 3 values, so a label may be",
        ),
        ("7,1\n8,4\n", "line 1 has 2 values, must have 3, as in training"),
        ("7,1,2,3,4\n8,4,5,6,7\n", "line 1 has 5 values, must have 3, as in training"),
        ("a,b,c,y\n7,1,2,3\n8,4,5,6\n", None),
        ("a,b,y\n7,1,2\n", "line 2 has 2 values, must have 3, as in training; column 'y' is taken"),
        (",0,1,2\n0,1,2,3\n", NO_NAME),
    ],
)
def test_lines_that_do_not_fit(text: str, message: str | None, tmp_path: Path) -> None:
    path = saved(tmp_path, text)
    if message is None:
        assert len(read_files([path], SERIES)[0]) == 2
        return
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read_files([path], SERIES)
    assert str(error.value).startswith(f"{path}: ")


def test_a_line_that_could_be_a_header_is_what_the_user_says(tmp_path: Path) -> None:
    path = saved(tmp_path, "cat,0,1,2\ndog,4,5,6\n")
    with pytest.raises(ValueError, match=EITHER):
        read_files([path], SERIES)
    got, _ = read_files([path], SERIES, labels="first")
    assert got[:, 0].tolist() == [[0, 1, 2], [4, 5, 6]]
    with pytest.raises(ValueError, match=r"^labels='last': must be first or none"):
        read_files([path], SERIES, labels="last")  # type: ignore[arg-type]


def test_a_line_of_31_values_is_not_one_of_32(tmp_path: Path) -> None:
    """Series that are brought to 32 values: a count of cells says nothing about them."""
    like = Like("series", (1, 32), fit=True)
    values = ",".join(str(i % 7) for i in range(31))
    labelled = saved(tmp_path, f"walk,{values}\nrun,{values}\n", "labelled.csv")
    plain = saved(tmp_path, f"{values}\n{values}\n", "plain.csv")
    got, _ = read_files([labelled], like)
    want = open_source(labelled, size=32).read([0, 1])
    assert (got == want).all()
    with pytest.raises(ValueError, match=r"line 1, 0,1,2,..., may begin with a label or a value"):
        read_files([plain], like)
    assert (read_files([plain], like, labels="none")[0] == want).all()
