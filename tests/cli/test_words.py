"""Messages begin with what was typed: every option of every command with values that are wrong."""

import argparse
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from runs import shapes

from faltung.cli import commands, wording
from faltung.cli.commands import parsers
from faltung.cli.main import COMMANDS, main
from faltung.cli.parser import Parser, Typed, real_number, whole_number
from faltung.compress import ladder
from faltung.train import session
from faltung.train.run_folder import RunFolder

Captured = pytest.CaptureFixture[str]

# Values that one option or another refuses: no numbers, numbers out of range, words, other text.
WRONG = ("", " ", "0", "-1", "-1e-3", "2.5", "nan", "-inf", "1e999", "9" * 40, "x", "a=b: c")
WRONG += ("0x3", "3x0x3", "1,5", "\x1b[2J", "é" * 300, "None", "{")
# What comes before the option, and options that take any text at all, or a path.
BASE = {
    "train": ["digits", "--epochs=1"],
    "evaluate": ["run"],
    "compare": ["run", "run"],
    "predict": ["run", "x.npy"],
    "look": ["run", "x.npy"],
    "bits": ["run"],
    "compress": ["run", "other.npz", "--out=small"],
    "ladder": ["digits", "--force"],
    "export": ["run", "other.onnx"],
    "convert": ["model.onnx", "--out=converted.onnx", "--force"],
    "run": ["model.onnx"],
    "profile": ["lenet5"],
    "bench": ["model.onnx"],
    "nets": [],
    "summary": ["lenet5"],
    "quiz": ["--json"],  # it asks nothing
    "see": ["run", "x.npy", "--force"],
    "explain": ["c1>1 8 k3"],
    "doctor": ["--quick"],
    "completion": ["bash"],
    "cache": [],
}
PATHS = ("--out", "--resume", "--from", "--teacher", "--sort", "--tensorboard", "--mlflow")
FILES = (("compare", "--html"), ("look", "--pictures"), ("convert", "--classes"))
# Names of arrays in a file: what is no array at all says so with the name of the file.
OF_FILES = ("--x", "--y", "--label")
# What is not said in a command line: arguments of functions, calls, Python's own words.
PYTHON = re.compile(r"(?<![\w.-])[a-z_]+=(?![\w.]*x)|\w\(|\b(None|True|False)\b")
# Almost any text is right.
FREE = ("--freeze",)


def options(command: str) -> Iterator[argparse.Action]:
    _, own = parsers(COMMANDS, command)
    for action in own._actions:
        if action.option_strings and action.nargs != 0:
            yield action


ROWS = [
    (command, action.option_strings[-1])
    for command in COMMANDS
    for action in options(command)
    if action.option_strings[-1] not in (*PATHS, *OF_FILES)
    and (command, action.option_strings[-1]) not in FILES
    and (command != "run" or action.option_strings[-1] == "--shape")  # the others are files
]


