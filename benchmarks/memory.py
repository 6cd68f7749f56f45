"""Measures the peak memory of a problem, inside a worker."""

import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.peers import Task, Unable


def growth(
    build: Callable[[Any], Task],
    small: Callable[[], Any],
    problem: Callable[[], Any],
    calls: int,
) -> int:
    """Bytes by which the resident set grows at most while a problem is built and called, after a
    small one was.

    The arrays of the problem exist before; copies of the weights count. Unable: the system does not
    say.
    """
    if sys.platform != "linux":
        raise Unable("the system does not tell the largest resident set")
    _run(build, small(), calls)
    drawn = problem()
    gc.collect()
    with suppress(OSError):  # refused: the peak is not reset, and is at least what we look for
        Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    _run(build, drawn, calls)
    return resident("VmHWM") - before


def _run(build: Callable[[Any], Task], problem: Any, calls: int) -> None:
    task = build(problem)
    for _ in range(calls):
        task.call()


def resident(name: str) -> int:
    """A line of /proc/self/status in bytes: VmRSS is the current size, VmHWM the peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise Unable(f"the system does not tell {name}")
