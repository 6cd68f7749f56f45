"""The sections of the page that only pooling and locally connected layers have."""

from benchmarks.peers import OURS
from benchmarks.protocol import WINDOW_DIRECTIONS
from benchmarks.results import Row, Run
from benchmarks.stats import TORCH, best, ratio, ratios, rivals
from benchmarks.window_problem import WindowProblem
from benchmarks.words import NOTHING, TITLES, cell, mean, number, table, tells

ROW = "window"
ERROR = "relative RMS error against float64"


def how(run: Run) -> str:
    """What is special about measuring them."""
    return (
        "Arrays are in the peer's layout before the clock starts, weights of local layers in its "
        "order. Every answer was compared with float64 first. Cells are the least and the median "
        "time of all calls in microseconds; ratios are the other's least time over ours (above 1: "
        "we are faster). MB are those of input, weight and output, each once."
    )


def means(run: Run) -> str:
    """Geometric means, of us against each peer."""
    others = [n for n in run.versions if n not in OURS and any(row.ns(n) for row in run.rows)]
    lines = []
    for direction in WINDOW_DIRECTIONS:
        rows = [row for row in run.rows if row.direction == direction]
        wanted = [None, TORCH, *((other,) for other in others)]
        found = [mean(ratios(rows, OURS[0], peers)) for peers in wanted]
        if any(one != NOTHING for one in found):
            lines.append([TITLES[direction], *found])
    head = ["", "the best of all", "PyTorch, better layout", *others]
    title = "## Geometric means of the ratios (of the rows that the peer can do)"
    return f"{title}\n\n" + table(head, lines) if lines else ""


def tables(run: Run) -> list[str]:
    """All rows, with a section for each direction."""
    parts = []
    for direction in WINDOW_DIRECTIONS:
        rows = [row for row in run.rows if row.direction == direction]
        if rows:
            parts.append(f"## {TITLES[direction]}\n\n" + _table(run, rows))
    return parts


def _table(run: Run, rows: list[Row]) -> str:
    names = [name for name in run.versions if any(tells(row.outcomes.get(name)) for row in rows)]
    head = ["window", "MB", "GB/s", "best other", "ratio", *names]
    lines = []
    for row in rows:
        moved, ns, other = _bytes(row), row.ns(OURS[0]), best(row, rivals(row))
        lines.append(
            [
                f"{row.name}<br>`{row.text}`",
                f"{moved / 1e6:,.2f}",
                NOTHING if ns is None else f"{moved / ns:.1f}",
                NOTHING if other is None else other[0],
                number(ratio(row, OURS[0], rivals(row))),
                *(cell(row.outcomes.get(name), row.direction) for name in names),
            ]
        )
    return table(head, lines)


def _bytes(row: Row) -> int:
    problem = WindowProblem(row.text, row.direction)
    spec = problem.spec
    numbers = problem.x.size + problem.grad.size
    if problem.kind == "local":
        numbers += spec.ladder().local
    return numbers * spec.itemsize
