"""How a walk ends: which step is chosen, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

from faltung.compress.budget import Budget
from faltung.compress.journal import Entry, label
from faltung.compress.table import points
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass


@dataclass(frozen=True)
class End:
    """``chosen``: the number of a step, None if none keeps the limits; ``nearest``: that which
    comes nearest then; ``why``: a line.
    """

    chosen: int | None
    nearest: int
    why: str

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any], steps: int) -> Self:
        """ValueError: anything else than ``as_dict`` made of a walk with so many steps."""
        chosen, nearest, why = (found.get(name) for name in ("chosen", "nearest", "why"))
        for number in (nearest, *([] if chosen is None else [chosen])):
            if type(number) is not int or not 0 <= number < steps:
                raise FaltungError(f"end: {number!r:.40}: is no step")
        if not isinstance(why, str):
            raise FaltungError(f"end.why={why!r:.40}: must be text")
        return cls(chosen, nearest, why)  # type: ignore[arg-type]


def end_of(entries: Sequence[Entry], budget: Budget) -> End:
    """What is chosen of the steps that changed anything."""
    numbers = [number for number, entry in enumerate(entries) if entry.changed]
    found = [entries[number] for number in numbers]
    best, near = budget.choose(found), numbers[budget.nearest(found)]
    if best is None:
        entry = entries[near]
        why = (
            f"none of {len(found)} keeps the limits ({budget}); nearest is step {near}, "
            f"{label(tuple(entries), near)}: {_cost(entry)}"
        )
        return End(None, near, why)
    chosen = numbers[best]
    within = sum(map(budget.within, found))
    which = "the smallest" if budget.drop is not None else "the best"
    why = (
        f"step {chosen} is {which} of the {within} of {len(found)} that keep the limits ({budget})"
    )
    return End(chosen, chosen, why)


def _cost(entry: Entry) -> str:
    return (
        f"{entry.bytes:,} bytes, {points(entry.lost)} points lost, {entry.speed:.2f} times as fast"
    )
