"""Which errors are mistakes, in one line, and which are bugs, and show themselves."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from faltung.cli.errors import MISTAKES, refuse, told
from faltung.cli.line import line
from faltung.formats.extras import missing
from faltung.geometry.check import whole
from faltung.train.settings import Settings


def raised(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def mistakes() -> list[Callable[[], object]]:
    return [
        lambda: whole("n", "x", 0),
        lambda: Settings(lr=-1),
        lambda: open("/no/such/file"),
        lambda: np.empty(1 << 50, np.uint8),
        lambda: Settings(augment=3),  # type: ignore[arg-type]
    ]


def bugs() -> list[Callable[[], object]]:
    return [
        lambda: whole("n", 1, "x"),  # type: ignore[arg-type]  # '<' in our source
        lambda: whole("n"),  # type: ignore[call-arg]
        lambda: 1 // 0,
        lambda: int("x"),
        lambda: np.ones(3) + np.ones(4),
        lambda: {}["x"],
        lambda: missing("x", "y").nothing,  # type: ignore[attr-defined]
        lambda: __import__("no_such_module"),
    ]


@pytest.mark.parametrize("function", mistakes())
def test_mistakes(function: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> None:
    error = raised(function)
    assert isinstance(error, MISTAKES)
    assert refuse("train", error) == 2
    said = capsys.readouterr().err
    assert said.startswith("faltung train: ") and said.count("\n") == 1


@pytest.mark.parametrize("function", bugs())
def test_bugs(function: Callable[[], object]) -> None:
    assert not isinstance(raised(function), MISTAKES)


def test_nothing_is_hidden_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FALTUNG_TRACEBACK", "1")
    error = raised(lambda: Settings(lr=-1))
    with pytest.raises(ValueError, match="lr=-1"):
        refuse("train", error)


def test_a_reader_that_has_gone_is_no_mistake() -> None:
    with pytest.raises(BrokenPipeError):
        refuse("train", raised(lambda: (_ for _ in ()).throw(BrokenPipeError())))


def test_a_line_obeys_nobody() -> None:
    assert line("a\n  b\x1b[2J\u202e c") == "a b\\x1b[2J\\u202e c"
    assert line(MemoryError()) == "MemoryError"
    assert line(ValueError("x=1: must be 2")) == "x=1: must be 2"


def test_it_costs_no_numpy() -> None:
    code = "import sys, faltung.cli.errors; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_an_error_of_the_system_without_a_file() -> None:
    """As when the disk is full that standard output goes to."""
    assert told(OSError(28, "No space left on device")) == "no space left on device"
    assert told(OSError("ours")) == "ours"
