"""Offers: what a method would do with a correlation, and its price.

A price is in nanoseconds of one core: the cycles that the file of the method states, at the clock
rate in the row of the machine, or the time to move the arrays if that is longer; plus a copy of the
input if the method needs one.
"""

from collections.abc import Mapping
from math import inf, prod

from faltung.codegen.vectors import ELEMENTS, INTEGERS
from faltung.geometry.record import dataclass
from faltung.machine.costs import COPY_CYCLES, STEP_CYCLES, TRANSPOSE_CYCLES
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.methods.base.method import Method


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one method offers.

    ``stage``: the layout of its copy of the input, None without one. ``cycles``: of one core, with
    that copy. ``ns``: its price. ``why_not``: why it is excluded, whatever its price. ``detail``:
    how it would proceed, for people.
    """

    name: str
    stage: str | None
    cycles: float
    ns: float
    why_not: str | None = None
    detail: str = ""

    @property
    def rank(self) -> tuple[float, float]:
        """The sort key: of two that memory limits equally, the one with fewer cycles is first."""
        return self.ns, self.cycles


def offers(
    table: Mapping[str, Method], c: Correlation, machine: Machine, *, transforms: bool
) -> list[Candidate]:
    """What the sums, or the transforms, of a table offer for ``c``."""
    return [
        _offer(name, method, c, machine)
        for name, method in table.items()
        if method.transform == transforms
    ]


def _offer(name: str, method: Method, c: Correlation, machine: Machine) -> Candidate:
    if method.transform and c.dtype in INTEGERS:
        return Candidate(name, None, inf, inf, f"{c.dtype} is exact, and a transform rounds")
    compute = method.cost(c, machine)
    if compute == inf:
        why = method.why_not(c, machine) or "does not apply"
        return Candidate(name, None, inf, inf, why)
    stage = None
    if method.needs_channels_first(c):
        stage = "channels_first"
    elif method.needs_padded(c, machine):
        stage = method.copies or ("channels_last" if c.x[2] == 1 else "channels_first")
    *outer, along = (window.axis for window in c.windows)
    inputs = c.batch * c.groups * c.channels_in * along.padded * prod(axis.size for axis in outer)
    copy = inputs * _copying(c, machine, stage) + STEP_CYCLES if stage else 0.0
    ns = price(method, c, machine, compute) + copy / machine.speed.ghz
    return Candidate(name, stage, compute + copy, ns, detail=method.describe(c, machine))


def price(method: Method, c: Correlation, machine: Machine, cycles: float | None = None) -> float:
    """Nanoseconds of one core, without copies. ``cycles``: its cost, if already known."""
    cost = method.cost(c, machine) if cycles is None else cycles
    return machine.speed.ns(cost, method.traffic(c, machine), machine.l1, machine.l2)


def packing(method: Method, c: Correlation, machine: Machine) -> float:
    """Nanoseconds of one core to transform the weights, or to copy them into another order."""
    cycles = method.packing(c, machine)
    if cycles is None:
        count = c.groups * c.channels_in * c.channels_out * c.taps
        near = count * ELEMENTS[c.dtype][1] <= 2 * machine.l2
        cycles = count * TRANSPOSE_CYCLES[0 if near else 1]
    return machine.speed.ns(cycles, 0, machine.l1, machine.l2)


def _copying(c: Correlation, machine: Machine, stage: str | None) -> float:
    """Cycles to copy one element."""
    last = (c.x[2] if c.channels_in > 1 else c.x[1]) == 1
    if c.groups * c.channels_in == 1 or last == (stage == "channels_last"):
        return COPY_CYCLES
    return TRANSPOSE_CYCLES[0 if c.array_bytes <= machine.l2 else 1]
