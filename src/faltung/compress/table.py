"""The steps of a walk as a table: for people, and as CSV."""

import csv
import io
from collections.abc import Sequence

from faltung.compress.budget import Budget
from faltung.compress.journal import Entry, label
from faltung.compress.measure import THREADS
from faltung.geometry.record import dataclass
from faltung.graph.losses import targets_of
from faltung.train.terminal import clean

# Of the CSV, in this order; times of further numbers of threads follow.
COLUMNS = (
    *("number", "step", "parent", "bytes", "parameters", "macs"),
    *("choose", "choose_low", "choose_high", "choose_lost", "choose_lost_by_loss"),
    *("report", "report_low", "report_high", "report_lost", "report_lost_low", "report_lost_high"),
    *("within", "chosen", "said", "left"),
)


@dataclass(frozen=True)
class Row:
    """A step in words. ``number``: of its entry."""

    number: int
    step: str
    bytes: str
    macs: str
    times: tuple[str, ...]
    value: str
    interval: str
    lost: str
    reported: str
    within: bool
    chosen: bool


def rows(entries: Sequence[Entry], budget: Budget, chosen: int | None) -> list[Row]:
    """A row for each step that changed anything."""
    return [
        Row(
            number,
            label(tuple(entries), number),
            f"{entry.bytes:,}",
            f"{entry.macs:,}",
            tuple(milliseconds(entry, threads) for threads in THREADS),
            share(entry.report.value),
            f"{share(entry.report.low)} to {share(entry.report.high)}",
            points(entry.lost),
            f"{points(entry.report.lost)} ({points(entry.report.lost_low)} to "
            f"{points(entry.report.lost_high)})",
            budget.within(entry),
            number == chosen,
        )
        for number, entry in enumerate(entries)
        if entry.changed
    ]


def measure(loss: str) -> str:
    """What a quality is called."""
    return "R²" if targets_of(loss) == "numbers" else "accuracy"


def milliseconds(entry: Entry, threads: int) -> str:
    """How long the model takes for one sample; "-" where it was not measured."""
    found = entry.ms.get(str(threads))
    return "-" if found is None else duration(found[0])


def duration(ms: float) -> str:
    """1.23 ms; below a tenth of one 12.3 µs."""
    return f"{ms:.3g} ms" if ms >= 0.1 else f"{1000 * ms:.3g} µs"


def share(value: float) -> str:
    """0.9832 as 98.32%."""
    return f"{100 * value:.2f}%"


def points(lost: float) -> str:
    """Points that were lost; won ones are negative, and nearly none is none."""
    return f"{0.0 if abs(lost) < 5e-3 else lost:.2f}"


def step_line(entries: Sequence[Entry], number: int) -> str:
    """A step as it is printed when it is finished."""
    entry, what = entries[number], label(tuple(entries), number)
    if not entry.changed:
        step = entry.step
        return clean(f"{number:>3}  {what}, {step.means}: {entry.said}")
    times = ", ".join(milliseconds(entry, n).rjust(7) for n in THREADS if str(n) in entry.ms)
    return clean(
        f"{number:>3}  {entry.bytes:>11,} bytes  {entry.macs:>13,} MACs  {times}  "
        f"lost {points(entry.lost):>6}  {what}"
    )


def as_csv(entries: Sequence[Entry], budget: Budget, chosen: int | None) -> str:
    """All that was measured, a line for each step that changed anything."""
    out = io.StringIO()
    times = [f"ms_{threads}" for threads in THREADS]
    writer = csv.DictWriter(out, [*COLUMNS, *times], lineterminator="\n")
    writer.writeheader()
    for number, entry in enumerate(entries):
        if not entry.changed:
            continue
        found = {
            "number": number,
            "step": label(tuple(entries), number),
            "parent": entry.step.parent,
            "bytes": entry.bytes,
            "parameters": entry.parameters,
            "macs": entry.macs,
            "within": int(budget.within(entry)),
            "chosen": int(number == chosen),
            "said": clean(entry.said),
            "left": "; ".join(map(clean, entry.left)),
        }
        for name, score in (("choose", entry.choose), ("report", entry.report)):
            found |= {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
            found[f"{name}_lost"] = score.lost
        found["choose_lost_by_loss"] = entry.choose.by_loss
        found |= {
            "report_lost_low": entry.report.lost_low,
            "report_lost_high": entry.report.lost_high,
        }
        found |= {f"ms_{n}": entry.ms[str(n)][0] for n in THREADS if str(n) in entry.ms}
        writer.writerow(found)
    return out.getvalue()
