"""Names that a terminal or a spreadsheet would obey, from every source, through every command."""

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from runs import shapes

from faltung import Model, nn
from faltung.cli.main import main
from faltung.data.names import class_name, spreadsheet_text

Captured = pytest.CaptureFixture[str]
EVIL = "\x1b[2J\u202e\x07"
FORMULA = "=cmd|'/C calc'!A0"
CLASSES = (f"{FORMULA}{EVIL}", f"@b{EVIL}")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="names of files that Windows refuses")


def folder_of_pictures(at: Path) -> Path:
    image = pytest.importorskip("PIL.Image")
    random = np.random.default_rng(0)
    for i in range(12):
        place = at / CLASSES[i % 2].replace("/", "_")
        place.mkdir(parents=True, exist_ok=True)
        image.fromarray(random.integers(0, 256, (8, 8), np.uint8)).save(place / f"{EVIL}{i}.png")
    (place / f"{EVIL}broken.png").write_bytes(b"no")
    return at


def arrays(at: Path) -> Path:
    x, y = shapes(12)
    path = at.with_suffix(".npz")
    np.savez(path, x=x, y=y, classes=CLASSES, names=[f"{FORMULA}{EVIL}{i}" for i in range(12)])
    return path


def words(at: Path) -> Path:
    x, y = shapes(12)
    path = at.with_suffix(".npz")
    np.savez(path, x=x, y=np.array(CLASSES)[y])
    return path


def text(at: Path) -> Path:
    x, y = shapes(24, (16,))
    path = at.with_suffix(".csv")
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([CLASSES[k], *row[0]] for row, k in zip(x, y, strict=True))
    return path


SOURCES = {"folders": folder_of_pictures, "classes": arrays, "words": words, "text": text}
SMALL = {"text": ["--net=tcn", "--set=channels=4", "--set=levels=1"]}


def clean(capsys: Captured) -> str:
    """What was printed; nothing in it moves a cursor."""
    said = capsys.readouterr()
    for line in (said.out + said.err).split("\n"):
        assert line.isprintable(), ascii(line)
    return said.out


@pytest.mark.parametrize("source", SOURCES)
def test_every_command(
    source: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = SOURCES[source](tmp_path / f"data{EVIL}")
    run, new = f"run{EVIL}", f"{EVIL}.onnx"
    assert main(["train", str(data), "--epochs=1", f"--out={run}", *SMALL.get(source, [])]) == 0
    assert str(class_name(CLASSES[0])).isprintable()
    clean(capsys)
    assert main(["train", "--resume", run]) == 0
    assert main(["evaluate", run]) == main(["evaluate", run, str(data)]) == 0
    assert main(["evaluate", run, str(data), "--json"]) == 0
    clean(capsys)
    space = (1, 16) if source == "text" else (1, 8, 8)
    np.save(f"{FORMULA}{EVIL}.npy".replace("/", "_"), np.zeros(space, np.float32))
    file = next(path.name for path in Path().glob("=*.npy"))
    assert main(["predict", run, file, f"none{EVIL}"]) == 1
    assert main(["look", run, file, "--out", f"look{EVIL}"]) == 0
    assert main(["look", run, file, "--class", EVIL]) == 2
    assert main(["look", run, file, "--layer", EVIL]) == 2
    assert main(["export", run, f"{EVIL}.safetensors"]) == 0
    assert main(["export", run, f"{EVIL}.exe"]) == 2
    clean(capsys)
    assert main(["export", run, new]) in (0, 2)  # 2: onnx is not installed
    clean(capsys)
    assert main(["predict", run, file, "--csv"]) == 0
    head, row = csv.reader(io.StringIO(clean(capsys)))
    assert not any(cell[:1] in ("=", "+", "@") for cell in head + row)
    known = [c.replace("/", "_") if source == "folders" else c for c in CLASSES]
    assert [cell.removeprefix("'") for cell in head[2:]] == sorted(map(class_name, known))
    assert row[0].startswith("'=") and row[1].startswith("'")
    assert sum(map(float, row[2:])) == pytest.approx(1, abs=1e-5)
    for line in Path(run, "config.toml").read_text("utf-8").split("\n"):
        assert line.isprintable() or line.startswith(("path = ", "relative = "))  # as typed
    html = Path(run, "report.html").read_text("utf-8")
    assert "\x1b" not in html and "\u202e" not in html and "\x07" not in html


def test_names_in_a_config(tmp_path: Path, capsys: Captured) -> None:
    """A config of a stranger: names are made printable, settings are refused in one line."""
    x, y = shapes(12)
    np.savez(tmp_path / "data.npz", x=x, y=y, classes=["aa", "bb"])
    run = tmp_path / "run"
    assert main(["train", str(tmp_path / "data.npz"), "--epochs=1", f"--out={run}"]) == 0
    config = run / "config.toml"
    plain = config.read_text()
    config.write_text(plain.replace('"aa"', r'"=a\u001B[2J"'))
    np.save(tmp_path / "x.npy", x[0])
    clean(capsys)
    assert main(["predict", str(run), str(tmp_path / "x.npy"), "--csv"]) == 0
    assert "'=a\\x1b[2J" in clean(capsys)
    for part in ("lenet5", "adamw", "cross_entropy", "conv1", "float32", "picture"):
        config.write_text(plain.replace(part, r"\u001B[2J"))
        for command in (["predict", str(run), str(tmp_path / "x.npy")], ["train", "--resume"]):
            main([*command, str(run)] if command[0] == "train" else command)
            clean(capsys)


def test_models() -> None:
    made = Model(nn.Sequential(nn.Flatten(), nn.Linear(2)), (1, 4, 4), classes=CLASSES)
    assert made.classes is not None and all(name.isprintable() for name in made.classes)
    assert repr(made).isprintable()
    again = Model.from_about(json.loads(json.dumps(made.about())))
    assert again.classes == made.classes


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("-cmd|x", "'-cmd|x"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\uff1d1", "'\uff1d1"),
        ("-1", "-1"),
        ("+0.5e-3", "+0.5e-3"),
        ("-1+1", "'-1+1"),
        ("cat=1", "cat=1"),
        ("", ""),
    ],
)
def test_spreadsheets(name: str, cell: str) -> None:
    assert spreadsheet_text(name) == cell
