"""A run as a Markdown page: where, goals, means, losses, every row, what was not measured."""

from collections.abc import Iterable, Sequence

from benchmarks.goals import Verdict, judge
from benchmarks.peers import OURS, PEERS
from benchmarks.protocol import DIRECTIONS, FORWARD, INPUT_GRAD, WEIGHT_GRAD
from benchmarks.results import TIMED, UNABLE, Outcome, Row, Run
from benchmarks.stats import (
    GROUPS,
    TORCH,
    best,
    geometric_mean,
    losses,
    ratio,
    ratios,
    rivals,
    round_spread,
    signal,
)

TITLES = {
    FORWARD: "Forward",
    INPUT_GRAD: "Gradient for the input",
    WEIGHT_GRAD: "Gradient for the weight",
}
NOTHING = "-"


def page(run: Run) -> str:
    """The whole page."""
    parts = [
        "# Benchmark results",
        _where(run),
        _peers(run),
        _how(run),
        _goals(run),
        _means(run),
        _losses(run),
        *(_tables(run, direction) for direction in DIRECTIONS),
        _not_measured(run),
        _errors(run),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(head: Sequence[str], lines: Iterable[Sequence[str]], words: int = 1) -> str:
    """A Markdown table; the first ``words`` columns to the left, the others to the right."""
    marks = [":--"] * words + ["--:"] * (len(head) - words)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, marks, *lines))


def microseconds(ns: float) -> str:
    """Three significant digits, in microseconds."""
    us = ns / 1000
    if us >= 100:
        return f"{us:,.0f}"
    return f"{us:.1f}" if us >= 10 else f"{us:.2f}"


def number(value: float | None, digits: int = 2) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


# --- where and how ---


def _where(run: Run) -> str:
    peak = "not measured" if run.peak is None else f"{run.peak:.0f} GFLOP/s (float32)"
    facts = {
        "date": run.date,
        **run.machine,
        "threads": str(run.threads),
        "FMA peak, measured": peak,
        "length of the run": f"{run.minutes:.1f} min" if run.minutes else "",
    }
    return table(["machine", ""], [(name, value) for name, value in facts.items() if value], 2)


def _peers(run: Run) -> str:
    lines = []
    for name, version in run.versions.items():
        lines.append((f"`{name}`", version, PEERS[name].about if name in PEERS else ""))
    lines += [(f"`{name}`", "**missing**", reason) for name, reason in run.missing.items()]
    return "## Peers\n\n" + table(["peer", "version", "what is timed"], lines, 3)


def _how(run: Run) -> str:
    return (
        "## How\n\n"
        f"Each peer runs in a process of its own, on the same {run.threads} core(s) and with as "
        f"many threads, in turns: {run.rounds} round(s), every second one in the other order; a "
        f"round warms up and then fills {run.seconds:g} s. A process that is not asked is stopped, "
        "so no idle pool spins. Arrays are in the peer's layout before the clock starts; weights "
        "are packed before where the peer can. Every peer's answer was compared with float64 "
        "first. Cells are the least and the median time of all calls in microseconds; ratios are "
        "the other's least time over ours (above 1: we are faster). Operations count every tap, "
        "2 for a multiply-add." + _noise(run)
    )


def _noise(run: Run) -> str:
    spread = round_spread(run.rows)
    if spread is None:
        return ""
    return (
        f" The least times of one peer's rounds differ by {100 * spread:.1f}% on the middle row: "
        "ratios nearer to 1 than that say nothing."
    )


# --- the summary ---


def _goals(run: Run) -> str:
    verdicts = judge(run)
    if not verdicts:
        return ""
    head = ["goal", "wanted", "worst", "on", "mean", "rows", "reached"]
    return "## Goals\n\n" + table(head, [_verdict(verdict) for verdict in verdicts])


def _verdict(verdict: Verdict) -> list[str]:
    goal, (worst, row) = verdict.goal, verdict.values[0]
    wanted = f">= {goal.worst:g}" + (f", mean >= {goal.mean:g}" if goal.mean else "")
    reached = "yes" if verdict.reached else "**no**"
    values = [number(worst, 3), row.name, number(verdict.mean), str(len(verdict.values))]
    return [goal.text, wanted, *values, reached]


def _means(run: Run) -> str:
    """Geometric means by group: ours over each peer."""
    parts = []
    for direction in DIRECTIONS:
        rows = [row for row in run.rows if row.direction == direction]
        others = [n for n in run.versions if n not in OURS and any(row.ns(n) for row in rows)]
        lines = []
        for title, belongs in GROUPS:
            members = [row for row in rows if belongs(row.spec)]
            means = [_mean(members, None), _mean(members, TORCH)]
            means += [_mean(members, (other,)) for other in others]
            if any(mean != NOTHING for mean in means):
                nchw = number(geometric_mean(ratios(members, OURS[1], ("torch",))))
                lines.append([title, str(len(members)), *means, nchw])
        if lines:
            head = ["group", "rows", "the best of all", "PyTorch, better layout", *others]
            body = table([*head, "`faltung-nchw`: torch"], lines)
            parts.append(f"### {TITLES[direction]}\n\n{body}")
    if not parts:
        return ""
    return "\n\n".join(
        ["## Geometric means of the ratios (of the rows that the peer can do)", *parts]
    )


