"""A run on a text file, and the same samples written in every other way: the same answers."""

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from runs import Array, shapes

from faltung.cli.main import main
from faltung.data.files import read_files
from faltung.data.open import open_source
from faltung.train.run_dataset import like
from faltung.train.run_model import load_model

Captured = pytest.CaptureFixture[str]
FILES = Path(__file__).parents[1] / "data" / "files"
LENGTH = 12
WORDS = ("rise", "fall")
NAMES = [f"t{i}" for i in range(LENGTH)]
SMALL = ("--net=tcn", "--set=channels=4", "--set=levels=1")


def series() -> tuple[Array, list[str]]:
    x, y = shapes(24, (LENGTH,))
    return x[:, 0], [WORDS[i] for i in y]


def lines(head: list[str] | None, rows: list[list[object]], mark: str = ",") -> str:
    """Text with the shortest numbers that read back."""
    words = [[each if isinstance(each, str) else repr(float(each)) for each in row] for row in rows]
    return "".join(mark.join(row) + "\n" for row in ([head] if head else []) + words)


def with_header(x: Array, y: list[str]) -> str:
    return lines(["label", *NAMES], [[w, *row] for w, row in zip(y, x, strict=True)])


def label_in_the_middle(x: Array, y: list[str]) -> str:
    rows = [[*row[:5], w, *row[5:]] for w, row in zip(y, x, strict=True)]
    return lines([*NAMES[:5], "CLASS", *NAMES[5:]], rows, ";")


def columns_in_another_order(x: Array, y: list[str]) -> str:
    rows = [[*row[::-1], w] for w, row in zip(y, x, strict=True)]
    return lines([*NAMES[::-1], "Label"], rows, "\t")


def without_labels(x: Array, y: list[str]) -> str:
    return lines(NAMES, [list(row) for row in x])


def without_header(x: Array, y: list[str]) -> str:
    return lines(None, [[w, *row] for w, row in zip(y, x, strict=True)])


def values_alone(x: Array, y: list[str]) -> str:
    return lines(None, [list(row) for row in x], "  ")


def padded(x: Array, y: list[str]) -> str:
    rows = [[w, *row, "NaN", "NaN"] for w, row in zip(y, x, strict=True)]
    return lines(None, rows, "\t")


def quoted(x: Array, y: list[str]) -> str:
    text = with_header(x, y).replace("\n", '"\r\n"').replace(",", '","')
    return '\ufeff"' + text.removesuffix('"')


def ts(x: Array, y: list[str]) -> str:
    rows = [",".join(map(repr, row)) + f":{w}\n" for w, row in zip(y, x.tolist(), strict=True)]
    return "@problemName a\n@classLabel true fall rise\n@data\n" + "".join(rows)


def arff(x: Array, y: list[str]) -> str:
    head = "".join(f"@attribute {name} numeric\n" for name in NAMES)
    body = lines(None, [[*row, w] for w, row in zip(y, x, strict=True)])
    return f"@relation a\n{head}@attribute shape {{rise,fall}}\n@data\n{body}"


def sparse(x: Array, y: list[str]) -> str:
    head = arff(x, y).partition("@data")[0] + "@data\n"
    for word, row in zip(y, x.tolist(), strict=True):
        cells = [f"{i} {value!r}" for i, value in enumerate(row)]
        head += "{" + ", ".join([*cells, f"{LENGTH} {word}"]) + "}\n"
    return head


WAYS: dict[str, tuple[Callable[[Array, list[str]], str], str, bool]] = {
    # way -> (text, suffix, whether the labels are in it)
    "header": (with_header, ".csv", True),
    "middle": (label_in_the_middle, ".csv", True),
    "order": (columns_in_another_order, ".tsv", True),
    "unlabelled": (without_labels, ".csv", False),
    "headerless": (without_header, ".csv", True),
    "alone": (values_alone, ".txt", False),
    "padded": (padded, ".tsv", True),
    "quoted": (quoted, ".csv", True),
    "packed": (with_header, ".csv.gz", True),
    "ts": (ts, ".ts", True),
    "arff": (arff, ".arff", True),
    "sparse": (sparse, ".ARFF", True),
}


def write(way: str, folder: Path) -> Path:
    made, suffix, _ = WAYS[way]
    data = made(*series()).encode()
    path = folder / f"{way}{suffix}"
    path.write_bytes(gzip.compress(data) if suffix.endswith(".gz") else data)
    return path


@pytest.fixture(scope="module", params=["header", "headerless", "ts", "arff"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs on the same samples from four formats."""
    folder = tmp_path_factory.mktemp(request.param)
    path = write(request.param, folder)
    options = ["--epochs=1", *SMALL]
    assert main(["train", str(path), *options, f"--out={folder / 'run'}"]) == 0
    return folder / "run"


def told(capsys: Captured, *words: object) -> list[list[str]]:
    """The lines of a command's table without the names of the samples."""
    capsys.readouterr()
    assert main(list(map(str, words))) == 0
    return [row[1:] for row in csv.reader(io.StringIO(capsys.readouterr().out))]


def test_the_same_answers(run: Path, capsys: Captured, tmp_path: Path) -> None:
    x, y = series()
    model, folder = load_model(run)
    want = model.predict(x[:, np.newaxis])
    wrong = []
    for way, (_, _, labelled) in WAYS.items():
        if way == "order" and run.parent.name.startswith(("headerless", "ts")):
            continue  # the run knows no names; a series is in the order of its file
        path = write(way, tmp_path)
        got, _ = read_files([path], like(model, folder))
        if not (model.predict(got) == want).all():
            wrong.append(way)
        if labelled:
            capsys.readouterr()
            assert main(["evaluate", str(run), str(path), "--json"]) == 0, way
            share = (want.argmax(1) == [["fall", "rise"].index(w) for w in y]).mean()
            assert f'"accuracy": {float(share)}' in capsys.readouterr().out, way
    assert wrong == []
    rows = told(capsys, "predict", run, tmp_path / "middle.csv", "--csv")
    assert rows == told(capsys, "predict", run, tmp_path / "alone.txt", "--csv")
    rows = [row for row in rows if row[0] != "class"]
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], np.float32), want)


