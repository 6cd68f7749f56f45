"""One page about a run: how it went, its mistakes, its filters, and what it cost.

A single HTML file that loads nothing: pictures are embedded, there is no script, and its content
security policy forbids everything else. What comes from outside, such as names of classes and
files, is escaped.
"""

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faltung.formats.extras import missing
from faltung.formats.files import write_whole
from faltung.geometry.record import dataclass
from faltung.train.calibration import Calibration
from faltung.train.confusion import by_class, confusion
from faltung.train.metrics import EpochMetrics
from faltung.train.report_sections import (
    SEEN,
    Array,
    Mistake,
    charts,
    costs,
    drawn,
    figures,
    filters,
    mistakes,
    network,
    range_test,
    reliability,
    settings,
    text,
)
from faltung.train.run_format import version
from faltung.train.terminal import clean, percent

__all__ = ["Mistake", "ReportData", "render", "write_report"]

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class ReportData:
    """Everything that the page shows; sections without data are left out.

    ``history``: the epochs; ``confusion``: counts (classes, classes), rows true, of the held-out
    samples; ``mistakes``: worst first; ``filters``: of the first layer, (out, in, *kernel);
    ``layers``: rows of the network's table, by column; ``cost``: by name (``seconds``,
    ``peak_memory`` in bytes, ``samples_per_second``, ``machine``, ``threads``, ...); ``config``:
    tables of settings; ``metric``: what chose the best epoch; ``note``: a sentence below the title;
    ``lr_test``: (rate, loss) of each step of a range test of the learning rate; ``calibration``: of
    the held-out samples; ``seen``: samples as training sees them, changed at random; ``table``: the
    network as ``summary`` prints it, instead of ``layers``; ``command``: what repeats the run.
    """

    title: str
    history: Sequence[EpochMetrics] = ()
    confusion: npt.ArrayLike | None = None
    classes: Sequence[str] = ()
    mistakes: Sequence[Mistake | tuple[Any, ...]] = ()
    filters: Array | None = None
    layers: Sequence[Mapping[str, object]] = ()
    cost: Mapping[str, object] = field(default_factory=dict)
    config: Mapping[str, object] = field(default_factory=dict)
    metric: str | None = None
    note: str = ""
    lr_test: Sequence[tuple[float, float]] = ()
    calibration: Calibration | None = None
    seen: Sequence[Array] = ()
    table: str = ""
    command: str = ""


def write_report(path: str | os.PathLike[str], data: ReportData, *, own: bool = False) -> None:
    """Write the page atomically; the same data gives the same bytes. ``own``: as in
    ``write_whole``.
    """
    # File names may hold bytes that are not text: each becomes a question mark.
    write_whole(path, render(data).encode("utf-8", "replace"), own=own)


def render(data: ReportData) -> str:
    """The page as text."""
    matrix = None if data.confusion is None else confusion(data.confusion, data.classes)
    return rendered(
        _HERE / "report.html.j2",
        title=text(data.title),
        note=text(data.note),
        figures=list(figures(data.history, matrix, data.layers, data.cost, data.metric)),
        charts=[*charts(data.history, data.metric), *range_test(data.lr_test, data.config)],
        ringed=any(row.val_loss is not None for row in data.history),
        confusion=matrix,
        mistakes=mistakes(data.mistakes, data.classes),
        filters=None if data.filters is None else filters(data.filters),
        network=None if data.table else network(data.layers),
        scores=() if matrix is None else by_class(data.confusion, data.classes),  # type: ignore[arg-type]
        calibration=reliability(data.calibration),
        seen=[drawn(np.asarray(one), SEEN, signed=False) for one in data.seen],
        table=data.table,
        command=clean(data.command),
        cost=costs(data.cost),
        config=list(settings(data.config)),
    )


def rendered(template: Path, *, styles: Sequence[str] = ("report.css",), **values: object) -> str:
    """A page of one file in the style of reports. ``template``: a file of Faltung's own, as are
    ``styles``.
    """
    style = _style(tuple(styles))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page: str = _template(template).render(
        version=version(), style=style, style_hash=digest, text=text, percent=percent, **values
    )
    return page


@cache
def _style(names: tuple[str, ...]) -> str:
    return "".join((_HERE / name).read_text("utf-8") for name in names)


@cache
def _template(path: Path) -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise missing("jinja2", "train") from error
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(path.read_text("utf-8"))
