"""``Plan``: steps, the arrays that they need, and the reasons for the choice.

A plan prints as a tree, compiles its kernels when they are first needed, and may be used from many
threads.
"""

from collections.abc import Sequence
from dataclasses import field, replace
from importlib import import_module
from math import inf

from faltung.geometry.conv import ConvSpec
from faltung.geometry.record import dataclass
from faltung.jit.compile import CompiledKernel
from faltung.machine.costs import MIN_PARALLEL_CYCLES
from faltung.machine.table import Machine
from faltung.methods.base.step import Step, Work
from faltung.plan.binding import SLOTS, Region, places
from faltung.plan.offer import Candidate


def array_shapes(spec: ConvSpec, direction: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays by their names in a plan.

    "x" is read and "out" written; a weight gradient reads both and writes "w".
    """
    x, out = spec.input_shape, spec.output_shape
    if direction == "input_grad":
        x, out = out, x
    return {"x": x, "w": spec.weight_shape, "out": out}


@dataclass(slots=True)
class Plan:
    """How one convolution, or one of its gradients, is computed on one machine.

    ``print(plan)`` shows the methods that were considered, their prices and the steps.

    Attributes
    ----------
    spec
        The convolution.
    direction
        "forward", "input_grad" or "weight_grad".
    machine
        The processor that the kernels are for.
    work
        The steps, and the bytes of the arrays that they need.
    reasons
        For each part of the problem its candidates, the chosen one first.
    cycles
        Estimated cycles of one core.
    aux
        Number of arrays of the epilogue; their addresses come after those of ``SLOTS``.

    Examples
    --------
    >>> import faltung
    >>> plan = faltung.plan_forward(faltung.parse("n1 c64>64 56x56 k3 p1"))
    >>> plan.spec.output_shape
    (1, 64, 56, 56)
    """

    spec: ConvSpec
    direction: str
    machine: Machine
    work: Work
    reasons: list[tuple[str, list[Candidate]]]
    cycles: float
    aux: int = 0
    _regions: dict[str, Region] = field(default_factory=dict)

    def region(self, part: str) -> Region:
        """The steps of "prepare", "run" or "all" as one region, compiled at the first call."""
        found = self._regions.get(part)
        if found is None:
            # No lock: another thread could hold it at a fork, and the child would wait forever.
            where, slots = places(self.work, self.aux), len(SLOTS) + self.aux
            made = Region(self._steps(part), where, self.machine, slots)
            found = self._regions.setdefault(part, made)
        return found

    def _steps(self, part: str) -> Sequence[Step]:
        if part == "prepare":
            return self.work.prepare
        if part == "run":
            return self.work.steps
        if not self.work.prepare:
            return self.work.steps
        first = [replace(step, barrier=True) for step in self.work.steps[:1]]
        return [*self.work.prepare, *first, *self.work.steps[1:]]

    def kernels(self) -> list[CompiledKernel]:
        """The machine code of the plan, in the order of its steps, each kernel once."""
        every = dict.fromkeys(self.region("all").kernels)
        return [kernel for kernel in every if isinstance(kernel, CompiledKernel)]

    def threads(self, available: int) -> int:
        """How many of the available threads are worth waking."""
        return 1 if self.cycles < MIN_PARALLEL_CYCLES else available

    def _repr_html_(self) -> str:
        """For notebooks."""
        made: str = import_module("faltung.plan.plan_html").plan_html(self)
        return made

    def __str__(self) -> str:
        lines = [f"{self.spec}  {self.direction}  on {self.machine.name}"]
        for title, candidates in self.reasons:
            best, *others = candidates
            lines.append(f"├─ {title}: {offer(best)}")
            lines += [f"│    not {loser(best, other)}" for other in others]
        steps = [
            *(("prepare", s) for s in self.work.prepare),
            *(("run", s) for s in self.work.steps),
        ]
        for i, (when, step) in enumerate(steps):
            branch = "└─" if i + 1 == len(steps) else "├─"
            lines.append(
                f"{branch} {when}: {step.title}, {step.items:,} items"
                f"{', after a barrier' * step.barrier}"
            )
        return "\n".join(lines)


def offer(candidate: Candidate) -> str:
    detail = f", {candidate.detail}" if candidate.detail else ""
    order = f", input copied {candidate.stage.replace('_', ' ')}" if candidate.stage else ""
    price = f", {duration(candidate.ns)}" if candidate.ns < inf else ""
    return f"{candidate.name}{detail}{order}{price}"


def loser(best: Candidate, other: Candidate) -> str:
    if other.why_not is not None:
        price = f", {duration(other.ns)}" if other.ns < inf else ""
        return f"{other.name}{price}: {other.why_not}"
    times = other.ns / best.ns if best.ns else 1.0
    if times < 1:
        return f"{offer(other)}: {times:.2f} times, but adds in another order"
    return f"{offer(other)}: " + (f"{times:.1f} times" if times >= 1.05 else "no better")


def duration(ns: float) -> str:
    """Nanoseconds as text for people, with three digits."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"
