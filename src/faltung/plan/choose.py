"""Which method computes a correlation, and in which order its input must lie.

``choose`` is a policy in three lines: price every method of ``FORWARD`` in cycles of one core, add
the price of the copy that it would need, take the cheapest (the first of equals). The prices are in
the methods' own files.
"""

from dataclasses import dataclass
from math import inf
from typing import Protocol

from faltung.machine.table import Machine
from faltung.methods import depthwise, direct, spatial
from faltung.methods.correlation import Correlation
from faltung.methods.step import Arrays, Work

# Cycles to copy one element into another order, padded.
COPY = 0.75
# Cycles that a copy takes beside that: it is a step of its own, and the team meets after it.
STEP = 1000


class Method(Protocol):
    """What a file in ``methods`` offers to be chosen from."""

    def cost(self, c: Correlation, machine: Machine) -> float: ...

    def needs_padded(self, c: Correlation, machine: Machine) -> bool: ...

    def needs_channels_first(self, c: Correlation) -> bool: ...

    def plan(
        self, c: Correlation, machine: Machine, work: Work, arrays: Arrays, after: bool
    ) -> None: ...


FORWARD: dict[str, Method] = {"direct": direct, "spatial": spatial, "depthwise": depthwise}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One method's offer, in cycles; ``stage``: None, "channels_first" or "channels_last"."""

    name: str
    stage: str | None
    compute: float
    copy: float

    @property
    def cycles(self) -> float:
        return self.compute + self.copy


def offer(name: str, c: Correlation, machine: Machine) -> Candidate:
    """What ``name`` would do with ``c`` and what that costs."""
    method = FORWARD[name]
    stage = None
    if method.needs_channels_first(c):
        stage = "channels_first"
    elif method.needs_padded(c, machine):
        stage = "channels_first" if name == "spatial" else "channels_last"
    inputs = c.batch * c.groups * c.channels_in
    for window in c.windows:
        inputs *= window.axis.padded
    copy = inputs * COPY + STEP if stage else 0.0
    return Candidate(name, stage, method.cost(c, machine), copy)


def choose(c: Correlation, machine: Machine) -> list[Candidate]:
    """All offers that apply, cheapest first."""
    offers = (offer(name, c, machine) for name in FORWARD)
    return sorted((o for o in offers if o.cycles < inf), key=lambda o: o.cycles)
