"""Measures the peak memory of a problem, inside a worker."""

import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import network_problem
from benchmarks.peers import Unable
from benchmarks.protocol import Message

SMALL = (
    "lenet5 1x8x8 n2 lr0.01"  # makes a library create what it needs once: threads, code generators
)
CALLS = 3


def growth(build: Callable[[Any, str], Any], request: Message, variant: str) -> int:
    """Bytes by which the resident set grows at most while a problem is built and called.

    The arrays of the problem exist before; copies of the weights count. Unable: the system does not
    say.
    """
    if sys.platform != "linux":
        raise Unable("the system does not tell the largest resident set")
    _run(build, network_problem.draw(SMALL, request["direction"]), variant)
    problem = network_problem.draw(request["text"], request["direction"])
    gc.collect()
    with suppress(OSError):  # refused: the peak is not reset, and is at least what we look for
        Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    _run(build, problem, variant)
    return resident("VmHWM") - before


def _run(build: Callable[[Any, str], Any], problem: Any, variant: str) -> None:
    task = build(problem, variant)
    for _ in range(CALLS):
        task.call()


def resident(name: str) -> int:
    """A line of /proc/self/status in bytes: VmRSS is the current size, VmHWM the peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise Unable(f"the system does not tell {name}")
