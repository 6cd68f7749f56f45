"""Times whole ``faltung`` commands, as a user runs them."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.costs import CACHE
from benchmarks.limits import DIGITS, INCEPTION
from benchmarks.processes import ROOT, affinity, cores
from benchmarks.results import Session

COMMANDS = {DIGITS: 2, INCEPTION: 1}  # how often: the first run is cold, the second warm
LIMIT_SECONDS = 180.0  # for one command
ACCURACY = re.compile(r"accuracy ([0-9.]+)%")


def measure(threads: int, report: Callable[[Session], None]) -> list[Session]:
    """Run all commands, each in an empty folder: with no kernels on disk, then with them."""
    found = []
    for command, times in COMMANDS.items():
        with TemporaryDirectory(prefix="faltung-bench-") as folder:
            found.append(_session(command, times, Path(folder), threads))
        report(found[-1])
    return found


def _session(command: str, times: int, folder: Path, threads: int) -> Session:
    seconds: list[float | None] = []
    said, reason = "", ""
    try:
        for _ in range(times):
            taken, said = _run(command, folder, threads)
            seconds.append(taken)
    except subprocess.TimeoutExpired:
        reason = f"no end within {LIMIT_SECONDS:.0f} s"
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
    cold, warm = (*seconds, None, None)[:2]
    match = ACCURACY.findall(said)
    return Session(command, cold, warm, float(match[-1]) / 100 if match else None, reason)


def _run(command: str, folder: Path, threads: int) -> tuple[float, str]:
    """The seconds that a command took, and its output. ValueError: it failed."""
    words = [sys.executable, "-m", *command.split()]
    environment = dict(os.environ)
    environment |= {CACHE: str(folder / "kernels"), "FALTUNG_NUM_THREADS": str(threads)}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT / "src"), environment.get("PYTHONPATH", "")]
    )
    began = time.monotonic()
    with affinity(cores()[:threads]):
        done = subprocess.run(
            words,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
        )
    seconds = time.monotonic() - began
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise ValueError(f"ended with code {done.returncode}: {last}")
    return seconds, done.stdout
