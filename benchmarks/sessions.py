"""Whole commands of faltung, from start to end, as a user runs them."""

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

COMMANDS = (DIGITS, INCEPTION)
LIMIT = 240.0  # seconds for a command
ACCURACY = re.compile(r"accuracy ([0-9.]+)%")


def measure(threads: int, report: Callable[[Session], None]) -> list[Session]:
    """All commands, each in an empty folder: with no kernels on disk, and once more with those that
    the first time left."""
    found = []
    for command in COMMANDS:
        with TemporaryDirectory(prefix="faltung-bench-") as folder:
            found.append(_session(command, Path(folder), threads))
        report(found[-1])
    return found


def _session(command: str, folder: Path, threads: int) -> Session:
    try:
        cold, said = _run(command, folder, threads)
        warm, _ = _run(command, folder, threads)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Session(command, reason=" ".join(str(error).split())[:200])
    match = ACCURACY.findall(said)
    return Session(command, cold, warm, float(match[-1]) / 100 if match else None)


def _run(command: str, folder: Path, threads: int) -> tuple[float, str]:
    """Seconds of a command, and what it said. ValueError: it failed."""
    words = [sys.executable, "-m", *command.split()]
    environment = dict(os.environ)
    environment |= {CACHE: str(folder / "kernels"), "FALTUNG_NUM_THREADS": str(threads)}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT / "src"), environment.get("PYTHONPATH", "")]
    )
    began = time.monotonic()
    with affinity(cores()[:threads]):
        done = subprocess.run(
            words, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT
        )
    seconds = time.monotonic() - began
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise ValueError(f"ended with code {done.returncode}: {last}")
    return seconds, done.stdout
