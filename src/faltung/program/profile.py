"""How long each node of a compiled program takes: its steps as a region of their own."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

from faltung.geometry.check import whole
from faltung.geometry.record import dataclass
from faltung.graph.cost import macs, numbers
from faltung.graph.kinds import CHAIN, OPTIMIZER, PACKING, kind
from faltung.graph.summary_table import short
from faltung.methods.base.step import Step
from faltung.program.bands import described
from faltung.program.inference import Inference
from faltung.program.lowering import Lowered
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
    kind : str
        What kind of work it is, one of ``faltung.graph.kinds.KINDS``.
    problem : str
        Of a convolution its text, such as "n1 c64>64 56x56 k3 p1".
    """

    layer: str
    operation: str
    method: str
    output: tuple[int, ...]
    seconds: float
    flops: int
    bytes: int
    kind: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of a program goes. seconds: the least of the program as a whole; the rows run
    one at a time, which costs some microseconds each. threads: that took part. chains: of the rows
    that are several layers, in words.
    """

    rows: tuple[Timed, ...]
    seconds: float
    threads: int = 1
    chains: tuple[str, ...] = ()

    def __str__(self) -> str:
        return table(self)


# A row without its time, and the steps that it is the time of.
Part = tuple[Timed, list[Step]]


def profile(program: Inference | TrainingStep, repeats: int = 20) -> Profile:
    """Run a program as often as ``repeats``, as a whole and node by node, in order, so that caches
    are as they are in a run. It works on whatever its inputs are; what a step of training changes
    is as before afterwards.
    """
    whole("repeats", repeats, 1)
    if isinstance(program, Inference):
        return _profile(program, repeats, packs=False)
    slots = program.slots
    changed = [slots.state.memory, slots.gradients, *slots.arrays.values()]
    before = [memory.copy() for memory in changed]
    program.run(lr=0.0)  # with the numbers of an optimizer; what follows repeats them
    try:
        return _profile(program, repeats, packs=True)
    finally:
        for memory, values in zip(changed, before, strict=True):
            memory[...] = values


def _profile(program: Inference | TrainingStep, repeats: int, packs: bool) -> Profile:
    assembly = program.assembly
    threads = threads_for(assembly.cycles)
    parts = _parts(program, packs)
    runs = [assembly.part(steps) for _, steps in parts]
    least = [float("inf")] * len(parts)
    total = float("inf")
    for _ in range(repeats):
        total = min(total, _timed(lambda: assembly.region.run(threads)))
        for number, run in enumerate(runs):
            least[number] = min(least[number], _timed(lambda run=run: run(threads)))  # type: ignore[misc]
    rows = [replace(row, seconds=t) for (row, _), t in zip(parts, least, strict=True)]
    chains = tuple(described(m.chain) for m in assembly.lowered if m.chain is not None)
    return Profile(tuple(rows), total, threads, chains)


def _timed(run: Callable[[], Any]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start


def _parts(program: Inference | TrainingStep, packs: bool) -> list[Part]:
    """The nodes in order, with the packing of weights before each if every run packs them; then the
    optimizer.
    """
    item = program.state.dtype.itemsize
    assembly = program.assembly
    makers = {value.name: node for node in program.nodes for value in node.outputs}
    parts: list[Part] = []
    for made in assembly.lowered:
        row = _row(made, program.batch, item)
        if packs and made.prepare:
            moved = 2 * sum(made.kept.values())
            packing = replace(row, method=_titles(made.prepare), flops=0, bytes=moved, kind=PACKING)
            parts.append((packing, made.prepare))
        what = kind(made.node, makers) if made.chain is None else CHAIN
        parts.append((replace(row, kind=what), made.steps))
    if isinstance(program, TrainingStep):
        # It reads parameters, gradients and its own arrays, and writes all but the gradients.
        moved = program.slots.gradients.nbytes * (3 + 2 * len(program.slots.arrays))
        row = Timed("", "Optimizer", _titles(assembly.ends), (), 0.0, 0, moved, OPTIMIZER)
        parts.append((row, assembly.ends))
    return parts


def _titles(steps: Sequence[Step]) -> str:
    return ", ".join(dict.fromkeys(step.title for step in steps))


def _row(made: Lowered, batch: int, item: int) -> Timed:
    node, nodes = made.node, made.nodes
    each, once = map(sum, zip(*map(numbers, nodes), strict=True))
    # What is between the layers of a chain is not moved.
    each -= sum(2 * value.size for inner in nodes[:-1] for value in inner.outputs)
    more = "" if made.chain is None else f"{len(nodes)} in bands of {made.chain.height}: "
    return Timed(
        nodes[0].layer if made.chain is None else f"{nodes[0].layer} + {len(nodes) - 1}",
        "+".join(dict.fromkeys(type(inner.op).__name__ for inner in nodes)),
        more + _titles(made.steps),
        node.output.shape,
        0.0,
        2 * batch * sum(map(macs, nodes)),
        item * (batch * each + once),
        problem="; ".join(str(inner.op.spec) for inner in nodes if hasattr(inner.op, "spec")),
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
    return "\n".join([made[0], rule, *made[1:], rule, foot, *found.chains])


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
