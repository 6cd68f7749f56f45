"""The sections of the page of 1x1 and of depthwise layers: how near each is to what bounds it."""

from benchmarks.bounds import Bounds, bounds, moved
from benchmarks.page_layers import ERROR, ROW
from benchmarks.page_layers import how as of_layers
from benchmarks.peers import OURS
from benchmarks.protocol import DIRECTIONS
from benchmarks.results import Row, Run
from benchmarks.stats import TORCH, best, geometric_mean, ratio, ratios, rivals
from benchmarks.words import NOTHING, TITLES, cell, number, table, tells

__all__ = ["ERROR", "ROW", "how", "means", "tables"]


def how(run: Run) -> str:
    """What is special about measuring them."""
    found = bounds(run)
    more = "" if found is None else f" {found.text}"
    return of_layers(run) + more


def means(run: Run) -> str:
    """Geometric means and the least ratio, of us against each peer, for each direction."""
    others = [n for n in run.versions if n not in OURS and any(row.ns(n) for row in run.rows)]
    lines = []
    for direction in DIRECTIONS:
        rows = [row for row in run.rows if row.direction == direction]
        wanted = [None, TORCH, *((other,) for other in others)]
        found = [ratios(rows, OURS[0], peers) for peers in wanted]
        if any(found):
            lines.append([TITLES[direction], str(len(rows)), *map(_mean, found)])
    head = ["", "rows", "the best of all", "PyTorch, better layout", *others]
    title = "## Geometric means of the ratios, and the least"
    return f"{title}\n\n" + table(head, lines) if lines else ""


def _mean(values: list[float]) -> str:
    return f"{number(geometric_mean(values))}, {min(values):.2f}" if values else NOTHING


def tables(run: Run) -> list[str]:
    """All rows of each direction, those that are worst for us first."""
    parts = []
    for direction in DIRECTIONS:
        rows = sorted((row for row in run.rows if row.direction == direction), key=_order)
        if rows:
            parts.append(f"## {TITLES[direction]}\n\n" + _table(run, rows))
    return parts


def _order(row: Row) -> float:
    """What failed first, then the ratios."""
    value = ratio(row, OURS[0], rivals(row))
    return 0.0 if value is None else value


def _table(run: Run, rows: list[Row]) -> str:
    names = [name for name in run.versions if any(tells(row.outcomes.get(name)) for row in rows)]
    head = ["layer", "MFLOP", "MB", "GFLOP/s", "of peak", "GB/s", "of a copy", "what bounds it"]
    head += ["best other", "ratio", *names]
    found = bounds(run)
    lines = []
    for row in rows:
        other = best(row, rivals(row))
        cells = [cell(row.outcomes.get(name), row.direction) for name in names]
        mine = [
            f"{row.name}<br>`{row.text}`",
            f"{row.spec.flops / 1e6:,.1f}",
            f"{moved(row) / 1e6:,.2f}",
            *_near(row, found),
            NOTHING if other is None else other[0],
            number(ratio(row, OURS[0], rivals(row))),
        ]
        lines.append([*mine, *cells])
    return table(head, lines)


def _near(row: Row, found: Bounds | None) -> list[str]:
    """GFLOP/s, of the peak, GB/s, of a copy, what bounds it."""
    ns, gflops = row.ns(OURS[0]), row.gflops(OURS[0])
    if ns is None or gflops is None:
        return [NOTHING] * 5
    rate = f"{moved(row) / ns:.1f}"
    if found is None:
        return [number(gflops, 0), NOTHING, rate, NOTHING, NOTHING]
    bound, share = found.of(row)
    return [
        number(gflops, 0),
        f"{100 * gflops / found.peak:.0f}%",
        rate,
        f"{100 * found.copy(row) / ns:.0f}%",
        f"{bound} {100 * share:.0f}%",
    ]
