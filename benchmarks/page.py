"""A run as a Markdown page: machine, goals, means, losses, all rows, what was not measured."""

from benchmarks import (
    limits,
    page_bounds,
    page_files,
    page_filters,
    page_layers,
    page_networks,
    page_windows,
)
from benchmarks.goals import Verdict, judge
from benchmarks.peers import OURS, TABLES
from benchmarks.protocol import (
    CONVOLUTIONS,
    DEPTHWISE,
    FILTERS,
    FORWARD,
    LAYERS,
    NETWORKS,
    ONNX,
    POINTWISE,
    TRAINING,
    WINDOWS,
)
from benchmarks.results import TIMED, Run
from benchmarks.stats import losses, round_spread
from benchmarks.words import TITLES, duration, number, table, unit

SECTIONS = {
    LAYERS: page_layers,
    NETWORKS: page_networks,
    TRAINING: page_networks,
    WINDOWS: page_windows,
    ONNX: page_files,
    FILTERS: page_filters,
    POINTWISE: page_bounds,
    DEPTHWISE: page_bounds,
}
HEADINGS = {
    LAYERS: "Benchmark results: layers",
    NETWORKS: "Benchmark results: networks",
    TRAINING: "Benchmark results: steps of training",
    WINDOWS: "Benchmark results: poolings and local layers",
    ONNX: "Benchmark results: networks as ONNX files",
    FILTERS: "Benchmark results: filters of arrays and signals",
    POINTWISE: "Benchmark results: 1x1 layers",
    DEPTHWISE: "Benchmark results: depthwise layers",
}


def _heading(run: Run) -> str:
    """What was measured, and of layers in which direction."""
    forward = run.subject != LAYERS or any(row.direction == FORWARD for row in run.rows)
    return HEADINGS[run.subject] if forward else "Benchmark results: gradients of layers"


def page(run: Run) -> str:
    """The whole page."""
    sections = SECTIONS[run.subject]
    parts = [
        f"# {_heading(run)}",
        _where(run),
        _peers(run),
        _how(run, sections.how(run)),
        _goals(run),
        _limits(run),
        sections.means(run),
        _losses(run),
        *sections.tables(run),
        _not_measured(run),
        _errors(run),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


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
    lines, peers = [], TABLES[run.subject]
    for name, version in run.versions.items():
        lines.append((f"`{name}`", version, peers[name].about if name in peers else ""))
    lines += [(f"`{name}`", "**missing**", reason) for name, reason in run.missing.items()]
    return "## Peers\n\n" + table(["peer", "version", "what is timed"], lines, 3)


def _how(run: Run, more: str) -> str:
    return (
        "## How\n\n"
        f"Each peer runs in a process of its own, on the same {run.threads} core(s) and with as "
        f"many threads, in turns: {run.rounds} round(s), every second one in the other order; a "
        f"round warms up and then fills {run.seconds:g} s. A process that is not asked is stopped, "
        f"so no idle pool spins. {more}" + _noise(run)
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


def _limits(run: Run) -> str:
    found = limits.judged(run)
    if not found:
        return ""
    lines = []
    for limit, value in found:
        wanted = f"{'>=' if limit.least else '<='} {limit.wanted:g} {limit.unit}".rstrip()
        reached = "yes" if limit.holds(value) else "**no**"
        lines.append([limit.text, wanted, f"{value:.4g} {limit.unit}".rstrip(), reached])
    return "## Limits\n\n" + table(["what", "wanted", "measured", "reached"], lines)


def _losses(run: Run) -> str:
    """All rows on which a peer is faster than us, or a sentence that there are none."""
    if all(row.ns(OURS[0]) is None for row in run.rows):
        return f"## Losses\n\n`{OURS[0]}` was not timed in this run."
    lost = losses(run.rows)
    if not lost:
        return "## Losses\n\nNone: on every row of this run no peer was faster."
    lines = []
    for row, rival, value in lost:
        pair = [duration(row.ns(name) or 0, row.direction) for name in (OURS[0], rival)]
        where = [f"{row.name} `{row.text}`", TITLES[row.direction]]
        lines.append([*where, rival, *pair, number(value, 3)])
    of = unit(run.rows[0].direction)
    head = [
        SECTIONS[run.subject].ROW,
        "direction",
        "the fastest",
        f"ours {of}",
        f"theirs {of}",
        "ratio",
    ]
    return f"## Losses ({len(lost)} of {len(run.rows)} rows)\n\n" + table(head, lines, 3)


# --- what else there is to know ---


def _not_measured(run: Run) -> str:
    """Which peers could not do what, and why: one line per reason."""
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
    """The largest error of each peer against float64, for float32 rows only."""
    worst: dict[str, tuple[float, str]] = {}
    for row in run.rows:
        for peer, outcome in row.outcomes.items():
            if outcome.error is not None and (
                run.subject not in CONVOLUTIONS or row.spec.dtype == "float32"
            ):
                worst[peer] = max(worst.get(peer, (0.0, "")), (outcome.error, row.name))
    if not worst:
        return ""
    lines = [[f"`{peer}`", f"{error:.1e}", name] for peer, (error, name) in worst.items()]
    head = ["peer", "largest error", "on"]
    return f"## Accuracy: {SECTIONS[run.subject].ERROR}\n\n" + table(head, lines)
