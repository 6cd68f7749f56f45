"""Raw text: folders and tables of sentences, the vocabulary, and what is refused."""

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faltung.data import Like, open_source, read_files, tokenizer

pytest.importorskip("tokenizers")
GOOD = ["a good film", "Good, GOOD film!", "what a good day"]
BAD = ["a bad film", "bad: the worst day", "what a bad day"]


def folder(root: Path) -> Path:
    for name, texts in (("good", GOOD), ("bad", BAD)):
        (root / name).mkdir(parents=True)
        for i, text in enumerate(texts):
            (root / name / f"{i}.txt").write_text(text, "utf-8")
    return root


def test_a_folder(tmp_path: Path) -> None:
    root = folder(tmp_path / "reviews")
    source = open_source(root)
    assert (source.kind, source.shape, source.classes) == ("text", (8,), ("bad", "good"))
    words = source.words
    assert words[:4] == ("[PAD]", "[UNK]", "a", "good") and "worst" not in words
    x = source.read([3, 4])
    number = {word: i for i, word in enumerate(words)}
    assert x[0].tolist() == [number[w] for w in ("a", "good", "film")] + [0] * 5
    assert x[1, :2].tolist() == [number["good"], tokenizer.UNKNOWN]  # a comma that comes once
    short = open_source(root, size=2)
    assert short.shape == (2,) and short.read([3]).tolist() == [x[0, :2].tolist()]
    again = open_source(root, like=Like("text", (8,), words=words), classes=("bad", "good"))
    assert np.array_equal(again.read(range(6)), source.read(range(6)))
    (tmp_path / "new.txt").write_text("a good zebra")
    found, names = read_files([tmp_path / "new.txt"], Like("text", (8,), words=words))
    assert found[0].tolist() == [number["a"], number["good"], 1, 0, 0, 0, 0, 0]
    assert names == (str(tmp_path / "new.txt"),)


@pytest.mark.parametrize(
    ("head", "more"),
    [
        ("label,text", {}),
        ("TEXT,stars", {}),
        ("a,class", {"kind": "text"}),
        ("id,a,b,label", {"kind": "text", "x": "b"}),
        ("text\tb", {"label": "b"}),
    ],
)
def test_tables(head: str, more: dict[str, Any], tmp_path: Path) -> None:
    mark = "\t" if "\t" in head else ","
    names = head.split(mark)
    column = more.get("x") or next(n for n in names if n.lower() in ("text", "a"))
    label = next((n for n in names if n in ("label", "class", "stars")), names[-1])
    lines = [head]
    for kind, texts in (("good", GOOD), ("bad", BAD)):
        for i, text in enumerate(texts):
            cells = {name: str(i) for name in names} | {column: f'"{text}"', label: kind}
            lines.append(mark.join(cells[name] for name in names))
    path = tmp_path / f"a.{'tsv' if mark != ',' else 'csv'}"
    path.write_text("\n".join(lines) + "\n\n")
    source = open_source(path, **more)
    assert (source.kind, source.classes) == ("text", ("bad", "good"))
    assert source.targets.tolist() == [1, 1, 1, 0, 0, 0]
    assert (source.label, source.column) == (label, column)
    assert np.array_equal(source.read([0]), source.read([0])) and source.names[0] == "line 2"
    want = Like("text", source.shape, words=source.words, x=more.get("x"), label=source.label)
    found, called = read_files([path], want, x=more.get("x") or column)
    assert np.array_equal(found, source.read(range(6))) and called[5] == f"{path}[5]"


def test_series_stay_series(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("label,a,b\n1,0.5,0.7\n2,1,2\n")
    assert open_source(tmp_path / "a.csv").kind == "series"


def test_files_that_are_no_texts(tmp_path: Path) -> None:
    root = folder(tmp_path / "reviews")
    for name, data in {
        "empty.txt": b"",
        "blank.txt": b" \n",
        "latin.txt": b"caf\xe9 caf\xe9",
        "zeros.txt": b"a\0b",
        "a.png": b"x",
    }.items():
        (root / "good" / name).write_bytes(data)
    with (root / "good/huge.txt").open("wb") as file:
        file.truncate(1 << 30)
    said = dict(line.split(": ", 1) for line in open_source(root).skipped)
    assert {name.removeprefix("good/"): why.partition(";")[0] for name, why in said.items()} == {
        "a.png": "is no .txt file",
        "blank.txt": "is empty",
        "empty.txt": "the file is empty",
        "huge.txt": "has 1,073,741,824 bytes; a text has at most 16,777,216".partition(";")[0],
        "latin.txt": "is not UTF-8 text, at byte 3",
        "zeros.txt": "is not text: it has bytes of 0 in it",
    }
    with pytest.raises(ValueError, match=r"good/empty.txt: the file is empty"):
        open_source(root, strict=True)


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("text,label\na,b,c\n", {}, "line 2 has 3 cells, the header 2: .* needs quotes"),
        ("text,label\nhello,\n", {}, r"line 2 has no label \(column 'label'\)"),
        ("text,label\n", {}, "contains no samples"),
        ("text,a,b\nx,1,2\n", {}, "has no column of labels: call one label"),
        ("a,b,label\nx,y,1\n", {"kind": "text"}, "which column holds the texts is not known"),
        ("text,label\nx,1\n", {"x": "no"}, "has no such column; it has text, label"),
        ("text,label\nx,1\n,2\n", {"strict": True}, "line 3 has no text"),
        ("text,label\nx,1\n", {"kind": "series"}, "holds text"),
        ("text,label\nx,nine\n", {"targets": "numbers"}, "the label 'nine' is not a number"),
    ],
)
def test_tables_that_are_refused(
    text: str, more: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        open_source(tmp_path / "a.csv", **more)


def test_vocabularies() -> None:
    words = tokenizer.learn(["b a", "a b", "c c c", "Äpfel äpfel 我们"])
    assert words == ("[PAD]", "[UNK]", "c", "a", "b", "äpfel")
    assert tokenizer.learn(["b a", "a b", "c c c"], 4) == words[:4]
    assert tokenizer.learn(["one two"]) == ("[PAD]", "[UNK]", "one", "two")
    assert tokenizer.from_text(tokenizer.as_text(words)) == words
    assert tokenizer.encode(["a [PAD] [UNK] ÄPFEL"], words).tolist() == [[3, 1, 1, 1, 1, 1, 1, 5]]
    for text in ("", "a\nb", "[PAD]\n[UNK]\na\na", "[PAD]\n[UNK]\na b", "[PAD]\n[UNK]\n"):
        with pytest.raises(ValueError, match="words: "):
            tokenizer.from_text(text)
    with pytest.raises(ValueError, match="no words in them"):
        tokenizer.learn([" ", "\u200b"])


def test_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without(name: str, *more: Any, **options: Any) -> Any:
        if name == "tokenizers":
            raise ImportError(name)
        return plain(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'text needs tokenizers: pip install "faltung\[text\]"'):
        open_source(folder(tmp_path / "reviews"))
