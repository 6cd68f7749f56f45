"""`faltung predict --watch`: files as they arrive, whole; a table that grows; Ctrl-C."""

import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from limits import limit
from PIL import Image
from runs import EAGER, command, environment

from faltung import Model
from faltung.cli import watching
from faltung.cli.answering import Later
from faltung.cli.appending import Growing
from faltung.cli.given import Given, given
from faltung.cli.main import main
from faltung.cli.watching import Watched
from faltung.geometry.errors import FaltungError
from faltung.train.opened import open_model

Trained = Callable[[str], tuple[Path, str]]
QUICK = (
    EAGER + "from faltung.cli import watching as w\nw.POLL_SECONDS, w.SETTLED_SECONDS = 0.05, 0.4"
)


def picture(path: Path, shade: int = 0) -> bytes:
    Image.fromarray(np.full((8, 8), shade, np.uint8)).save(path)
    return path.read_bytes()


def until(condition: Callable[[], bool], seconds: float = 30) -> bool:
    end = time.monotonic() + limit(seconds)
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_in_a_terminal(tmp_path: Path, trained: Trained) -> None:
    """A file in two halves is answered once, when it is whole; Ctrl-C ends with one line."""
    import fcntl
    import pty
    import termios

    run, _ = trained("digits")
    data = picture(tmp_path / "x.png")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    picture(inbox / "first.png", 9)
    master, slave = pty.openpty()
    child = subprocess.Popen(
        command("predict", run, "--watch", inbox, "--sort", tmp_path / "sorted", code=QUICK),
        env=environment(TERM="xterm"),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    os.set_blocking(master, False)
    said = b""

    def sees(text: bytes) -> bool:
        nonlocal said
        with suppress(OSError):
            said += os.read(master, 1 << 16)
        return text in said

    try:
        assert until(lambda: sees(b"first.png")), said
        with (inbox / "second.png").open("wb", buffering=0) as file:
            file.write(data[: len(data) // 2])
            time.sleep(0.8)  # longer than the time in which a file settles
            sees(b"")
            assert b"second.png" not in said, said
            file.write(data[len(data) // 2 :])
        assert until(lambda: sees(b"second.png")), said
        time.sleep(0.3)
        os.write(master, b"\x03")  # Ctrl-C, as a terminal has it
        assert until(lambda: sees(b"stopped watching; 2 samples answered")), said
        assert child.wait(limit(30)) == 130
    finally:
        child.kill()
        os.close(master)
    assert said.count(b"second.png") == 1 and b"Traceback" not in said
    assert len(list((tmp_path / "sorted").rglob("*.png"))) == 2


class Clock:
    """A folder that is looked through at times of its own."""

    def __init__(self, folder: Path, done: set[str] | None = None) -> None:
        self.watched = Watched(str(folder), partial(given), done or ())
        self.read = self.watched.patient(lambda file: Path(file.path).read_text().index("!"))

    def at(self, seconds: float) -> list[str]:
        return [file.under or "" for file in self.watched.ready(seconds)]

    def reads(self, folder: Path, name: str) -> int:
        return self.read(Given(str(folder / name), name))


def test_what_has_settled(tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    (tmp_path / "a").write_text("x!")
    (tmp_path / "b.part").write_text("x!")
    (tmp_path / ".c").write_text("x!")
    (tmp_path / "empty").touch()
    assert clock.at(0) == [] and clock.at(0.9) == []
    assert clock.at(1.1) == ["a"]
    assert clock.reads(tmp_path, "a") == 1 and clock.at(9) == []
    (tmp_path / "a").write_text("other!")  # answered again when it has changed
    (tmp_path / "empty").write_text("now!")
    assert clock.at(9.5) == [] and clock.at(10.6) == ["a", "empty"]
    (tmp_path / "a").unlink()
    assert clock.at(12) == ["empty"]


def test_what_cannot_be_read_yet(tmp_path: Path) -> None:
    clock = Clock(tmp_path)

    def read(file: Given) -> str:
        text = Path(file.path).read_text()
        if "!" not in text:
            raise FaltungError("half")
        return text

    clock.read = clock.watched.patient(read)  # type: ignore[assignment]
    (tmp_path / "a").write_text("x")
    assert clock.at(0) == [] and clock.at(2) == ["a"]
    with pytest.raises(Later):
        clock.reads(tmp_path, "a")
    assert clock.at(3) == []  # as it was
    (tmp_path / "a").write_text("xy")
    assert clock.at(4) == [] and clock.at(6) == ["a"]
    with pytest.raises(Later):
        clock.reads(tmp_path, "a")
    assert clock.at(10) == [] and clock.at(15) == ["a"]
    with pytest.raises(FaltungError, match="half"):
        clock.reads(tmp_path, "a")
    assert clock.at(60) == []  # reported once
    (tmp_path / "a").write_text("whole!")
    assert clock.at(61) == [] and clock.at(63) == ["a"]
    assert clock.reads(tmp_path, "a") == "whole!"


def test_a_table_that_grows(tmp_path: Path, trained: Trained) -> None:
    run, _ = trained("digits")
    model = open_model(run)
    path = tmp_path / "out.csv"
    outputs = model.outputs(np.zeros((2, 1, 8, 8), np.float32))
    first = Growing(str(path), model)
    first.write(["a", "=b"], outputs)
    with pytest.raises(BlockingIOError, match=r"out.csv: another process appends to it"):
        Growing(str(path), model)
    first.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b"c,3,0.1,0.")  # the writer was killed
    second = Growing(str(path), model)
    assert second.done == {"a", "'=b"} and path.read_bytes() == whole
    second.write(["d"], outputs[:1])
    second.close()
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == ["file", "a", "'=b", "d"] and len(set(map(len, rows))) == 1
    for other in (b"file,class\n", b"something", b"\xff\xfe\n"):
        path.write_bytes(other)
        with pytest.raises(ValueError, match="is no table of this network"):
            Growing(str(path), model)
        assert path.read_bytes() == other


def test_again_with_a_table(
    tmp_path: Path,
    trained: Trained,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is in the table is not answered again; the table is no sample, though it lies there."""
    run, _ = trained("digits")
    for i in range(3):
        picture(tmp_path / f"{i}.png", i)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name in ("POLL_SECONDS", "SETTLED_SECONDS", "PATIENCE_SECONDS"):
        monkeypatch.setattr(watching, name, 0.0)
    words = ["predict", str(run), f"--watch={tmp_path}", f"--csv={tmp_path / 'out.csv'}"]
    calls = 0

    def sleep(seconds: float) -> None:
        nonlocal calls
        calls += 1
        if calls % 2 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    capsys.readouterr()
    assert main(words) == 130
    err = capsys.readouterr().err
    assert "stopped watching; 3 samples answered" in err and err.count("broken.png") == 1
    before = (tmp_path / "out.csv").read_bytes()
    picture(tmp_path / "3.png", 3)
    assert main(words) == 130 and "; 1 samples answered" in capsys.readouterr().err
    assert (tmp_path / "out.csv").read_bytes().startswith(before)
    assert main(["predict", str(run), "--watch=nowhere"]) == 2
    assert "--watch=nowhere: must be a folder" in capsys.readouterr().err
    assert isinstance(open_model(run), Model)
