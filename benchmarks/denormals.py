"""``python -m benchmarks denormals``: how much denormal numbers slow down every method.

Denormals are below 1.2e-38 in float32. Three calls alternate, and the least time of each counts:
ordinary numbers; an input (for gradients, an output gradient) of denormals; ordinary numbers with
denormal products. Processors that handle denormals in microcode take hundreds of cycles for each;
the goal is at most twice the time.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

import numpy as np

import faltung
from benchmarks.accuracy import Array, drawn, head, line
from faltung.geometry.text import parse
from faltung.plan.choose import FORWARD, WEIGHT_GRAD

MAX_SLOWDOWN = 2.0
# A problem of about half a millisecond for each method, and whether channels are last.
ROWS = {
    "direct": ("c64>64 28x28 k3 p1", True),
    "spatial": ("c16>2 96x96 k3 p1", False),
    "signal": ("c1>1 100000 k101 p50", False),
    "depthwise": ("c96>96 56x56 k3 p1 g96", True),
    "grouped": ("c128>128 28x28 k3 p1 g32", True),
    "winograd": ("c64>64 56x56 k3 p1", True),
    "strassen": ("c512>512 14x14 k1", True),
    "fft": ("c1>1 200000 k1001 p500", False),
}
DIRECTIONS = {"forward": FORWARD, "input_grad": FORWARD, "weight_grad": WEIGHT_GRAD}
# Scales of the two operands; the first is the output gradient where there is one.
KINDS = {"ordinary": (1.0, 1.0), "input": (1e-40, 1.0), "products": (1e-20, 1e-20)}


def call_of(direction: str, method: str, scales: tuple[float, float]) -> Callable[[], object]:
    """A call of the problem of a method. ValueError: the method does not apply."""
    text, last = ROWS[method]
    spec = parse(text)
    given = {"padding": spec.padding, "groups": spec.groups, "channels_last": last}

    def made(array: Array, scale: float, turn: bool) -> Array:
        scaled = (array * np.float64(scale)).astype(np.float32)
        return np.ascontiguousarray(np.moveaxis(scaled, 1, -1)) if turn and last else scaled

    x, w, g = drawn(spec, "float32")
    first, second = scales
    if direction == "forward":
        x, layer = (
            made(x, first, True),
            faltung.Conv(made(w, second, False), method=method, **given),
        )
        layer(x)
        return lambda: layer(x)
    if direction == "input_grad":
        g, w, shape = made(g, first, True), made(w, second, False), made(x, 1.0, True).shape
        faltung.conv_input_grad(g, w, shape, method=method, **given)
        return lambda: faltung.conv_input_grad(g, w, shape, method=method, **given)
    x, g = made(x, second, True), made(g, first, True)
    faltung.conv_weight_grad(x, g, w.shape, method=method, **given)
    return lambda: faltung.conv_weight_grad(x, g, w.shape, method=method, **given)


def least(calls: Sequence[Callable[[], object]], rounds: int, seconds: float) -> list[float]:
    """Seconds of each call: the least of several, in alternation."""
    found = [float("inf")] * len(calls)
    for _ in range(rounds):
        for i, call in enumerate(calls):
            end = perf_counter() + seconds
            while (start := perf_counter()) < end:
                call()
                found[i] = min(found[i], perf_counter() - start)
    return found


def rows(rounds: int, seconds: float, only: str | None = None) -> Iterator[tuple[str, list[float]]]:
    """The times of all kinds of numbers, for each method and direction."""
    for direction, table in DIRECTIONS.items():
        for method in table:
            if only not in (None, method):
                continue
            calls = [call_of(direction, method, scales) for scales in KINDS.values()]
            yield f"{method}, {direction.replace('_', ' ')}", least(calls, rounds, seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks denormals", description=__doc__)
    add = parser.add_argument
    add("--only", metavar="METHOD", choices=(*ROWS,), help="(all)")
    add("--threads", type=int, default=1, help="(%(default)s)")
    add("--rounds", type=int, default=5, help="(%(default)s)")
    add("--seconds", type=float, default=0.03, help="of each call in a round (%(default)s)")
    options = parser.parse_args(arguments)
    before, late = faltung.get_threads(), 0
    faltung.set_threads(options.threads)
    try:
        lines = head("method", "ordinary, us", "denormal input", "denormal products")
        print(*lines, sep="\n")
        for name, (plain, *others) in rows(options.rounds, options.seconds, options.only):
            late += max(others) > MAX_SLOWDOWN * plain
            times = (f"{other / plain:.2f}" for other in others)
            print(line(name, f"{1e6 * plain:,.0f}", *times), flush=True)
    finally:
        faltung.set_threads(before)
    print(f"\n{late} more than {MAX_SLOWDOWN:.0f} times as long")
    return 0
