"""The sections of the page that only networks and training steps have."""

from benchmarks.peers import OURS
from benchmarks.protocol import NETWORKS
from benchmarks.results import Cost, Row, Run
from benchmarks.stats import TORCH, best, memory_ratio, ratio, ratios, rivals
from benchmarks.words import NOTHING, TITLES, cell, mean, number, table, tells

ROW = "network"
ERROR = (
    "relative RMS error of the outputs, or relative difference of the first losses, against float64"
)


def how(run: Run) -> str:
    """What is special about measuring networks."""
    compared = any(o.error is not None for row in run.rows for o in row.outcomes.values())
    checked = (
        "compared with PyTorch's float64 first" if compared else "**not compared** with any other"
    )
    if run.subject == NETWORKS:
        told = (
            "All peers have the same weights (batch normalisation with statistics unlike 0 and 1) "
            f"and the same input; their outputs were {checked}. "
        )
    else:
        told = (
            "A step is forward, backward and SGD with momentum, for cross-entropy; batch "
            "normalisation by the batch, no dropout, no auxiliary classifiers. All peers start "
            f"from the same weights on the same batch; their first losses were {checked}. "
        )
    return told + (
        "Cells are the least and the median time of all calls in milliseconds; ratios are the "
        "other's least time over ours (above 1: we are faster). Operations are those of "
        "convolutions and linear layers, 2 for a multiply-add, backward as much as two forward."
    )


def means(run: Run) -> str:
    """Geometric means, of us against each peer."""
    others = [n for n in run.versions if n not in OURS and any(row.ns(n) for row in run.rows)]
    wanted = [None, TORCH, *((other,) for other in others)]
    found = [mean(ratios(run.rows, OURS[0], peers)) for peers in wanted]
    if all(one == NOTHING for one in found):
        return ""
    head = ["", "the best of all", "PyTorch, better layout", *others]
    title = "## Geometric means of the ratios (of the rows that the peer can do)"
    return f"{title}\n\n" + table(head, [["all", *found]])


def tables(run: Run) -> list[str]:
    """All rows, and what they cost besides the time of a call."""
    return [_rows(run), _ready(run), _memory(run), _sessions(run)] if run.rows else [_sessions(run)]


def _rows(run: Run) -> str:
    names = [
        name for name in run.versions if any(tells(row.outcomes.get(name)) for row in run.rows)
    ]
    head = ["network", "parameters", "MFLOP", "GFLOP/s", "of peak", "best other", "ratio", *names]
    lines = []
    for row in run.rows:
        cells = [cell(row.outcomes.get(name), row.direction) for name in names]
        lines.append([*_summary(run, row), *cells])
    return f"## {TITLES[run.rows[0].direction]}\n\n" + table(head, lines)


def _summary(run: Run, row: Row) -> list[str]:
    gflops, other = row.gflops(OURS[0]), best(row, rivals(row))
    fraction = None if gflops is None or run.peak is None else 100 * gflops / run.peak
    return [
        f"{row.name}<br>`{row.text}`",
        f"{row.parameters:,}",
        f"{row.operations / 1e6:,.1f}",
        number(gflops, 0),
        NOTHING if fraction is None else f"{fraction:.0f}%",
        NOTHING if other is None else other[0],
        number(ratio(row, OURS[0], rivals(row))),
    ]


def _ready(run: Run) -> str:
    """Seconds from a network and its weights to the first answer."""
    others = [n for n in run.versions if n not in OURS and any(row.ns(n) for row in run.rows)]
    lines = []
    for row in run.rows:
        ours = row.costs.get(OURS[0], Cost())
        cells = []
        for name in others:
            outcome = row.outcomes.get(name)
            taken = None if outcome is None or not outcome.ready_ns else outcome.ready_ns / 1e9
            cells.append(number(taken))
        lines.append([row.name, number(ours.cold_s), number(ours.warm_s), *cells])
    if all(set(line[1:]) == {NOTHING} for line in lines):
        return ""
    about = (
        f"`{OURS[0]}`: in processes of their own, with no kernels on disk, then with those of the "
        "first process. Others: in the process that was timed, which may have done other rows "
        "before; `torch-compile` with an empty cache at the start of the run."
    )
    head = ["network", f"{OURS[0]}, cold", f"{OURS[0]}, warm", *others]
    return f"## Until the first answer, in seconds\n\n{about}\n\n" + table(head, lines)


def _memory(run: Run) -> str:
    names = [name for name in run.versions if any(_peak(row, name) for row in run.rows)]
    if not names:
        return ""
    lines = []
    for row in run.rows:
        cells = [number(_peak(row, name), 1) for name in names]
        lines.append([row.name, *cells, number(memory_ratio(row, OURS[0], ("torch",)))])
    about = (
        "The largest resident set of a process while the step is built and run, less that before: "
        "libraries are loaded, a tiny network was trained, the initial weights and the batch are "
        "there. Ratio: `torch` over ours."
    )
    return f"## Memory, in MiB\n\n{about}\n\n" + table(["network", *names, "ratio"], lines)


def _peak(row: Row, name: str) -> float | None:
    found = row.costs.get(name, Cost()).peak_bytes
    return None if found is None else found / 2**20


def _sessions(run: Run) -> str:
    if not run.sessions:
        return ""
    lines = [
        [
            f"`{session.command}`",
            number(session.cold_s, 1),
            number(session.warm_s, 1),
            NOTHING if session.accuracy is None else f"{session.accuracy:.2%}",
            session.reason,
        ]
        for session in run.sessions
    ]
    head = ["command", "cold, s", "warm, s", "accuracy", "failed"]
    about = "From start to end: once with no kernels on disk, and again with those of the first."
    return f"## Commands\n\n{about}\n\n" + table(head, lines)
