"""Ctrl-C, once and more often, at any moment of a command: status 130, one line, no traceback."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from limits import limit
from runs import EAGER, command, environment, shapes

from faltung.cli import ending
from faltung.cli.main import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

# Says where it is, and waits there; the place is a function that the command calls.
PAUSE = (
    f"SECONDS = {limit(20)}"
    + """
import time, importlib
def pause(module, name):
    module = importlib.import_module(module)
    holder, _, last = name.rpartition(".")
    home = getattr(module, holder) if holder else module
    plain = getattr(home, last)
    def waiting(*words, **more):
        setattr(home, last, plain)
        print("here", flush=True)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(0.001)
        return plain(*words, **more)
    setattr(home, last, waiting)
pause(*sys.argv.pop().split(":"))
"""
)


def interrupted(words: list[object], place: str, times: int, gap: float) -> tuple[int, str]:
    """The status, and what is on standard error, after Ctrl-C at that place."""
    child = subprocess.Popen(
        command(*words, place, code=EAGER + PAUSE),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    while (line := child.stdout.readline()) != "here\n":
        assert line or child.poll() is None, child.communicate()[1]
    for _ in range(times):
        child.send_signal(signal.SIGINT)
        time.sleep(gap)
    _, err = child.communicate(timeout=limit(60))
    return child.returncode, err


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    x, y = shapes(40)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    return tmp_path / "data.npz"


# While: reading, validating, writing the report, and the thread team stops.
PLACES = {
    "faltung.train.session:opened": "stopped",
    "faltung.train.loop:Loop._batch": "stopped before the first checkpoint",
    "faltung.train.loop:evaluate": "stopped. To resume: faltung train --resume run",
    "faltung.train.session:write_report": "stopped. To resume: faltung train --resume run",
    "faltung.runtime.team:_Team.stop": "stopped. To resume: faltung train --resume run",
}


@pytest.mark.parametrize("place", PLACES)
def test_anywhere_in_training(place: str, data: Path) -> None:
    words = ["train", data, "--epochs=1", "--batch=8", "--out=run"]
    status, err = interrupted(words, place, 5, 0.02)
    assert (status, err) == (130, f"\n{PLACES[place]}\n")
    if "--resume" in err:
        assert (data.parent / "run/last.safetensors").exists()


@pytest.mark.parametrize("times", [1, 2])
def test_in_other_commands(times: int) -> None:
    place = "faltung.nets:graph"
    assert interrupted(["summary", "lenet5"], place, times, 0.005) == (130, "\nstopped\n")


def test_within_text_that_is_executed() -> None:
    """Python ends by the signal after a Ctrl-C within ``exec("...")``, caught or not."""
    code = (
        EAGER + "import faltung.nets\n"
        "def graph(*_, **__): exec('raise KeyboardInterrupt')\n"
        "faltung.nets.graph = graph\n"
    )
    done = subprocess.run(
        command("summary", "lenet5", code=code), env=environment(), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, b"\nstopped\n")


def test_where_nothing_can_be_raised() -> None:
    """A Ctrl-C in ``__del__`` comes again after it, and ends what the main thread waits for."""
    code = EAGER + (
        "import faltung.nets, signal, time\n"
        "class Thing:\n"
        "    def __del__(self): signal.raise_signal(signal.SIGINT); time.sleep(0)\n"
        "def graph(*_, **__):\n"
        "    Thing()\n"
        "    time.sleep(100)\n"
        "faltung.nets.graph = graph\n"
    )
    done = subprocess.run(
        command("summary", "lenet5", code=code), env=environment(), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, b"\nstopped\n")


def test_the_signals_of_a_host_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another program that calls ``main`` is not ended by its second Ctrl-C."""
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook

    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    from faltung import nets

    monkeypatch.setattr(nets, "graph", pressed)
    assert main(["summary", "lenet5"]) == ending.INTERRUPTED == 130
    assert capsys.readouterr().err == "\nstopped\n"
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == before


def test_it_is_loaded_before_anything_else() -> None:
    """From the first line of ``main`` on a Ctrl-C is understood; that takes no other module."""
    code = (
        "import sys; before = set(sys.modules)\nimport faltung.cli.main\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    loaded = ["atexit", "faltung", "faltung.cli", "faltung.cli.ending", "faltung.cli.main"]
    assert set(eval(done.stdout)) <= set(loaded)
