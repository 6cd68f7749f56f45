"""The sections of the page that only ONNX files have."""

from collections.abc import Sequence

from benchmarks.peers import OURS
from benchmarks.results import Row, Run
from benchmarks.stats import best, geometric_mean, ratio, ratios, rivals
from benchmarks.words import NOTHING, cell, duration, number, table, tells

ROW = "network"
ERROR = "relative RMS difference of the outputs from those of ONNX Runtime"


def how(run: Run) -> str:
    """What is special about measuring files."""
    return (
        "All runtimes are given the same file and the same input, and each call is the one that a "
        "user makes, with arrays in and arrays out. Weights are random, normalisation with "
        "statistics unlike 0 and 1. Cells are the least and the median time of all calls in "
        "milliseconds; ratios are the other's least time over ours (above 1: we are faster). No "
        "new round of a file begins once it has taken its share of the time."
    )


def means(run: Run) -> str:
    """Geometric means and the least ratio, of us against each peer, for each batch."""
    others = [n for n in run.versions if n not in OURS and any(row.ns(n) for row in run.rows)]
    lines = []
    for batch in _batches(run):
        rows = [row for row in run.rows if row.text == batch]
        wanted = [None, *((other,) for other in others)]
        found = [ratios(rows, OURS[0], peers) for peers in wanted]
        if any(found):
            lines.append([f"batch {batch[1:]}", str(len(rows)), *map(_mean, found)])
    title = "## Geometric means of the ratios, and the least"
    head = ["", "networks", "the best of all", *others]
    return f"{title}\n\n" + table(head, lines) if lines else ""


def _mean(values: Sequence[float]) -> str:
    if not values:
        return NOTHING
    few = f", of {len(values)}"
    return f"{number(geometric_mean(values))}, least {min(values):.2f}{few}"


def _batches(run: Run) -> list[str]:
    return sorted({row.text for row in run.rows}, key=lambda text: int(text[1:]))


def tables(run: Run) -> list[str]:
    """All rows of each batch, those that are worst for us first."""
    return [_table(run, batch) for batch in _batches(run)]


def _table(run: Run, batch: str) -> str:
    rows = sorted((row for row in run.rows if row.text == batch), key=_order)
    names = [name for name in run.versions if any(tells(row.outcomes.get(name)) for row in rows)]
    head = ["network", "best other", "ratio", *names, "first answer, s"]
    lines = []
    for row in rows:
        other, value = best(row, rivals(row)), ratio(row, OURS[0], rivals(row))
        cells = [cell(row.outcomes.get(name), row.direction) for name in names]
        ours = row.outcomes.get(OURS[0])
        ready = "" if ours is None or not ours.ready_ns else f"{ours.ready_ns / 1e9:.1f}"
        lines.append(
            [row.name, NOTHING if other is None else other[0], number(value), *cells, ready]
        )
    return f"## Batch {batch[1:]}\n\n" + table(head, lines)


def short(run: Run, name: str) -> str:
    """For another page: the means, and the rows of batch 1. name: of the file that has all."""
    facts = [run.machine.get("processor", ""), run.machine.get("features", "")]
    facts += [f"{run.threads} thread{'s' * (run.threads > 1)}", run.date.partition(" ")[0]]
    facts += [f"{peer} {version}" for peer, version in run.versions.items() if peer not in OURS]
    where = f"[All rows, medians and versions](../benchmarks/results/{name})."
    about = f"{', '.join(filter(None, facts))}. {where}"
    lines = []
    rows = sorted((row for row in run.rows if row.text == "n1"), key=_order)
    others = [peer for peer in run.versions if peer not in OURS]
    for row in rows:
        times = [row.ns(peer) for peer in (OURS[0], *others)]
        cells = [NOTHING if ns is None else duration(ns, row.direction) for ns in times]
        lines.append([row.name, *cells, number(ratio(row, OURS[0], rivals(row)))])
    mean = means(run).partition("\n\n")[2]
    body = table(["network, batch 1", "Faltung", *others, "times"], lines) if lines else ""
    return "\n\n".join(filter(None, [about, mean, body])) + "\n\n"


def _order(row: Row) -> float:
    """What failed first, then the ratios."""
    value = ratio(row, OURS[0], rivals(row))
    return 0.0 if value is None else value
