"""The page of a walk: its curve, its table, and what was chosen. One file that loads nothing."""

from collections.abc import Sequence
from pathlib import Path

from faltung.compress.budget import Budget
from faltung.compress.end import End
from faltung.compress.journal import Entry, label
from faltung.compress.measure import THREADS
from faltung.compress.picture import Dot, scatter
from faltung.compress.table import duration, measure, points, rows, share
from faltung.jit.target import current
from faltung.train.report import rendered
from faltung.train.report_sections import text

_TEMPLATE = Path(__file__).with_name("page.html.j2")
SHOWN_LEFT = 40  # layers that were left as they are
_OTHER = "as trained"
_EXPLAINED = (
    "{name} and points lost are those on the samples that chose nothing, with their 95% intervals "
    "(thin lines). Limits apply to the points lost on the samples that choose, as accuracy or as "
    "loss tells them, whatever is more. Small dots are beyond the limits. Times are for one "
    "sample, the least of several measurements, on {machine}."
)


def page(
    title: str, entries: Sequence[Entry], budget: Budget, end: End | None, loss: str, parts: str
) -> str:
    """The page as text. ``parts``: which samples did what. ``end``: None while the walk goes on."""
    chosen = None if end is None else end.chosen
    name = measure(loss)
    shown = len(entries) - 1 if chosen is None else chosen
    return rendered(
        _TEMPLATE,
        title=text(title),
        note=parts if end is None else f"{end.why}. {parts}.",
        figures=[] if chosen is None else list(_figures(entries, chosen, name)),
        ringed="" if chosen is None else "a ring: the one that was chosen",
        charts=_charts(entries, budget, chosen, name),
        explained=_EXPLAINED.format(name=f"{name[:1].upper()}{name[1:]}", machine=current()),
        budget=str(budget),
        threads=THREADS,
        measure=name,
        rows=rows(entries, budget, chosen),
        which="" if chosen is None else f"step {chosen}",
        done=_done(entries, shown),
        left=_left(entries)[:SHOWN_LEFT],
    )


def _figures(entries: Sequence[Entry], chosen: int, name: str) -> list[tuple[str, str, str]]:
    """(name, value, remark) of what was chosen."""
    first, found = entries[0], entries[chosen]
    report = found.report
    made = [
        ("bytes", f"{found.bytes:,}", f"{first.bytes / found.bytes:.1f} times smaller"),
        ("MACs", f"{found.macs:,}", f"{first.macs / max(found.macs, 1):.1f} times fewer"),
    ]
    for threads, (own, before) in sorted(found.ms.items()):
        plural = "s" * (threads != "1")
        said = f"{before / own:.2f} times as fast"
        made.append((f"time, {threads} thread{plural}", duration(own), said))
    said = f"{share(report.low)} to {share(report.high)}, {report.samples:,} samples"
    made.append((name, share(report.value), said))
    said = f"{points(report.lost_low)} to {points(report.lost_high)}"
    return [*made, ("points lost", points(report.lost), said)]


def _charts(entries: Sequence[Entry], budget: Budget, chosen: int | None, title: str) -> list[str]:
    """Against bytes, and against milliseconds by one thread."""
    numbers = [number for number, entry in enumerate(entries) if entry.changed]
    last = {n: entries[n].step.means if n else _OTHER for n in numbers}
    kinds = list(dict.fromkeys(last.values()))
    ring = numbers.index(chosen) if chosen is not None else None
    made = []
    for name, x_title in (("bytes", "bytes on disk"), ("ms", "milliseconds, one thread")):
        dots = []
        for n in numbers:
            entry = entries[n]
            x = float(entry.bytes) if name == "bytes" else entry.ms["1"][0]
            says = f"step {n}, {label(tuple(entries), n)}: {x:,.4g}, {share(entry.report.value)}"
            r = entry.report
            kind = kinds.index(last[n])
            dots.append(Dot(x, r.value, r.low, r.high, kind, says, budget.within(entry)))
        shown = kinds if name == "bytes" else []
        made.append(scatter(title, x_title, shown, dots, _percent, ring))
    return made


def _percent(value: float) -> str:
    """A tick of the axis."""
    return f"{100 * value:g}%"


def _done(entries: Sequence[Entry], number: int) -> list[tuple[str, str]]:
    """The steps on the way to one."""
    made: list[tuple[str, str]] = []
    while number > 0:
        entry = entries[number]
        if entry.changed:
            tuned = f"; {entry.step.epochs} epochs of fine-tuning" if entry.step.epochs else ""
            made.insert(0, (f"{number}, {entry.step.means}", text(entry.said + tuned)))
        number = entry.step.parent
    return made or [("nothing", "the model as it was trained")]


def _left(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """(means: layer, why), each once."""
    made = {}
    for entry in entries:
        for each in entry.left:
            layer, _, why = each.partition(": ")
            made[f"{entry.step.means}: {text(layer)}"] = text(why)
    return list(made.items())
