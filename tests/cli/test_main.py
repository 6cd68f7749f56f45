"""The command table, help, exit statuses, and readers that go away."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from limits import limit

import faltung
from faltung.cli.main import COMMANDS, main

SOURCE = Path(faltung.__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE)}


def run(*words: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """A fresh interpreter: `python -m faltung words`, or `python -c code`."""
    start = ["-c", code] if code else ["-m", "faltung", *words]
    return subprocess.run(
        [sys.executable, *start], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0
    assert all(name in shown and summary in shown for name, summary in COMMANDS.items())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert end.value.code == 0
    assert COMMANDS[command][1:] in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80


def test_without_a_command_help_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "COMMAND" in capsys.readouterr().out


def test_unknown_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["expalin"])
    assert end.value.code == 2
    assert "expalin" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"faltung {faltung.__version__}\n"


def test_help_loads_neither_numpy_nor_llvmlite() -> None:
    code = (
        "import sys\nfrom faltung.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('numpy', 'llvmlite', 'ctypes') if m in sys.modules])"
    )
    assert run(code=code).stdout.splitlines()[-1] == "[]"


WARNS = """
import warnings
from faltung.cli import doctor
def warn(_arguments):
    warnings.warn("64 threads\\n on 2 cores\\x1b[31m", RuntimeWarning)
    return 0
doctor.run = warn
from faltung.cli.main import main
main(["doctor"])
"""


def test_a_warning_is_one_line() -> None:
    """Without the place in the source, and printable."""
    done = subprocess.run(
        [sys.executable, "-c", WARNS, "doctor"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "faltung: warning: 64 threads on 2 cores\\x1b[31m\n"


def test_help_is_immediate() -> None:
    """0.2 s with the interpreter's own start on a quiet computer; here with room for a busy one."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        assert run("--help").returncode == 0
        times.append(time.perf_counter() - start)
    assert min(times) < limit(0.5)


def test_a_reader_that_goes_away_gets_no_traceback() -> None:
    command = [sys.executable, "-m", "faltung", "explain", "c64>64 56x56 k3 p1", "--asm"]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_terminal_without_unicode() -> None:
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "faltung", "explain", "c3>64 224x224 k7 s2 p3"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
