"""How long each node of a compiled program takes: its steps as a region of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from faltung.geometry.check import whole
from faltung.graph.cost import macs, numbers
from faltung.graph.summary_table import short
from faltung.graph.value import Node
from faltung.methods.base.step import Step, waiting
from faltung.program.assemble import Assembly
from faltung.program.inference import Inference
from faltung.program.threads import threads_for
from faltung.program.training import TrainingStep

HEAD = ("layer", "operation", "method", "output", "ms", "%", "GFLOP/s", "bytes")
RIGHT = (4, 5, 6, 7)


@dataclass(frozen=True, slots=True)
class Timed:
    """A row of a profile.

    Attributes
    ----------
    layer : str
        The layer that the node belongs to; for a model from elsewhere its node.
    operation : str
        What is computed, such as "Convolve".
    method : str
        How: the titles of the steps.
    output : tuple of int
        The shape of the result without the batch.
    seconds : float
        The least of all runs.
    flops : int
        Two for each multiply-accumulate; 0 for what is not a sum of products.
    bytes : int
        Read and written, each array once.
    """

    layer: str
    operation: str
    method: str
    output: tuple[int, ...]
    seconds: float
    flops: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of a program goes. seconds: the least of the program as a whole; the rows run
    one at a time, which costs some microseconds each.
    """

    rows: tuple[Timed, ...]
    seconds: float

    def __str__(self) -> str:
        return table(self)


def profile(program: Inference | TrainingStep, repeats: int = 20) -> Profile:
    """Run a program as often as ``repeats``, as a whole and node by node, in order, so that caches
    are as they are in a run. It works on whatever its inputs are. Of a step of training the last
    row is the optimizer; its learning rate is the last one, or 0.
    """
    whole("repeats", repeats, 1)
    threads = threads_for(program.assembly.cycles)
    assembly = program.assembly
    parts = _parts(assembly)
    runs = [assembly.part(steps) for steps in (*(steps for _, steps in parts), assembly.ends)]
    least = [float("inf")] * len(runs)
    total = float("inf")
    for _ in range(repeats):
        total = min(total, _timed(lambda: program.assembly.region.run(threads)))
        for number, run in enumerate(runs):
            least[number] = min(least[number], _timed(lambda run=run: run(threads)))  # type: ignore[misc]
    item = program.state.dtype.itemsize
    rows = [
        _row(node, [step.title for step in steps], seconds, program.batch, item)
        for (node, steps), seconds in zip(parts, least, strict=False)
    ]
    if assembly.ends:
        titles = dict.fromkeys(step.title for step in assembly.ends)
        rows.append(Timed("", "Update", ", ".join(titles), (), least[-1], 0, 0))
    return Profile(tuple(rows), total)


def _parts(assembly: Assembly) -> list[tuple[Node, list[Step]]]:
    """Each node with its steps; with those that pack weights, where every run does."""
    packs = assembly.packing is None
    parts = []
    for made in assembly.lowered:
        first = made.prepare if packs else []
        after = [waiting(step, step.barrier or bool(first)) for step in made.steps[:1]]
        parts.append((made.node, [*first, *after, *made.steps[1:]]))
    return parts


def _timed(run: Callable[[], Any]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start


def _row(node: Node, titles: Sequence[str], seconds: float, batch: int, item: int) -> Timed:
    each, once = numbers(node)
    return Timed(
        node.layer,
        type(node.op).__name__,
        ", ".join(dict.fromkeys(titles)),
        node.output.shape,
        seconds,
        2 * batch * macs(node),
        item * (batch * each + once),
    )


def table(found: Profile, width: int = 120) -> str:
    """A table of the rows in their order, and the sum."""
    total = sum(row.seconds for row in found.rows) or 1.0
    lines = [HEAD, *(_cells(row, total) for row in found.rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    over = sum(widths) + 2 * (len(widths) - 1) - width
    for column, least in ((2, 16), (0, 16)):
        cut = min(max(0, over), max(0, widths[column] - least))
        widths[column] -= cut
        over -= cut
    made = ["  ".join(map(_cell, line, widths, range(len(widths)))).rstrip() for line in lines]
    rule = "-" * max(map(len, made))
    flops = sum(row.flops for row in found.rows)
    rate = f", {flops / found.seconds / 1e9:.1f} GFLOP/s" if flops and found.seconds else ""
    foot = f"{1e3 * found.seconds:.3f} ms in all, {1e3 * total:.3f} ms one by one{rate}"
    return "\n".join([made[0], rule, *made[1:], rule, foot])


def _cells(row: Timed, total: float) -> tuple[str, ...]:
    rate = f"{row.flops / row.seconds / 1e9:.1f}" if row.flops and row.seconds else ""
    return (
        row.layer,
        row.operation,
        row.method,
        "x".join(map(str, row.output)),
        f"{1e3 * row.seconds:.3f}",
        f"{100 * row.seconds / total:.1f}",
        rate,
        short(row.bytes, "B"),
    )


def _cell(text: str, width: int, column: int) -> str:
    if len(text) > width:
        text = text[: width - 1] + "…"
    return text.rjust(width) if column in RIGHT else text.ljust(width)