class _Accepted(Exception):
    """The run would begin."""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run and a sample."""
    folder = tmp_path_factory.mktemp("words")
    x, y = shapes(12)
    np.savez(folder / "data.npz", x=x, y=y)
    np.savez(folder / "other.npz", x=x, y=y)
    np.save(folder / "x.npy", x[0])
    assert main(["train", str(folder / "data.npz"), "--epochs=1", f"--out={folder / 'run'}"]) == 0
    assert main(["export", str(folder / "run"), str(folder / "model.onnx")]) == 0
    return folder


@cache
def _parsers(command: str) -> tuple[Parser, Parser]:
    return parsers(COMMANDS, command)


def kept(_: object, command: str) -> tuple[Parser, Parser]:
    """``parsers``, made once for each command; what was typed before is forgotten."""
    for parser in _parsers(command):
        parser.typed.clear()
    return _parsers(command)


def said(capsys: Captured, words: list[str]) -> tuple[int | str | None, str]:
    """The status and standard error of a command; "accepted" if there is nothing to refuse."""
    capsys.readouterr()
    try:
        status: int | str | None = main(words)
    except SystemExit as end:
        status = end.code
    except _Accepted:
        status = 0
    return status, capsys.readouterr().err


@pytest.mark.parametrize(("command", "option"), ROWS, ids=[" ".join(row) for row in ROWS])
def test_every_option(
    command: str, option: str, there: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(there)

    def begin(*_: object, **__: object) -> None:
        raise _Accepted

    # Twenty times of a parser is most of the time that this takes.
    monkeypatch.setattr(commands, "parsers", kept)
    monkeypatch.setattr(session, "Session", begin)
    monkeypatch.setattr(RunFolder, "begin", begin)
    monkeypatch.setattr(ladder, "climb_down", begin)
    refused = 0
    for value in WRONG:
        status, err = said(capsys, [command, *BASE[command], option, value])
        if status == 0:
            continue
        refused += 1
        assert status == 2 and err.count("\n") == 1 and err.strip().isprintable(), (value, err)
        shown = str(Typed(option, value))
        assert err.startswith(f"faltung {command}: {shown}: "), (value, err)
        rule = err.partition(f"{shown}: ")[2].replace(value.strip() or "-", "")
        rule = re.sub(r"\bas .*", "", rule)  # an example
        assert not PYTHON.search(rule), (value, err)
        if refused == 1:  # written with a sign it is told with a sign
            _, err = said(capsys, [command, *BASE[command], f"{option}={value}"])
            assert err.startswith(f"faltung {command}: {shown.replace(' ', '=', 1)}: ")
    assert refused > (0 if option in FREE else 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train digits --held-out 0.0001 --held-out 1", "train: --held-out 1: must"),
        ("train digits --threads 0", "train: --threads 0: the number of threads must"),
        ("train digits --set width=2", "train: --set width=2: lenet5 takes paper"),
        ("train digits --nesterov", "train: --nesterov: applies to sgd, not to adamw"),
        ("train digits --channels 3", "train: --channels 3: data=digits: has 1, not 3"),
        ("train nothing", "train: nothing: no such file or folder"),
        ("summary nothing", "summary: NET nothing: must be one of lenet5"),
        ("predict", "predict: RUN, FILE: must be given; see `faltung predict --help`"),
        ("train digits --epochz 3", "train: --epochz: there is no such option (did you mean"),
        ("train digits --epochs", "train: --epochs: needs a value; see"),
        ("train digits --flip=1", "train: --flip=1: takes no value; see"),
        ("train digits more", "train: more: is one argument too many; see"),
        ("expalin", "expalin: there is no such command (did you mean explain?)"),
    ],
)
def test_messages(
    words: str, message: str, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, err = said(capsys, words.split())
    assert status == 2 and err.count("\n") == 1
    assert err.startswith("faltung" + (": " if words == "expalin" else " ") + message)


def test_words_of_a_convolution(capsys: Captured) -> None:
    for text, message in {
        "c3>4 8x8 k3 s0": "s0: stride=0: every stride must be at least 1",
        "c3>4 8x8": "'c3>4 8x8': has no kernel",
        "c3>4 8x8 k9": "k9: kernel=9: must not be larger",
    }.items():
        status, err = said(capsys, ["explain", text])
        assert status == 2 and err.startswith(f"faltung explain: {message}")


def test_a_file_with_the_name_of_an_option(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("lr=3.npz", "seed.npz", "size"):
        Path(name).write_text("no")
        _, err = said(capsys, ["train", name, "--lr", "1", "--size", "8"])
        assert err.startswith(f"faltung train: {name}")


@pytest.mark.parametrize(
    ("text", "number"), [("32", 32), ("32.0", 32), ("1e3", 1000), (" 7 ", 7), ("+5", 5), ("-0", 0)]
)
def test_whole_numbers(text: str, number: int) -> None:
    found = whole_number(text)
    assert found == number and type(found) is int


@pytest.mark.parametrize("text", ["", "x", "2.5", "nan", "inf", "1e400", "9" * 99, "1e17", "1_0"])
def test_no_whole_numbers(text: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a whole number"):
        whole_number(text)


def test_numbers() -> None:
    assert [real_number(text) for text in ("1e-3", ".5", "-2", " 3 ")] == [1e-3, 0.5, -2, 3]
    with pytest.raises(ValueError, match=r"with a point and no comma"):
        real_number("0,5")


def test_negative_numbers_are_no_options() -> None:
    parser = Parser()
    parser.add_argument("--lr", type=float)
    for text in ("-1", "-1e-3", "-.5", "-inf"):
        assert parser.parse_args(["--lr", text]).lr == float(text)


def test_the_rule_names_options_too() -> None:
    typed = {"loss": [Typed("--loss", "mse")], "smoothing": [Typed("--smoothing", "0.1")]}
    options = {"loss": "--loss", "smoothing": "--smoothing", "size": "--size"}
    for message, wanted in {
        "smoothing=0.1: not to loss='mse'": "--smoothing 0.1: not to --loss mse",
        "smoothing=0.1: not to loss='other'": "--smoothing 0.1: not to loss='other'",
        "f.csv: line 3; pass size= to fit": "f.csv: line 3; pass --size to fit",
        'a.npz: say loss="mse"': 'a.npz: say loss="mse"',
        "size: must be given": "--size: must be given",
        "size=(1: 2): wrong": "--size (1: 2): wrong",
        "size='a: b': wrong": "--size 'a: b': wrong",
        "y[1]=2: must be a label": "y[1]=2: must be a label",
        "f.csv: use loss mse (--loss mse), or b (--size N)": "f.csv: use loss mse (--loss mse), or "
        "b (--size N)",
        "f.csv: name it with label (--label NAME)": "f.csv: name it with label",
        "nothing to see": "nothing to see",
    }.items():
        assert wording.in_typed_words(message, typed, options, {}) == wanted


def test_a_number_of_channels_that_is_none(capsys: Captured) -> None:
    status, err = said(capsys, ["train", "digits", "--channels", "x"])
    assert status == 2 and "--channels x: must be a whole number, first or last" in err
