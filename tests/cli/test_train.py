"""`faltung train`: what it shows, how it is stopped, what it says of bad input."""

import argparse
import os
import re
import select
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from limits import limit
from runs import EAGER, command, environment, rows, run, shapes, tensors

from faltung.cli import train_options
from faltung.cli.main import main
from faltung.data.augment import Augment
from faltung.data.open import open_source
from faltung.train import defaults
from faltung.train.settings import NOTHING, Settings

Captured = pytest.CaptureFixture[str]


pytestmark = pytest.mark.usefixtures("elsewhere")


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter)
    train_options.configure(parser)
    return parser


# Options ------------------------------------------------------------------------------------------


def test_every_setting_is_an_option_and_its_default_is_told() -> None:
    said = {**train_options.SETTINGS, **train_options.AUGMENT}
    usual = {**Settings().as_dict(), **Augment().as_dict()}
    for name in ("augment", "freeze", "lengthened"):  # has options, is one, is none
        usual.pop(name)
    assert set(said) == set(usual)
    for name, value in usual.items():
        if value and value != NOTHING.get(name):  # nothing, or off, needs no words
            told = "yes" if value is True else str(value)
            assert told in said[name][1], name
    for name, lr in defaults.LR.items():
        assert f"{name} {lr:g}" in said["lr"][1]
    assert f"{defaults.MOMENTUM}" in said["momentum"][1]
    help_text = options().format_help()
    for (name, net), settings in defaults.PRESETS.items():
        assert f"{name}, {net}:" in help_text
        for option, value in settings.items():
            assert f"--{option} {value}" in help_text


