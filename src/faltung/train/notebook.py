"""A model and its training as boxes in a notebook."""

from typing import TYPE_CHECKING

from faltung.geometry.html import box, folded, shape, table
from faltung.train.metrics import columns_of
from faltung.train.report_sections import charts
from faltung.train.terminal import number, percent, seconds

if TYPE_CHECKING:
    from faltung.train.history import History
    from faltung.train.network import Network

# Layers up to which the table is open at once, and lines of it; epochs that are shown of a long
# training, and names of classes.
OPEN, LINES, SHOWN, NAMES = 16, 32, 8, 8
# Of charts: in the colour of the text, and two that are seen on white and on black.
_CHARTS = """<style>
.faltung-charts{display:flex;flex-wrap:wrap;gap:10px 18px;margin-top:8px}
.faltung-charts svg{width:330px;max-width:100%;height:auto;display:block}
.faltung-charts path{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.faltung-charts .grid{stroke:currentColor;stroke-opacity:.15;stroke-width:1}
.faltung-charts .base{stroke:currentColor;stroke-opacity:.5;stroke-width:1}
.faltung-charts text{fill:currentColor;fill-opacity:.7;font:11.5px system-ui,sans-serif}
.faltung-charts text.title{fill-opacity:1;font-weight:600}
.faltung-charts .line0{stroke:#3b82f6}.faltung-charts circle.line0{fill:#3b82f6;stroke:none}
.faltung-charts .line1{stroke:#e0801f}.faltung-charts circle.line1{fill:#e0801f;stroke:none}
.faltung-charts .mark{fill:none;stroke:currentColor;stroke-width:1.5}
</style>"""


def model_html(model: "Network") -> str:
    """What it takes and gives, its size, and its layers."""
    found = model.summary()
    trained = "never trained" if model.targets is None else f"trained on {model.targets}"
    facts = [
        ("input", shape(model.input_shape) + (" (tokens)" if model.tokens else "")),
        ("output", shape(model.graph.output.shape)),
        ("parameters", f"{found.parameters:,}"),
        ("multiply-adds for a sample", f"{found.macs:,}"),
    ]
    if model.classes is not None:
        more = f", ... {len(model.classes)} in all" if len(model.classes) > NAMES else ""
        facts.append(("classes", ", ".join(n[:40] for n in model.classes[:NAMES]) + more))
    if model.standard is not None:
        means = ", ".join(f"{m:.4g} ± {s:.4g}" for m, s in _pairs(model))
        facts.append(("standardised", means))
    rows = len(found.rows)
    layers = folded(f"{rows} layers", found.html(methods=False, most=LINES), opened=rows <= OPEN)
    return box("Model", table((), facts), layers, note=f"{trained}, {model.dtype}")


def _pairs(model: "Network") -> list[tuple[float, float]]:
    assert model.standard is not None
    return list(zip(model.standard.mean, model.standard.std, strict=True))[:4]


def history_html(history: "History") -> str:
    """Charts, and the epochs: the first, the last, and the best."""
    if not history:
        return box("History", note="no epochs")
    rows = list(history)
    shown = rows
    if len(rows) > SHOWN:
        kept = {*range(2), *range(len(rows) - SHOWN + 3, len(rows))}
        kept |= {i for i, row in enumerate(rows) if row is history.best}
        shown = [rows[i] for i in sorted(kept)]
    listed = [row.as_dict() for row in shown]
    names = [
        name
        for name in columns_of(listed)
        if name not in ("step", "samples_per_second")
        and any(row.get(name) is not None for row in listed)
    ]
    cells = [[_number(name, row.get(name)) for name in names] for row in listed]
    best = [i for i, row in enumerate(shown) if row is history.best]
    head = [name.replace("_", " ") for name in names]
    drawn = "".join(f"<div>{svg}</div>" for svg in charts(history))
    count = f"{len(rows)} epoch{'s'[: len(rows) != 1]}"
    note = "; ".join([count, *history.notes])
    picture = f'{_CHARTS}<div class="faltung-charts">{drawn}</div>' if len(rows) > 1 else ""
    return box(
        "History", picture, table(head, cells, right=range(len(names)), strong=best), note=note
    )


def _number(name: str, value: float | None) -> str:
    if value is None:
        return ""
    if name == "epoch":
        return str(int(value))
    if name == "seconds":
        return seconds(value)
    if name == "lr":
        return f"{value:.3g}"
    return percent(value) if name.endswith("accuracy") else number(value)