def _mean(rows: Sequence[Row], peers: Sequence[str] | None) -> str:
    return number(geometric_mean(ratios(rows, OURS[0], peers)))


def _losses(run: Run) -> str:
    """Every row on which somebody is faster than us; it says so when there is none."""
    if all(row.ns(OURS[0]) is None for row in run.rows):
        return f"## Losses\n\n`{OURS[0]}` was not timed in this run."
    lost = losses(run.rows)
    if not lost:
        return "## Losses\n\nNone: on every row of this run no peer was faster."
    lines = []
    for row, rival, value in lost:
        pair = [microseconds(row.ns(name) or 0) for name in (OURS[0], rival)]
        where = [f"{row.name} `{row.text}`", TITLES[row.direction]]
        lines.append([*where, rival, *pair, number(value, 3)])
    head = ["layer", "direction", "the fastest", "ours us", "theirs us", "ratio"]
    return f"## Losses ({len(lost)} of {len(run.rows)} rows)\n\n" + table(head, lines, 3)


# --- the rows ---


def _tables(run: Run, direction: str) -> str:
    """Layers first, then signals and grey images: these have peers of their own."""
    rows = [row for row in run.rows if row.direction == direction]
    layers = [row for row in rows if not signal(row.spec)]
    signals = [row for row in rows if signal(row.spec)]
    parts = [_table(run, some) for some in (layers, signals) if some]
    return "\n\n".join([f"## {TITLES[direction]}", *parts]) if parts else ""


def _table(run: Run, rows: Sequence[Row]) -> str:
    """A column for each peer that was timed on one of the rows at least."""
    names = [name for name in run.versions if any(_tells(row.outcomes.get(name)) for row in rows)]
    head = ["layer", "MFLOP", "GFLOP/s", "of peak", "best other", "ratio", *names]
    lines = []
    for row in rows:
        cells = [_cell(row.outcomes.get(name)) for name in names]
        lines.append([*_summary(run, row), *cells])
    return table(head, lines)


def _tells(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.kind != UNABLE


def _summary(run: Run, row: Row) -> list[str]:
    gflops, other = row.gflops(OURS[0]), best(row, rivals(row))
    # float64 has half the lanes, so half the peak
    peak = None if run.peak is None else run.peak / (1 if row.spec.dtype == "float32" else 2)
    fraction = None if gflops is None or peak is None else 100 * gflops / peak
    return [
        f"{row.name}<br>`{row.text}`",
        f"{row.spec.flops / 1e6:,.1f}",
        number(gflops, 0),
        NOTHING if fraction is None else f"{fraction:.0f}%",
        NOTHING if other is None else other[0],
        number(ratio(row, OURS[0], rivals(row))),
    ]


def _cell(outcome: Outcome | None) -> str:
    if outcome is None or outcome.kind == UNABLE:
        return NOTHING
    if outcome.kind != TIMED:
        return f"**{outcome.kind}**"
    median = microseconds(outcome.median_ns)
    return f"{microseconds(outcome.min_ns)} / {median}" + (" (once)" if outcome.calls == 1 else "")


def _not_measured(run: Run) -> str:
    """Who could not do what, and why: one line a reason."""
    why: dict[tuple[str, str, str], list[str]] = {}
    for row in run.rows:
        for peer, outcome in row.outcomes.items():
            if outcome.kind != TIMED:
                key = (peer, outcome.kind, outcome.reason)
                why.setdefault(key, []).append(f"{row.name} ({row.direction})")
    if not why:
        return ""
    lines = []
    for (peer, kind, reason), names in why.items():
        some = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        lines.append([f"`{peer}`", kind, reason, some])
    return "## Not measured, and why\n\n" + table(["peer", "what", "reason", "rows"], lines, 4)


def _errors(run: Run) -> str:
    """The largest relative RMS error of each peer against float64, float32 rows alone."""
    worst: dict[str, tuple[float, str]] = {}
    for row in run.rows:
        for peer, outcome in row.outcomes.items():
            if outcome.error is not None and row.spec.dtype == "float32":
                worst[peer] = max(worst.get(peer, (0.0, "")), (outcome.error, row.name))
    if not worst:
        return ""
    lines = [[f"`{peer}`", f"{error:.1e}", name] for peer, (error, name) in worst.items()]
    head = ["peer", "largest error", "on"]
    return "## Accuracy: relative RMS error against float64\n\n" + table(head, lines)