def test_help_loads_neither_numpy_nor_llvmlite() -> None:
    code = (
        "import sys\nfrom faltung.cli.main import main\n"
        "for word in ('train', 'evaluate', 'predict', 'look', 'export'):\n"
        "    try: main([word, '--help'])\n    except SystemExit: pass\n"
        "print([m for m in ('numpy', 'llvmlite', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_both_ways_to_write_an_option(data: Path, tmp_path: Path) -> None:
    assert main(["train", str(data), "--epochs", "1", "--batch=8", "--out", "a"]) == 0
    assert main(["train", str(data), "--epochs=1", "--batch", "8", "--out=b"]) == 0
    assert tensors(tmp_path / "a/last.safetensors") == tensors(tmp_path / "b/last.safetensors")


def test_all_options_arrive(data: Path, tmp_path: Path) -> None:
    words = (
        "--net lenet5 --set paper=true --epochs 1 --batch 8 --optimizer sgd --lr 0.01 "
        "--momentum 0.8 --nesterov --decay 0.001 --clip 2 --schedule cosine --warmup 0.1 "
        "--smoothing 0.1 --patience 3 --seed 4 --held-out 0.25 --shift 1 --flip --crop 1 "
        "--cutout 2 --jitter 0.1 --fill edge --threads 1 --out run"
    )
    assert main(["train", str(data), *words.split()]) == 0
    import tomllib

    config = tomllib.loads((tmp_path / "run/config.toml").read_text())
    made = Settings.from_dict(config["train"])
    wanted = Settings(
        epochs=1,
        batch=8,
        optimizer="sgd",
        lr=0.01,
        momentum=0.8,
        nesterov=True,
        decay=0.001,
        clip=2,
        schedule="cosine",
        warmup=0.1,
        smoothing=0.1,
        patience=3,
        seed=4,
        augment=Augment(shift=1, flip=True, crop=1, cutout=2, jitter=0.1, fill="edge"),
    )
    assert made == wanted
    assert config["net"] == {"name": "lenet5", "paper": True}
    assert config["data"]["held_out"] == 0.25 and "Tanh()" in config["model"]["net"]


# Runs ---------------------------------------------------------------------------------------------


def test_a_run_says_how_it_goes(data: Path, tmp_path: Path, capsys: Captured) -> None:
    assert main(["train", str(data), "--epochs", "3"]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert said.err == "" and lines.pop(0).startswith("40 samples, 1 channel, 8x8, values -1.13")
    assert lines[0] == "convnet on data.npz"
    assert [line[:9] for line in lines[1:4]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    assert re.fullmatch(
        r"best weights on 8 held-out samples: accuracy \d+\.\d\d%, loss \d\.\d{4}", lines[4]
    )
    assert lines[5:] == ["report: runs/data-convnet-001/report.html"]
    assert sorted(os.listdir("runs/data-convnet-001")) == [
        "best.safetensors",
        "config.toml",
        "last.safetensors",
        "metrics.csv",
        "report.html",
    ]
    assert "<script" not in Path("runs/data-convnet-001/report.html").read_text()


def test_digits(tmp_path: Path) -> None:
    """The first command of the README: above the goal, in few seconds of work."""
    code = (
        EAGER + "loop.EPOCH_SAVE_SECONDS = loop.BATCH_SAVE_SECONDS = 9; loop.SAVE_TIME_RATIO = 1\n"
    )
    done = run("train", "digits", "--threads=1", code=code)
    assert done.returncode == 0, done.stderr
    found = re.search(r"best weights on 359 held-out samples: accuracy (.*)%", done.stdout)
    assert found is not None and float(found[1]) >= 98.5


def test_resumed_it_takes_other_threads_and_nothing_else(
    data: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert main(["train", str(data), "--epochs", "2", "--out", "run"]) == 0
    before = tensors(tmp_path / "run/last.safetensors")
    capsys.readouterr()
    for more, name in (
        (["--batch", "9"], "--batch"),
        (["--set", "width=1"], "--set"),
        (["--flip"], "--flip"),
        (["--strict"], "--strict"),
        (["--from", "run", "--class-weight=1,1"], "--from, --class-weight"),
        ([str(data)], "DATA"),
    ):
        assert main(["train", "--resume", "run", *more]) == 2
        said = capsys.readouterr().err
        assert f"continues a run unchanged: leave out {name} (" in said and said.count("\n") == 1
    assert main(["train", "--resume", "run", "--threads", "1"]) == 0
    assert tensors(tmp_path / "run/last.safetensors") == before


# Stopped ------------------------------------------------------------------------------------------

SLOW = """
from faltung.train.loop import Loop
import time
seconds = float(sys.argv.pop())
plain = Loop._batch
def batch(self, *words):
    plain(self, *words)
    if self.position.step == 3:
        print("third", flush=True)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.01)
Loop._batch = batch
"""
POSIX = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def started(*words: object, seconds: float) -> "subprocess.Popen[str]":
    """A run that says when it is in its third batch, and stays there."""
    child = subprocess.Popen(
        command("train", *words, seconds, code=EAGER + SLOW),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    while child.stdout.readline() != "third\n":
        assert child.poll() is None
    return child


@POSIX
def test_ctrl_c_saves_and_says_how_to_go_on(data: Path, tmp_path: Path) -> None:
    words = [data, "--epochs", "2", "--batch", "8"]
    child = started(*words, "--out", "a b", seconds=0.5)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=limit(60))
    assert child.returncode == 130
    assert err == "\nstopped. To resume: faltung train --resume 'a b'\n" and "Traceback" not in out
    assert run("train", "--resume", "a b").returncode == 0
    assert run("train", *words, "--out", "whole").returncode == 0
    assert rows(tmp_path / "a b") == rows(tmp_path / "whole")
    for name in ("best", "last"):
        one, two = (tensors(tmp_path / r / f"{name}.safetensors") for r in ("a b", "whole"))
        assert one == two


@POSIX
def test_ctrl_c_twice_is_at_once(data: Path, tmp_path: Path) -> None:
    child = started(data, "--out", "run", seconds=limit(60))
    start = time.monotonic()
    child.send_signal(signal.SIGINT)
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=limit(30))
    assert child.returncode == 130 and time.monotonic() - start < limit(30)
    assert err == "\nstopped. To resume: faltung train --resume run\n"


@POSIX
def test_a_reader_that_goes_away(data: Path) -> None:
    child = subprocess.Popen(
        command("train", data, "--epochs", "50"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None and child.stderr is not None
    child.stdout.readline()
    child.stdout.close()
    assert child.stderr.read() == ""
    child.stderr.close()
    assert child.wait(limit(60)) == 141


@POSIX
def test_on_a_terminal_a_table_and_a_bar(tmp_path: Path) -> None:
    pyte = pytest.importorskip("pyte")
    pytest.importorskip("rich")
    import fcntl
    import pty
    import termios

    screen = pyte.Screen(80, 40)
    stream = pyte.ByteStream(screen)
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    kept = {k: v for k, v in environment().items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
    child = subprocess.Popen(
        command("train", "digits", "--epochs", "4", "--batch", "32", "--out", "run"),
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
        env={**kept, "TERM": "xterm-256color"},
    )
    os.close(slave)
    bars = set()
    while True:
        if select.select([master], [], [], 60)[0]:
            try:
                stream.feed(os.read(master, 1 << 16))
            except OSError:  # the other end is closed
                break
        lines = [line.rstrip() for line in screen.display if line.strip()]
        assert max(map(len, lines), default=0) <= 80
        bars |= {line for line in lines if "━" in line}
    os.close(master)
    assert child.wait(limit(60)) == 0
    lines = [line.rstrip() for line in screen.display if line.strip()]
    assert lines.pop(0) == "1,797 samples, 1 channel, 8x8, values 0..16 -> /16; 10 classes"
    assert lines[0] == "lenet5 on digits"
    assert lines[1].split()[:3] == ["epoch", "loss", "accuracy"]
    assert [line.split()[0] for line in lines[2:6]] == ["1/4", "2/4", "3/4", "4/4"]
    assert "best" in lines[2] and lines[6].startswith("best weights on 359 held-out samples")
    assert lines[7] == "report: run/report.html" and len(lines) == 8  # the bar has gone
    assert any(re.search(r"loss \d\.\d+ +acc .*left \d:\d\d", bar) for bar in bars)
    assert not screen.cursor.hidden


# Bad input ----------------------------------------------------------------------------------------


def refused(capsys: Captured, *words: object) -> str:
    """What `train` says when it refuses, on one line; nothing is made."""
    capsys.readouterr()
    before = files(Path())
    assert main(["train", *map(str, words)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("faltung train: ")
    assert said.err.count("\n") == 1 and said.err.strip().isprintable()
    assert files(Path()) == before
    return said.err


def files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


X, Y = shapes(12)


@pytest.mark.parametrize(
    ("arrays", "more", "part"),
    [
        ({"y": Y % 2, "classes": ["a", "b", "c"]}, [], "y: no sample of class c"),
        ({"y": Y + 1, "classes": ["a", "b"]}, [], "y[1]=2: must be a label of the 2 classes"),
        ({"x": X * np.nan}, [], "sample 0 contains NaN"),
        ({"x": X + np.inf}, [], "sample 0 contains an infinite value"),
        ({"x": X[:5]}, [], "5 samples have 12 targets"),
        ({"y": np.arange(12)}, [], "class 0 has one sample: a split needs at least two"),
        ({"y": Y * 0.5}, [], "y: 0.5 is a number, not the label of a class"),
        ({"y": Y * np.nan}, ["--loss=mse"], "y: sample 0 contains NaN"),
        ({"y": Y.astype(str)}, ["--loss=mse"], "y: has words; numbers are wanted"),
        ({}, ["--net=lenet"], ""),
        ({}, ["--net=nothing"], "--net=nothing: "),
        ({}, ["--net=tcn"], "must be (C, *space) of rank 1 for tcn"),
        ({}, ["--set=wide=2"], "wide=2: convnet takes width, dropout"),
        ({}, ["--set=width"], "--set=width: must be OPTION=VALUE"),
        ({}, ["--size=8xx8"], "--size=8xx8"),
        ({}, ["--size=9"], "arrays are not resized"),
        ({}, ["--threads=0"], "must be from 1 to"),
        ({}, ["--epochs=0"], "epochs=0: must be at least 1"),
        ({}, ["--lr=nan"], "lr=nan: must be above 0"),
        ({}, ["--nesterov"], "--nesterov: applies to sgd"),
        ({}, ["--held-out=1"], "--held-out=1: must be at least 0 and below 1"),
        ({}, ["--held-out=0", "--patience=3"], "--patience=3: with --held-out 0 there is nothing"),
        ({}, ["--held-out=0", "--metrics=f1,auc"], "--metrics=f1,auc: with --held-out 0 there is"),
        ({}, ["--held-out=0", "--metric=f1"], "--metric=f1: with --held-out 0 there is nothing to"),
        ({}, ["--class-weight=1,2,3"], "must be 2 numbers, one for each class: 0, 1"),
        ({}, ["--class-weight=1;2"], "--class-weight=1;2: must be balanced, a number for"),
        ({}, ["--sampler=weighted"], "--sampler=weighted: must be one of shuffled, balanced"),
        ({}, ["--metric=f2"], "--metric=f2: must be one of loss, accuracy"),
        ({}, ["--metric=mae"], "--metric=mae: does not apply to labels"),
        (
            {},
            ["--freeze=conv9"],
            "--freeze=conv9: no layer with parameters has this name; there are",
        ),
        (
            {},
            ["--net=lenet5", "--freeze=5"],
            "--freeze=5: must be from 1 to 4, one less than the layers",
        ),
        ({}, ["--freeze=*"], "--freeze=*: leaves nothing to train"),
        (
            {"y": 0 * Y},
            [],
            "all 12 labels are of class '0': training needs samples of at least two",
        ),
        ({"y": 0 * Y, "classes": ["cat"]}, [], "all 12 labels are of class 'cat'"),
        ({}, ["--flip", "--kind=series"], "kind"),
        ({}, ["--shift=9"], "shift=9: must be less than the shortest axis, 8"),
        (
            {"x": X[:, :, :1, :1]},
            ["--net=lenet5"],
            "MaxPool 'pool1' needs at least 2x2, got",
        ),
    ],
)
def test_arrays_that_are_wrong(
    arrays: dict[str, Any], more: list[str], part: str, capsys: Captured
) -> None:
    np.savez("bad.npz", **{"x": X, "y": Y, **arrays})
    if not part:  # another name of a network is none of the mistakes
        assert main(["train", "bad.npz", "--epochs=1", *more]) == 0
    else:
        assert part in refused(capsys, "bad.npz", *more, "--out=run")


def test_words_that_make_no_command(data: Path, capsys: Captured) -> None:
    assert "give DATA or --resume RUN" in refused(capsys)
    assert "no such file or folder, nor a name (digits)" in refused(capsys, "nothing")
    for words in (["--no-such-option"], ["--epochs=many"], ["--epochs"]):
        with pytest.raises(SystemExit) as end:
            main(["train", str(data), *words])
        assert end.value.code == 2


def picture(path: Path, size: int = 8, seed: int = 0) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six pictures of each of two classes."""
    for i in range(12):
        picture(tmp_path / f"pictures/{'ab'[i % 2]}/{i}.png", seed=i)
    return tmp_path / "pictures"


def bomb(path: Path) -> None:
    """A PNG of a few bytes that says it has 10^10 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def spoiled(kind: str, folder: Path) -> str:
    """Add a file that cannot be read; what must be said of it."""
    if kind == "cut off":
        data = (folder / "a/0.png").read_bytes()
        (folder / "a/cut.png").write_bytes(data[: len(data) // 2])
        return "a/cut.png"
    (folder / "a/\x1b[2J\nevil.png").write_bytes(b"nothing")
    return "\\x1b[2J\\nevil.png"


@pytest.mark.parametrize("kind", ["cut off", "escapes"])
def test_a_corrupt_picture_is_named_and_skipped(
    kind: str, pictures: Path, capsys: Captured
) -> None:
    part = spoiled(kind, pictures)
    assert main(["train", str(pictures), "--epochs=1", "--out=run"]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].startswith("skipped ") and part in lines[0] and lines[0].isprintable()
    assert lines[1] == "1 skipped"
    assert main(["evaluate", "run", str(pictures)]) == 0
    assert part in capsys.readouterr().out
    refusal = refused(capsys, pictures, "--strict", "--out=other")
    assert part in refusal
    assert main(["evaluate", "run", str(pictures), "--strict"]) == 2


def test_many_corrupt_pictures(pictures: Path, capsys: Captured) -> None:
    for i in range(30):
        (pictures / f"b/bad{i}.png").write_bytes(b"")
    assert main(["train", str(pictures), "--epochs=1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[20:22] == ["... and 10 more", "30 skipped"]


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (lambda folder: bomb(folder / "b/bomb.png"), "b/bomb.png: has over 89,478,485 pixels"),
        (lambda folder: (folder / "c").mkdir(), "c"),
        (lambda folder: picture(folder / "a/large.png", 9), "size"),
        (lambda folder: [path.unlink() for path in (folder / "b").iterdir()], "b"),
        (lambda folder: [path.unlink() for path in folder.glob("*/*.png")], ""),
    ],
    ids=["bomb", "empty class", "other size", "emptied class", "nothing"],
)
def test_folders_that_are_wrong(
    spoil: Callable[[Path], Any], part: str, pictures: Path, capsys: Captured
) -> None:
    spoil(pictures)
    assert part in refused(capsys, pictures, "--out=run")


def test_a_run_is_not_written_over(data: Path, tmp_path: Path, capsys: Captured) -> None:
    assert main(["train", str(data), "--epochs=1", "--out=run"]) == 0
    assert "must not hold a run" in refused(capsys, data, "--out=run")
    Path("file").write_text("mine")
    assert "file" in refused(capsys, data, "--out=file")
    assert "file" in refused(capsys, data, "--out=file/below")


def test_what_is_no_run_is_not_resumed(data: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "empty").mkdir()
    assert "config.toml" in refused(capsys, "--resume", "empty")
    assert "none" in refused(capsys, "--resume", "none")
    assert "data.npz" in refused(capsys, "--resume", data)
    assert main(["train", str(data), "--epochs=1", "--out=run"]) == 0
    config = tmp_path / "run/config.toml"
    config.write_text(config.read_text().replace("format = 2", "format = 7", 1))
    assert "format=7, written by faltung" in refused(capsys, "--resume", "run")


def test_a_loss_that_is_not_finite(data: Path, capsys: Captured) -> None:
    assert main(["train", str(data), "--optimizer=sgd", "--lr=1e30", "--out=run"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "must be finite; try --lr 0.05 instead, or --lr find, --clip 1 or --warmup 0.1" in said


def test_a_bug_shows_itself(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_source, "__defaults__", None)
    from faltung.train import session

    monkeypatch.setattr(session, "opened", lambda about: len(3))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="has no len"):
        main(["train", str(data)])
