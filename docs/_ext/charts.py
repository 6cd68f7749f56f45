"""Charts of the results pages, from the files of figures beside them.

Where a page of ``benchmarks/results`` has a file of its name with rows of outcomes, a chart of all
of them stands below its title: every peer, losses included. ``explorer/src/charts.tsx`` draws it;
without it the page has its tables.
"""

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
OURS = "faltung"


def outcomes(page: str) -> list[dict[str, Any]]:
    """The rows behind a results page, such as "forward-2-threads"; none where there are none."""
    file = RESULTS / f"{page}.json"
    lines = RESULTS / f"{page}.jsonl"
    runs: list[dict[str, Any]] = []
    if file.exists():
        runs = [json.loads(file.read_text("utf-8"))]
    elif lines.exists():
        runs = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
    return [row for run in runs for row in run.get("rows", ()) if "outcomes" in row]


def chart(page: str) -> dict[str, Any] | None:
    """What the chart of a page shows: milliseconds of Faltung and of every peer, row by row.

    Faltung's time is that of the way that the page calls ``faltung``.
    """
    rows, peers = [], dict[str, None]()
    for row in outcomes(page):
        times = {
            peer: outcome["min_ns"] / 1e6
            for peer, outcome in row["outcomes"].items()
            if outcome["kind"] == "timed" and outcome["min_ns"]
        }
        ours = times.get(OURS)
        theirs = {peer: time for peer, time in times.items() if not peer.startswith(OURS)}
        if ours is None or not theirs:
            continue
        peers.update(dict.fromkeys(theirs))
        made = {"name": row["name"], "direction": row["direction"], "ours": ours, "theirs": theirs}
        rows.append(made)
    return {"peers": list(peers), "rows": rows} if rows else None


def insert(app: Sphinx, document: nodes.document) -> None:
    """Put the chart below the title of a results page."""
    folder, _, name = app.env.docname.rpartition("/")
    data = chart(name) if folder == "results" else None
    if data is None or app.builder.format != "html":
        return
    text = json.dumps(data).replace("<", "\\u003c")
    html = (
        f'<div class="faltung-chart"><script type="application/json">{text}</script></div>'
        '<script src="../_static/charts.js" defer></script>'
    )
    title = next(document.findall(nodes.title))
    place = title.parent.index(title) + 1
    title.parent.insert(place, nodes.raw("", html, format="html"))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the hook."""
    app.connect("doctree-read", insert)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
