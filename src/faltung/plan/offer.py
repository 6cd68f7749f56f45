"""Offers: what a method would do with a correlation, and its price.

A price is in nanoseconds of one core: the cycles that the file of the method states, at the clock
rate in the row of the machine, or the time to move the arrays if that is longer; plus a copy of the
input if the method needs one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, prod
from typing import Any

from faltung.codegen.vectors import ELEMENTS, INTEGERS
from faltung.machine.costs import COPY_CYCLES, STEP_CYCLES, TRANSPOSE_CYCLES
from faltung.machine.table import Machine
from faltung.methods.base.correlation import Correlation
from faltung.plan.method import Row


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
    table: Mapping[str, Row[Any]], c: Correlation, machine: Machine, *, transforms: bool
) -> list[Candidate]:
    """What the direct methods, or the transforms, of a table offer for ``c``."""
    return [
        _offer(name, row, c, machine) for name, row in table.items() if row.transform == transforms
    ]


def _offer(name: str, row: Row[Any], c: Correlation, machine: Machine) -> Candidate:
    method, stage = row.method, None
    if row.transform and c.dtype in INTEGERS:
        return Candidate(name, None, inf, inf, f"{c.dtype} is exact, and a transform rounds")
    compute = method.cost(c, machine)
    if compute == inf:
        return Candidate(name, None, inf, inf, _why_not(method, c, machine))
    first = getattr(method, "needs_channels_first", None)
    if first is not None and first(c):
        stage = "channels_first"
    elif method.needs_padded(c, machine):
        stage = row.copies or ("channels_last" if c.x[2] == 1 else "channels_first")
    *outer, along = (window.axis for window in c.windows)
    inputs = c.batch * c.groups * c.channels_in * along.padded * prod(axis.size for axis in outer)
    copy = inputs * _copying(c, machine, stage) + STEP_CYCLES if stage else 0.0
    describe = getattr(method, "describe", None)
    detail = describe(c, machine) if describe is not None else ""
    ns = price(method, c, machine, compute) + copy / machine.speed.ghz
    return Candidate(name, stage, compute + copy, ns, detail=detail)


def price(method: Any, c: Correlation, machine: Machine, cycles: float | None = None) -> float:
    """Nanoseconds of one core, without copies. ``cycles``: its cost, if already known."""
    traffic = getattr(method, "traffic", None)
    size = arrays_bytes(c) if traffic is None else traffic(c, machine)
    cost = method.cost(c, machine) if cycles is None else cycles
    return machine.speed.ns(cost, size, machine.l1, machine.l2)


def packing(method: Any, c: Correlation, machine: Machine) -> float:
    """Nanoseconds of one core to transform the weights, or to copy them into another order."""
    made = getattr(method, "packing", None)
    cycles = None if made is None else made(c, machine)
    if cycles is None:
        count = c.groups * c.channels_in * c.channels_out * c.taps
        near = count * ELEMENTS[c.dtype][1] <= 2 * machine.l2
        cycles = count * TRANSPOSE_CYCLES[0 if near else 1]
    return machine.speed.ns(cycles, 0, machine.l1, machine.l2)


def arrays_bytes(c: Correlation) -> int:
    """Bytes of input, output and weight."""
    inputs = c.channels_in * prod(window.axis.size for window in c.windows)
    maps = c.batch * c.groups * (inputs + c.channels_out * c.outputs)
    weights = c.groups * c.channels_in * c.channels_out * c.taps
    return (maps + weights) * ELEMENTS[c.dtype][1]


def _copying(c: Correlation, machine: Machine, stage: str | None) -> float:
    """Cycles to copy one element."""
    last = (c.x[2] if c.channels_in > 1 else c.x[1]) == 1
    turned = c.groups * c.channels_in > 1 and last != (stage == "channels_last")
    if not turned:
        return COPY_CYCLES
    near = arrays_bytes(c) <= machine.l2
    return TRANSPOSE_CYCLES[0 if near else 1]


def _why_not(method: Any, c: Correlation, machine: Machine) -> str:
    asked = getattr(method, "why_not", None)
    return (asked(c, machine) if asked is not None else None) or "does not apply"
