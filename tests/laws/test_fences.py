"""No kernel touches a byte outside its arrays, and none reads scratch that nobody has written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no mprotect on this system")


def script(*arguments: str) -> "subprocess.CompletedProcess[str]":
    paths = [str(HERE.parent), *(path for path in sys.path if path)]
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


@pytest.mark.parametrize("side", ["after", "before"])
def test_the_table_between_fences(side: str, machine: object) -> None:
    done = script(str(HERE / "fences.py"), side, machine.name)  # type: ignore[attr-defined]
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.mark.parametrize(("side", "index"), [("after", 20), ("before", -1)])
def test_the_fence_holds(side: str, index: int) -> None:
    done = script(
        "-c",
        "import ctypes; from laws.fences import fenced\n"
        f"a = fenced(20, {side == 'after'})\n"
        "a[0], a[19] = 1, 1\n"
        f"(ctypes.c_ubyte * 1).from_address(a.ctypes.data + {index})[0]",
    )
    assert done.returncode < 0, "a read outside went unnoticed"