def test_series_of_any_length(capsys: Captured, tmp_path: Path) -> None:
    """``--labels`` says what a line of numbers alone does not."""
    x, y = series()
    numbers = [str(WORDS.index(w)) for w in y]
    labelled, plain = tmp_path / "a.tsv", tmp_path / "b.tsv"
    labelled.write_text(lines(None, [[n, *r] for n, r in zip(numbers, x, strict=True)], "\t"))
    plain.write_text(lines(None, [list(row) for row in x], "\t"))
    out = tmp_path / "run"
    options = ["--size=16", "--epochs=1", *SMALL, f"--out={out}"]
    assert main(["train", str(labelled), *options]) == 0
    for path in (labelled, plain):
        assert main(["predict", str(out), str(path)]) != 0
        assert "--labels" in capsys.readouterr().err
    rows = told(capsys, "predict", out, labelled, "--labels=first", "--csv")
    assert rows == told(capsys, "predict", out, plain, "--labels=none", "--csv")
    model, _ = load_model(out)
    want = model.predict(open_source(labelled, size=16).read(range(len(x))))
    got = np.array([row[1:] for row in rows[1:]], np.float32)
    np.testing.assert_array_equal(got, want)
    one = tmp_path / "one.tsv"
    one.write_text(plain.read_text().partition("\n")[0] + "\n")
    look = ["look", str(out), str(one), f"--out={tmp_path / 'look'}"]
    assert main(look) == 2 and "--labels" in capsys.readouterr().err
    assert main([*look, "--labels=none"]) == 0


def test_the_label_that_the_user_names(capsys: Captured, tmp_path: Path) -> None:
    x, y = series()
    path, out = tmp_path / "a.csv", tmp_path / "run"
    path.write_text(lines([*NAMES, "shape"], [[*r, w] for w, r in zip(y, x, strict=True)]))
    numbers = path.read_text().replace("rise", "1").replace("fall", "0")
    path.write_text(numbers)
    options = ["--epochs=1", *SMALL, f"--out={out}"]
    assert main(["train", str(path), *options]) == 2
    assert "names no label" in capsys.readouterr().err
    assert main(["train", str(path), "--label=shape", *options]) == 0
    assert main(["evaluate", str(out), str(path)]) == 0
    assert main(["evaluate", str(out)]) == 0
    # Without its label, and with it under another name.
    rows = told(capsys, "predict", out, path, "--csv")
    plain = tmp_path / "plain.csv"
    plain.write_text(without_labels(x, y))
    assert rows == told(capsys, "predict", out, plain, "--csv")
    path.write_text(numbers.replace("shape", "target"))
    assert rows == told(capsys, "predict", out, path, "--csv")
    assert main(["evaluate", str(out), str(path)]) == 0


def test_the_row_numbers_of_pandas_are_no_series(capsys: Captured, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for name in ("pandas-index.csv", "pandas-array.csv", "pandas-excel.csv"):
        assert main(["train", str(FILES / name), f"--out={out}"]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and name in error
    assert "write numbers with a point" in error and not out.exists()


def test_a_table_is_matched_by_the_names_of_its_columns(capsys: Captured, tmp_path: Path) -> None:
    x, y = shapes(24, (4,))
    head, out = ["a", "b", "label", "c", "d"], tmp_path / "run"
    rows = [[*row[:2], WORDS[w], *row[2:]] for row, w in zip(x[:, 0], y, strict=True)]
    path, other = tmp_path / "a.csv", tmp_path / "b.tsv"
    path.write_text(lines(head, rows))
    assert main(["train", str(path), "--kind=table", "--epochs=2", f"--out={out}"]) == 0
    assert "4 columns (a, b, c, d)" in capsys.readouterr().out
    want = told(capsys, "predict", out, path, "--csv")
    for order in ([4, 2, 0, 3, 1], [3, 1, 0, 4]):
        text = lines([head[i] for i in order], [[row[i] for i in order] for row in rows], "\t")
        other.write_text(text)
        assert told(capsys, "predict", out, other, "--csv") == want
    for names, message in (
        ("a b label c", "b.tsv: lacks the columns d: must have those of training, a, b, c, d"),
        ("a b label c e", "b.tsv: lacks the columns d and has further columns e"),
        ("a b c d e", "b.tsv: has further columns e"),
    ):
        row: list[object] = [1, 2, 3, 4, 5]
        other.write_text(lines(names.split(), [row[: len(names.split())]], "\t"))
        assert main(["predict", str(out), str(other)]) != 0
        assert message in capsys.readouterr().err
