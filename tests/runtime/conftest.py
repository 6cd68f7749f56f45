"""What the tests of the runtime share: a guard against hanging, and processes of their own."""

import faulthandler
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from limits import limit

from faltung.runtime import team, threads

TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def no_hanging() -> Iterator[None]:
    """A lost wake-up would wait for ever: end the process, with the tracebacks, instead."""
    faulthandler.dump_traceback_later(limit(120), exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def own_team(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever imports ``faltung.torch`` in this process joins PyTorch's threads."""
    before = team.joined()
    monkeypatch.setattr(threads, "_limit", None)
    team.join(None)
    yield
    team.join(before)


@pytest.fixture
def script():
    """Run a Python script, after a preamble, in a process of its own; its output."""

    def run(text: str, seconds: float = 60, **environ: str) -> str:
        paths = [str(TESTS), *(p for p in sys.path if p)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environ}
        done = subprocess.run(
            [sys.executable, "-c", "from runtime.work import *\n" + text],
            capture_output=True,
            text=True,
            timeout=limit(seconds),
            env=env,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        return done.stdout

    return run
