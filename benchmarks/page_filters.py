"""The sections of the page that only filters of arrays and signals have."""

from benchmarks.filter_problem import FilterProblem
from benchmarks.filters import FILTERS
from benchmarks.peers import OURS
from benchmarks.results import Row, Run
from benchmarks.stats import geometric_mean, ratio
from benchmarks.words import NOTHING, cell, number, table, tells

ROW = "filter"
ERROR = "largest difference from what SciPy says in the same dtype, as a share of the largest entry"
MOVES = {row.name for row in FILTERS if row.moves}


def how(run: Run) -> str:
    """What is special about measuring filters."""
    return (
        "A call is one line of a user's: the array in, a new array out, borders as SciPy has them "
        "by default. SciPy has one thread, whatever it is given. Cells are the least and the "
        "median time of all calls in milliseconds; ratios are the other's least time over ours "
        "(above 1: we are faster). GB/s, where memory decides, are the bytes of the array and of "
        "the result over our least time. A Dask array has chunks that are made when they are "
        "asked for, and results are thrown away, so that memory is what the computation takes; "
        "it is the high-water mark of a process of its own, above what was there before."
    )


def means(run: Run) -> str:
    """Geometric means of the ratios to each peer."""
    lines = []
    for peer in _others(run):
        values = [value for row in run.rows if (value := ratio(row, OURS[0], (peer,))) is not None]
        if values:
            least = f"{min(values):.2f}"
            lines.append([peer, str(len(values)), number(geometric_mean(values)), least])
    title = "## Ratios of the rows that a peer can do"
    return (
        f"{title}\n\n" + table(["peer", "rows", "geometric mean", "least"], lines) if lines else ""
    )


def tables(run: Run) -> list[str]:
    """All rows."""
    others = _others(run)
    names = [
        name for name in run.versions if any(tells(row.outcomes.get(name)) for row in run.rows)
    ]
    head = ["filter", *names, *(f"times {peer}" for peer in others), "GB/s"]
    lines = [_line(row, names, others) for row in run.rows]
    parts = ["## Times\n\n" + table(head, lines)]
    measured = [row for row in run.rows if row.costs]
    if measured:
        lines = [
            [row.name, name, f"{cost.peak_bytes / 1e6:,.0f}"]
            for row in measured
            for name, cost in row.costs.items()
            if cost.peak_bytes is not None
        ]
        parts.append("## Memory\n\n" + table(["filter", "peer", "MB"], lines, 2))
    return parts


def _line(row: Row, names: list[str], others: list[str]) -> list[str]:
    cells = [cell(row.outcomes.get(name), row.direction) for name in names]
    ratios = [number(ratio(row, OURS[0], (peer,))) for peer in others]
    ns = row.ns(OURS[0])
    speed = NOTHING if ns is None or row.name not in MOVES else _speed(row, ns)
    return [f"{row.name}<br>`{row.text}`", *cells, *ratios, speed]


def _speed(row: Row, ns: int) -> str:
    return f"{FilterProblem(row.text).bytes / ns:.1f}"


def _others(run: Run) -> list[str]:
    return [
        name for name in run.versions if name not in OURS and any(row.ns(name) for row in run.rows)
    ]
