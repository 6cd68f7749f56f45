"""The sections of the page that only layers have: means by group, rows by direction."""

from collections.abc import Sequence

from benchmarks.peers import OURS
from benchmarks.protocol import DIRECTIONS
from benchmarks.results import Row, Run
from benchmarks.stats import GROUPS, TORCH, best, ratio, ratios, rivals, signal
from benchmarks.words import NOTHING, TITLES, cell, mean, number, table, tells

ROW = "layer"
ERROR = "relative RMS error against float64"


def how(run: Run) -> str:
    """What is special about measuring layers."""
    return (
        "Arrays are in the peer's layout before the clock starts; weights are packed before where "
        "the peer can. Every peer's answer was compared with float64 first. Cells are the least "
        "and the median time of all calls in microseconds; ratios are the other's least time over "
        "ours (above 1: we are faster). Operations count every tap, 2 for a multiply-add."
    )


def tables(run: Run) -> list[str]:
    """All rows, with a section for each direction."""
    return [_tables(run, direction) for direction in DIRECTIONS]


def means(run: Run) -> str:
    """Geometric means by group, of us against each peer."""
    parts = []
    for direction in DIRECTIONS:
        rows = [row for row in run.rows if row.direction == direction]
        others = [n for n in run.versions if n not in OURS and any(row.ns(n) for row in rows)]
        lines = []
        for title, belongs in GROUPS:
            members = [row for row in rows if belongs(row.spec)]
            found = [_mean(members, None), _mean(members, TORCH)]
            found += [_mean(members, (other,)) for other in others]
            if any(one != NOTHING for one in found):
                nchw = mean(ratios(members, OURS[1], ("torch",)))
                lines.append([title, str(len(members)), *found, nchw])
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
    return mean(ratios(rows, OURS[0], peers))


def _tables(run: Run, direction: str) -> str:
    """Layers first, then signals and grey images, which have other peers."""
    rows = [row for row in run.rows if row.direction == direction]
    layers = [row for row in rows if not signal(row.spec)]
    signals = [row for row in rows if signal(row.spec)]
    parts = [_table(run, some) for some in (layers, signals) if some]
    return "\n\n".join([f"## {TITLES[direction]}", *parts]) if parts else ""


def _table(run: Run, rows: Sequence[Row]) -> str:
    """A table with a column for each peer that was timed on at least one of the rows."""
    names = [name for name in run.versions if any(tells(row.outcomes.get(name)) for row in rows)]
    head = ["layer", "MFLOP", "GFLOP/s", "of peak", "best other", "ratio", *names]
    lines = []
    for row in rows:
        cells = [cell(row.outcomes.get(name), row.direction) for name in names]
        lines.append([*_summary(run, row), *cells])
    return table(head, lines)


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
