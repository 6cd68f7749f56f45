"""A plan as a box in a notebook: the method of each part, its steps, and why no other."""

from math import inf
from typing import TYPE_CHECKING

from faltung.geometry.html import box, folded, table
from faltung.plan.plan import duration

if TYPE_CHECKING:
    from faltung.plan.offer import Candidate
    from faltung.plan.plan import Plan


def plan_html(plan: "Plan") -> str:
    """The box."""
    chosen = [(title, *_cells(candidates[0])) for title, candidates in plan.reasons]
    steps = [
        (when, step.title, f"{step.items:,}")
        for when, some in (("prepare", plan.work.prepare), ("run", plan.work.steps))
        for step in some
    ]
    others = [
        (title, other.name, duration(other.ns) if other.ns < inf else "", _why(best, other))
        for title, (best, *rest) in plan.reasons
        for other in rest
    ]
    direction = plan.direction.replace("_", " ")
    parts = [
        table(("part", "method", "how", "price of one core"), chosen, right=(3,)),
        folded("steps", table(("", "step", "items"), steps, right=(2,)), opened=len(steps) <= 6),
    ]
    if others:
        rows = table(("part", "method", "price", "why not"), others, right=(2,))
        parts.append(folded(f"{len(others)} other methods", rows))
    return box(str(plan.spec), *parts, note=f"{direction} on {plan.machine.name}")


def _cells(best: "Candidate") -> tuple[str, str, str]:
    how = [best.detail] if best.detail else []
    how += [f"input copied {best.stage.replace('_', ' ')}"] if best.stage else []
    return best.name, ", ".join(how), duration(best.ns) if best.ns < inf else ""


def _why(best: "Candidate", other: "Candidate") -> str:
    if other.why_not is not None:
        return other.why_not
    times = other.ns / best.ns if best.ns else 1.0
    return f"{times:.2f} times" + (", but adds in another order" if times < 1 else "")
