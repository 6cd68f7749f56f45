"""Completion: scripts that shells take, tried in a real bash in a pseudo-terminal."""

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from limits import limit

from faltung.cli.main import COMMANDS, main


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS) and "epochs" in text
    if program := shutil.which(shell):
        (tmp_path / "script").write_text(text)
        subprocess.run([program, "-n", str(tmp_path / "script")], check=True)


def _read(terminal: int, enough: Callable[[bytes], bool]) -> bytes:
    """What a terminal says until that is enough, or time is over."""
    said, end = b"", time.monotonic() + limit(20)
    while not enough(said) and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            said += os.read(terminal, 1 << 16)
    return said


@pytest.mark.skipif(sys.platform == "win32" or not shutil.which("bash"), reason="needs bash")
def test_in_bash(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import pty

    assert main(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    (tmp_path / "pictures-of-mine").mkdir()
    master, slave = pty.openpty()
    child = subprocess.Popen(
        ["bash", "--noprofile", "--norc", "-i"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "TERM": "dumb", "PS1": "$ "},
        start_new_session=True,
    )
    os.close(slave)
    try:
        os.write(master, b"source ./script\n")
        _read(master, lambda said: said.count(b"$ ") > 1)  # before it the line is not bash's yet
        os.write(master, b"faltung eval\t\x15faltung train pic\t--patie\t 3\x15")
        os.write(master, b"echo en''d\n")
        said = _read(master, lambda said: b"\nend" in said.replace(b"\r", b""))
    finally:
        child.kill()
        child.wait()
        os.close(master)
    assert b"faltung evaluate " in said and b"train pictures-of-mine/" in said
