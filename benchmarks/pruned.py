"""``python -m benchmarks pruned``: the time of networks with fewer channels beside their work.

    python -m benchmarks pruned                      # four networks, about two minutes
    python -m benchmarks pruned resnet18 --threads 1
    python -m benchmarks pruned --page               # the page again, without measuring

Every layer keeps the same share of its channels, once as an odd number, which no vector divides,
and once as a multiple of eight. A network is timed by turns at all shares in one process, and its
time is set against its multiply-adds. A line of JSON for each network and number of threads is
added to the results; of one that is there twice the last line counts.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.machine import describe
from benchmarks.processes import cores
from benchmarks.timing import timed
from faltung import nets, nn
from faltung.compress.dependencies import Dependencies, Group, dependencies
from faltung.graph.cost import macs
from faltung.graph.initial import parameters
from faltung.nn import Layer
from faltung.program.inference import Inference
from faltung.program.state import State

FOLDER = Path(__file__).parent / "results"
NETWORKS: dict[str, tuple[tuple[int, ...], str]] = {
    "resnet18": ((3, 224, 224), "ResNet-18"),
    "mobilenetv2": ((3, 224, 224), "MobileNetV2"),
    "googlenet": ((3, 224, 224), "GoogLeNet with BN"),
    "unet": ((1, 128, 128), "U-Net, 128x128"),
}
SHARES = (0.9, 0.75, 0.62, 0.5, 0.37, 0.25)
WAYS = {"odd": 1, "multiples of 8": 0}
SECONDS = 1.2  # of each network at each share


@dataclass(frozen=True, slots=True)
class Row:
    """A network with a share of its channels. way: of ``WAYS``, or "" for the whole network."""

    share: float
    way: str
    macs: int
    min_ns: int
    median_ns: int


@dataclass(frozen=True, slots=True)
class Line:
    """A network at all shares, the whole one first."""

    name: str
    threads: int
    day: str
    machine: dict[str, str]
    rows: tuple[Row, ...]

    @property
    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))


def line_of(text: str) -> Line:
    """A line from its JSON."""
    data = json.loads(text)
    return Line(**data | {"rows": tuple(Row(**row) for row in data["rows"])})


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks pruned",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", default=list(NETWORKS), help=", ".join(NETWORKS))
    parser.add_argument("--threads", type=int, default=len(cores()))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each (%(default)s)")
    parser.add_argument("--page", action="store_true", help="write the page and measure nothing")
    parser.add_argument("--out", type=Path, default=FOLDER / "pruned.jsonl", help="JSON lines")
    given = parser.parse_args(arguments)
    for name in [] if given.page else given.names:
        line = measure(name, given.threads, given.seconds)
        with given.out.open("a") as file:
            file.write(line.text + "\n")
        print("\n".join(table(line)), flush=True)
    to = given.out.with_suffix(".md")
    to.write_text(page(read(given.out)), "utf-8")
    print(f"wrote {to}")
    return 0


def measure(name: str, threads: int, seconds: float = SECONDS) -> Line:
    """A network at all shares, by turns."""
    from faltung import set_threads

    set_threads(threads)
    shape, _ = NETWORKS[name]
    net = nets.get(name, input_shape=shape)
    found = dependencies(net, shape)
    thinner = [(1.0, "", net)]
    for share in SHARES:
        for way, odd in WAYS.items():
            thinner.append((share, way, found.without(cut(found, share, bool(odd)))))
    works, calls = zip(*(_program(each, shape) for _, _, each in thinner), strict=True)
    times: list[list[int]] = [[] for _ in calls]
    for call in calls:
        call()
    end = time.perf_counter() + seconds * len(calls)
    while time.perf_counter() < end:
        for call, taken in zip(calls, times, strict=True):
            call()
            taken.append(timed(call))
    rows = tuple(
        Row(share, way, work, min(taken), int(median(taken)))
        for (share, way, _), work, taken in zip(thinner, works, times, strict=True)
    )
    return Line(name, threads, date.today().isoformat(), describe(), rows)


def cut(found: Dependencies, share: float, odd: bool) -> list[Group]:
    """The groups that go if every layer keeps a share of its own, an odd number or a multiple of
    eight.
    """
    layers: dict[str, list[Group]] = defaultdict(list)
    for group in found.groups:
        layers[group.layer].append(group)
    gone: list[Group] = []
    for groups in layers.values():
        wanted = share * len(groups)
        keep = 2 * int(wanted / 2) + 1 if odd else max(8, 8 * round(wanted / 8))
        gone += groups[keep:]
    return gone


def _program(net: Layer, shape: tuple[int, ...]) -> tuple[int, "Call"]:
    graph = nn.build(net, shape)
    state = State(graph.parameters, "float32")
    state.update(parameters(graph))
    x = np.random.default_rng(0).standard_normal((1, *shape), dtype=np.float32)
    return sum(map(macs, graph.nodes)), Call(Inference(graph, state, 1), x)


@dataclass(frozen=True)
class Call:
    """A prediction of one sample."""

    program: Inference
    x: np.ndarray

    def __call__(self) -> object:
        return self.program(self.x)


def read(path: Path) -> list[Line]:
    """The last line of each network and number of threads, in the order of the networks."""
    lines = [line_of(text) for text in path.read_text("utf-8").splitlines() if text]
    last = {(line.threads, line.name): line for line in lines}
    order = list(NETWORKS)
    return sorted(last.values(), key=lambda line: (order.index(line.name), line.threads))


def table(line: Line) -> Iterator[str]:
    """Each share: the work and the time beside those of the whole network."""
    many = "1 thread" if line.threads == 1 else f"{line.threads} threads"
    yield f"## {NETWORKS[line.name][1]}, {many}\n"
    yield "| channels | | MMACs | ms | part of the MACs | part of the time | time / MACs |"
    yield "| --: | :-- | --: | --: | --: | --: | --: |"
    whole = line.rows[0]
    for row in line.rows:
        work, took = row.macs / whole.macs, row.min_ns / whole.min_ns
        yield (
            f"| {row.share:.0%} | {row.way} | {row.macs / 1e6:.1f} | {row.min_ns / 1e6:.3f} "
            f"| {work:.1%} | {took:.1%} | {took / work:.2f} |"
        )
    yield ""


def page(lines: Sequence[Line]) -> str:
    """The results as a page."""
    parts = ["# Benchmark results: networks with fewer channels\n"]
    if lines:
        machine = lines[-1].machine
        parts.append(
            f"Measured on {machine.get('processor', 'an unknown processor')}, "
            f"{machine.get('features', '')}, float32, batch 1, {lines[-1].day}. Every layer keeps "
            "the same share of its channels, as an odd number or as a multiple of eight; times are "
            "the least of those taken by turns in one process.\n"
        )
    for line in lines:
        parts += table(line)
    return "\n".join(parts)
