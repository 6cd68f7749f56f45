"""Names from a disk in messages, and the order of classes."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from faltung.data.names import (
    LONGEST_NAME,
    as_word,
    class_list,
    class_name,
    in_order,
    inside,
    listing,
    number_classes,
    printable,
)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat.png", "cat.png"),
        ("Käfer 猫.png", "Käfer 猫.png"),
        ("a\nb", "a\\nb"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("\u202egnp.exe", "\\u202egnp.exe"),  # turns the text around
        ("\udcff", "\\udcff"),  # a byte that is no UTF-8
        ("a\\\n", "a\\\\\\n"),
        ("a\\b", "a\\b"),
    ],
)
def test_what_does_not_print_is_escaped(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert printable(name).isprintable()


def test_long_names_are_cut() -> None:
    assert len(printable("x" * 5000)) == LONGEST_NAME


def test_paths() -> None:
    assert inside(Path("/data/set/cat/a\n.png"), Path("/data/set")) == "cat/a\\n.png"


def test_order_of_classes() -> None:
    assert in_order(["10", "2", "1"]) == ("1", "2", "10")
    assert in_order(["b", "10", "2"]) == ("10", "2", "b")
    assert in_order(["-1", "1"]) == ("-1", "1")


def test_classes_are_numbered() -> None:
    labels, classes = number_classes(["b", "a", "b"], "f.csv")
    assert labels.tolist() == [1, 0, 1] and classes == ("a", "b")
    labels, classes = number_classes(["b"], "f.csv", ["c", "b"])
    assert labels.tolist() == [1] and classes == ("c", "b")
    with pytest.raises(ValueError, match=r"has the label 'x\\n', which is not one of"):
        number_classes(["b", "x\n"], "f.csv", ["a", "b"])


def test_class_lists() -> None:
    with pytest.raises(TypeError, match="classes"):
        class_list("ab")
    with pytest.raises(TypeError, match="classes"):
        class_list([1, 2])  # type: ignore[list-item]


def test_labels_as_words() -> None:
    assert [as_word(v) for v in (3, np.int64(3), 3.0, np.float32(3), "3")] == ["3"] * 5
    assert as_word(0.5) == "0.5"


def test_listings() -> None:
    assert listing(["a", "b"]) == "a, b"
    assert listing([str(i) for i in range(10)], 3) == "0, 1, 2 and 7 more"


COMPOSED = "K\u00e4fer"
APART = unicodedata.normalize("NFD", COMPOSED)


def test_two_spellings_are_one_class(tmp_path: Path) -> None:
    from faltung import Model, nn
    from faltung.data import ArraySource, open_source

    assert COMPOSED != APART and class_name(APART) == COMPOSED
    labels, classes = number_classes([APART, "b", COMPOSED], "f.csv")
    assert labels.tolist() == [0, 1, 0] and classes == (COMPOSED, "b")
    labels, classes = number_classes([APART], "f.csv", [COMPOSED, "b"])
    assert labels.tolist() == [0]
    assert ArraySource(np.ones((2, 3)), [0, 1], classes=[APART, "b"]).classes == (COMPOSED, "b")
    model = Model(nn.Linear(2), (3,), classes=[APART, "b"])
    assert model.classes == (COMPOSED, "b")
    np.savez(tmp_path / "x.npz", x=np.ones((4, 3, 8)), y=np.array([APART, "b", COMPOSED, "b"]))
    source = open_source(tmp_path / "x.npz", kind="series", classes=[APART, "b"])
    assert source.classes == (COMPOSED, "b") and source.targets.tolist() == [0, 1, 0, 1]
    (tmp_path / "x.csv").write_text(f"{APART},1,2\nb,3,4\n{COMPOSED},5,6\nb,7,8\n", "utf-8")
    source = open_source(tmp_path / "x.csv", kind="series")
    assert source.classes == (COMPOSED, "b") and source.targets.tolist() == [0, 1, 0, 1]


def test_two_folders_of_one_class_are_both_named(tmp_path: Path) -> None:
    from faltung.data import open_source

    pytest.importorskip("PIL")
    for name in (COMPOSED, APART, "b"):
        (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name / "x.png").write_bytes(b"x")
    if len(list((tmp_path / "set").iterdir())) < 3:
        pytest.skip("this disk knows one spelling")
    with pytest.raises(ValueError, match="one class with two spellings") as error:
        open_source(tmp_path / "set")
    assert ascii(COMPOSED) in str(error.value) and ascii(APART) in str(error.value)
