"""``python -m benchmarks integer``: layers in 8 bits beside our own float32, layer by layer.

    python -m benchmarks integer                      # all rows, about half a minute
    python -m benchmarks integer --threads 1 --only 1x1
    python -m benchmarks integer --page benchmarks/results/integer-1-threads.json

Both are plans of the engine over the same arrays, run by turns in one process, as programs run
them: channels last, weights packed. In 8 bits the sum is scaled for each channel and stored as
levels from 0 to 255; in float32 it has its bias, and is not below zero. Weights are random.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import Others, describe
from benchmarks.processes import affinity, cores
from benchmarks.stats import geometric_mean

FOLDER = Path(__file__).parent / "results"
SECONDS, LEAST = 0.3, 7
LAYERS = """
ResNet-50 7x7 3>64 @224, stride 2       | n1 c3>64 224x224 k7 s2 p3
ResNet-50 1x1 64>64 @56                 | n1 c64>64 56x56 k1
ResNet-50 3x3 64>64 @56                 | n1 c64>64 56x56 k3 p1
ResNet-50 1x1 64>256 @56                | n1 c64>256 56x56 k1
ResNet-50 1x1 256>64 @56                | n1 c256>64 56x56 k1
ResNet-50 3x3 128>128 @56, stride 2     | n1 c128>128 56x56 k3 s2 p1
ResNet-50 1x1 256>512 @56, stride 2     | n1 c256>512 56x56 k1 s2
ResNet-50 3x3 128>128 @28               | n1 c128>128 28x28 k3 p1
ResNet-50 1x1 512>128 @28               | n1 c512>128 28x28 k1
ResNet-50 1x1 128>512 @28               | n1 c128>512 28x28 k1
ResNet-50 3x3 256>256 @14               | n1 c256>256 14x14 k3 p1
ResNet-50 1x1 1024>256 @14              | n1 c1024>256 14x14 k1
ResNet-50 1x1 256>1024 @14              | n1 c256>1024 14x14 k1
ResNet-50 3x3 512>512 @7                | n1 c512>512 7x7 k3 p1
ResNet-50 1x1 2048>512 @7               | n1 c2048>512 7x7 k1
ResNet-50 1x1 512>2048 @7               | n1 c512>2048 7x7 k1
ResNet-50 linear 2048>1000              | n1 c2048>1000 1x1 k1
VGG-16 linear 25088>4096                | n1 c25088>4096 1x1 k1
MobileNetV2 3x3 3>32 @224, stride 2     | n1 c3>32 224x224 k3 s2 p1
MobileNetV2 1x1 32>16 @112              | n1 c32>16 112x112 k1
MobileNetV2 1x1 16>96 @112              | n1 c16>96 112x112 k1
MobileNetV2 1x1 96>24 @56               | n1 c96>24 56x56 k1
MobileNetV2 1x1 24>144 @56              | n1 c24>144 56x56 k1
MobileNetV2 1x1 144>32 @28              | n1 c144>32 28x28 k1
MobileNetV2 1x1 64>384 @14              | n1 c64>384 14x14 k1
MobileNetV2 1x1 384>96 @14              | n1 c384>96 14x14 k1
MobileNetV2 1x1 160>960 @7              | n1 c160>960 7x7 k1
MobileNetV2 1x1 320>1280 @7             | n1 c320>1280 7x7 k1
MobileNetV2 depthwise 3x3 32 @112       | n1 c32>32 112x112 k3 p1 g32
MobileNetV2 depthwise 3x3 96 @112, s 2  | n1 c96>96 112x112 k3 s2 p1 g96
MobileNetV2 depthwise 3x3 144 @56       | n1 c144>144 56x56 k3 p1 g144
MobileNetV2 depthwise 3x3 192 @28       | n1 c192>192 28x28 k3 p1 g192
MobileNetV2 depthwise 3x3 384 @14       | n1 c384>384 14x14 k3 p1 g384
MobileNetV2 depthwise 3x3 960 @7        | n1 c960>960 7x7 k3 p1 g960
GoogLeNet 3x3 64>192 @56                | n1 c64>192 56x56 k3 p1
GoogLeNet 1x1 192>64 @28                | n1 c192>64 28x28 k1
GoogLeNet 3x3 96>128 @28                | n1 c96>128 28x28 k3 p1
GoogLeNet 5x5 16>32 @28                 | n1 c16>32 28x28 k5 p2
GoogLeNet 1x1 480>192 @14               | n1 c480>192 14x14 k1
GoogLeNet 3x3 160>320 @14               | n1 c160>320 14x14 k3 p1
GoogLeNet 1x1 832>384 @7                | n1 c832>384 7x7 k1
""".strip()


@dataclass(frozen=True, slots=True)
class Row:
    """One layer: seconds of either, the least and the median, and how each proceeded."""

    name: str
    text: str
    macs: int
    integer: tuple[float, float]
    single: tuple[float, float]
    how: tuple[str, str]

    @property
    def ratio(self) -> float:
        """How many times faster 8 bits are."""
        return self.single[0] / self.integer[0]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks integer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--threads", type=int, default=len(cores()))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of a row (%(default)s)")
    parser.add_argument("--only", default="", help="rows whose name has this")
    parser.add_argument("--out", type=Path, help="JSON (results/integer-N-threads.json)")
    parser.add_argument("--page", type=Path, help="measure nothing: write the page of this file")
    given = parser.parse_args(arguments)
    out = given.page or given.out or FOLDER / f"integer-{given.threads}-threads.json"
    if given.page is None:
        found = run(given.threads, given.seconds, given.only)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    text = page(json.loads(out.read_text("utf-8")))
    out.with_suffix(".md").write_text(text, "utf-8")
    print(f"wrote {out.with_suffix('.md')}")
    return 0


def run(threads: int, seconds: float, only: str = "") -> dict[str, Any]:
    """Measure all rows whose name has ``only``."""
    machine, others, rows = describe(), Others(), []
    with affinity(cores()[:threads]):
        for line in LAYERS.splitlines():
            name, text = (part.strip() for part in line.split("|"))
            if only in name:
                rows.append(measured(name, text, threads, seconds))
                print(f"{name}: {rows[-1].ratio:.2f} times", flush=True)
    share = others.share()
    machine["taken by other programs"] = "unknown" if share is None else f"{100 * share:.1f}%"
    return {
        "date": date.today().isoformat(),
        "machine": machine,
        "threads": threads,
        "rows": [asdict(row) for row in rows],
    }


def measured(name: str, text: str, threads: int, seconds: float) -> Row:
    """Both plans of a layer, by turns."""
    from faltung import set_threads
    from faltung.geometry import parse

    set_threads(threads)
    spec = parse(text)
    calls = *_integer(spec), *_single(spec)
    times: tuple[list[float], list[float]] = ([], [])
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(times[0]) < LEAST:
        for call, found in zip(calls[::2], times, strict=True):
            start = time.perf_counter()
            call(threads)
            found.append(time.perf_counter() - start)
    integer, single = ((min(found), statistics.median(found)) for found in times)
    return Row(name, text, spec.macs, integer, single, (calls[1], calls[3]))


Call = tuple[Callable[[int], int], str]


def _integer(spec: Any) -> Call:
    """The layer in 8 bits: random levels, weights and scales."""
    from faltung.plan.build_integer import plan_integers

    rng, plan = np.random.default_rng(0), plan_integers(spec)
    arrays = {
        "x": rng.integers(0, 255, np.prod(spec.input_shape), np.uint8, endpoint=True),
        "w": np.rint(np.clip(rng.normal(0, 40, np.prod(spec.weight_shape)), -127, 127)),
        "out": np.empty(np.prod(spec.output_shape), np.uint8),
        "bias": rng.integers(-9999, 9999, spec.channels_out),
        "aux0": rng.uniform(0.5, 1.0, spec.channels_out) * 2.0**-12,
    }
    for name in ("w", "bias", "aux0"):
        arrays[name] = arrays[name].astype(np.float32)
    return _bound(plan, arrays), plan.work.steps[0].title.split(", then")[0]


def _single(spec: Any) -> Call:
    """The layer in float32."""
    from faltung.geometry.expr import maximum, operand
    from faltung.jit.target import current
    from faltung.methods.base.epilogue import Epilogue
    from faltung.plan.build import build_forward

    rng, (x, w, out) = np.random.default_rng(0), _strides(spec)
    formula = Epilogue(maximum(operand(0), 0.0))
    plan = build_forward(spec, x, w, out, bias=True, epilogue=formula, machine=current())
    shapes = {"x": spec.input_shape, "w": spec.weight_shape, "bias": (spec.channels_out,)}
    arrays = {n: rng.normal(0, 1, np.prod(s)).astype(np.float32) for n, s in shapes.items()}
    arrays["out"] = np.empty(np.prod(spec.output_shape), np.float32)
    return _bound(plan, arrays), plan.reasons[0][1][0].name


def _strides(spec: Any) -> tuple[Any, Any, Any]:
    from faltung.methods.base.correlation import contiguous

    x, out = (contiguous(shape, True) for shape in (spec.input_shape, spec.output_shape))
    return x, contiguous(spec.weight_shape, False), out


def _bound(plan: Any, arrays: dict[str, Any]) -> Callable[[int], int]:
    """The steps of a plan over these arrays; its weights are packed."""
    from faltung.plan.binding import Region
    from faltung.runtime.buffers import aligned

    memories = arrays | {n: aligned(s) for n, s in (plan.work.kept | plan.work.scratch).items()}
    places = {name: (slot, 0) for slot, name in enumerate(memories)}
    addresses = [int(memory.ctypes.data) for memory in memories.values()]
    Region(plan.work.prepare, places, plan.machine, len(memories)).run(addresses, 1)
    bound = Region(plan.work.steps, places, plan.machine, len(memories)).bind(addresses)

    def call(threads: int) -> int:
        assert memories is not None  # the arrays live as long as this
        return int(bound.run(threads))

    return call


def page(found: dict[str, Any]) -> str:
    """The page of a run."""
    rows = [Row(**{**row, **{n: tuple(row[n]) for n in PAIRS}}) for row in found["rows"]]
    threads = found["threads"]
    many = "1 thread" if threads == 1 else f"{threads} threads"
    machine = found["machine"]
    mean = geometric_mean([row.ratio for row in rows])
    slower = [row.name for row in rows if row.ratio < 1]
    lines = [
        f"# Layers in 8 bits beside float32, batch 1, {many}",
        "",
        f"{machine.get('processor', 'an unknown processor')}, {machine.get('features', '')}, "
        f"{many}, {found['date']}; other programs took {machine['taken by other programs']} of the "
        "processors. Made by `python -m benchmarks integer`. Times are microseconds, the least and "
        "the median of calls by turns in one process; GOP/s counts a multiplication and an "
        "addition for each product of the plain sum, whatever the method.",
        "",
        f"In all 8 bits are {mean:.2f} times as fast (geometric mean of {len(rows)} layers). "
        + (f"Slower than float32: {'; '.join(slower)}." if slower else "No layer is slower."),
        "",
        "| layer | 8 bits | median | GOP/s | float32 | median | GOP/s | times as fast | how |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        cells = [row.name]
        for least, median in (row.integer, row.single):
            cells += [f"{1e6 * least:,.0f}", f"{1e6 * median:,.0f}"]
            cells.append(f"{2 * row.macs / least / 1e9:,.0f}")
        how = f"{row.how[0].removeprefix('integer ')}; {row.how[1]}"
        lines.append("| " + " | ".join([*cells, f"{row.ratio:.2f}", how]) + " |")
    return "\n".join(lines) + "\n"


PAIRS = ("integer", "single", "how")
