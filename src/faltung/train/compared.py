"""Runs side by side: their settings that differ, what came of them, and where they disagree."""

import os
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from faltung.data.names import printable
from faltung.geometry.errors import FaltungError
from faltung.geometry.record import dataclass
from faltung.train import terminal
from faltung.train.curves import Line, chart
from faltung.train.evaluate import evaluate
from faltung.train.metrics import EpochMetrics
from faltung.train.opened import Opened, opened
from faltung.train.report import rendered
from faltung.train.report_sections import best_epoch, text
from faltung.train.run_dataset import data_table, parts, reopened
from faltung.train.run_folder import BEST, RunFolder
from faltung.train.session_report import parameters

# Tables of a config that say how a run was made.
MADE = ("data", "from", "teacher", "net", "train", "compress")
NO_VALUE = "-"


@dataclass(frozen=True)
class Compared:
    """``names``: of the runs. ``rows``: what differs, then the results, with a cell for each run.
    ``histories``: their epochs. ``said``: sentences on pairs of them.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    histories: tuple[Sequence[EpochMetrics], ...]
    said: tuple[str, ...]


def compared(paths: Sequence[str | os.PathLike[str]]) -> Compared:
    """Two runs or more. ValueError, OSError: fewer, or a path that is no run."""
    if len(paths) < 2:
        raise FaltungError(f"RUN: one run, {printable(paths[0])}: give two or more to compare")
    found = [opened(path) for path in paths]
    folders = [one.run("keeps what is compared") for one in found]
    rows = [*_settings([folder.config for folder in folders]), *_results(found, folders)]
    names = tuple(printable(Path(path).name or str(path)) for path in paths)
    return Compared(
        names, tuple(rows), tuple(f.history for f in folders), tuple(_said(names, found, folders))
    )


def _settings(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, tuple[str, ...]]]:
    """The settings that are not the same in all."""
    flat = [parameters({k: v for k, v in config.items() if k in MADE}) for config in configs]
    names = dict.fromkeys(name for each in flat for name in each)
    cells = {name: tuple(text(each.get(name, NO_VALUE), 40) for each in flat) for name in names}
    return [(name, row) for name, row in cells.items() if len(set(row)) > 1]


def _results(
    found: Sequence[Opened], folders: Sequence[RunFolder]
) -> list[tuple[str, tuple[str, ...]]]:
    """What came of them, of the epochs whose weights were kept."""
    columns = [_result(one, folder) for one, folder in zip(found, folders, strict=True)]
    names = dict.fromkeys(name for column in columns for name in column)
    return [(name, tuple(column.get(name, NO_VALUE) for column in columns)) for name in names]


def _result(one: Opened, folder: RunFolder) -> dict[str, str]:
    history = folder.history
    trained = sum(p.size for p in one.model.graph.parameters if p.trained)
    rest = {
        "epochs": str(len(history)),
        "seconds": f"{sum(row.seconds or 0 for row in history):.1f}",
        "parameters": f"{trained:,}",
        "bytes": f"{(folder.path / BEST).stat().st_size:,}",
    }
    best = best_epoch(history, one.settings().metric)
    if best is None:
        return rest
    made = {"best epoch": str(best.epoch)}
    if best.val_loss is not None:
        made["loss"] = terminal.number(best.val_loss)
    if best.val_accuracy is not None:
        made["accuracy"] = terminal.percent(best.val_accuracy)
    scores = {name: terminal.number(v) for name, v in best.scores.items() if v is not None}
    return made | scores | rest


# Where they disagree ------------------------------------------------------------------------------


def _said(names: Sequence[str], found: Sequence[Opened], folders: Sequence[RunFolder]) -> list[str]:
    """A sentence on each pair that held out the same samples of classes."""
    right = {}
    for number, (one, folder) in enumerate(zip(found, folders, strict=True)):
        answered = _right(one, folder)
        if answered is not None:
            right[number] = answered
    said = []
    for a, b in combinations(right, 2):
        if right[a][0] == right[b][0]:
            first, second = right[a][1], right[b][1]
            only, other = int((first & ~second).sum()), int((second & ~first).sum())
            said.append(
                f"of {len(first):,} held-out samples {names[a]} alone gets {only:,} right, "
                f"{names[b]} alone {other:,}: p = {mcnemar(only, other):.3g} (McNemar's exact test)"
            )
    return said


def _right(one: Opened, folder: RunFolder) -> tuple[tuple[Any, ...], Any] | None:
    """What tells the held-out samples, and which of them are answered right; None without any."""
    about = data_table(folder)
    settings = one.settings()
    try:
        _, source = reopened(folder)
    except OSError:  # the data are gone; the rest can be compared
        return None
    _, held = parts(source, about["held_out"], settings.seed)
    if held is None or settings.loss != "cross_entropy" or held.targets.ndim != 1:
        return None
    outputs = evaluate(one.model, held, settings.loss, keep=True).outputs
    if outputs is None or outputs.ndim != 2:
        return None
    held_out = str(about["held_out"]), settings.seed, about.get("digest")
    return held_out, np.asarray(outputs.argmax(1) == held.targets)


def mcnemar(only: int, other: int) -> float:
    """How likely so uneven a split is, or a more uneven one, where both are equally likely (Q.
    McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", 1947; the exact binomial form).
    """
    count, least = only + other, min(only, other)
    tail: int = sum(comb(count, k) for k in range(least + 1))
    chance: float = 2 * (tail / 2**count)
    return min(1.0, chance)


# A page -------------------------------------------------------------------------------------------


def page(found: Compared) -> str:
    """The same as one file of HTML, with the curves of all runs over each other."""
    charts = []
    for title, name, scale in (
        ("validation loss", "val_loss", 1.0),
        ("validation accuracy, %", "val_accuracy", 100.0),
        ("training loss", "loss", 1.0),
    ):
        lines = [
            Line(text(run, 24), [row.epoch for row in rows], _curve(rows, name, scale))
            for run, rows in zip(found.names, found.histories, strict=True)
        ]
        charts.append(chart(title, lines, lambda value: f"{value:.6g}"))
    return rendered(
        Path(__file__).parent / "compared.html.j2",
        title="Runs side by side",
        names=found.names,
        rows=found.rows,
        said=found.said,
        charts=[svg for svg in charts if svg],
    )


def _curve(rows: Sequence[EpochMetrics], name: str, scale: float) -> list[float | None]:
    values = [getattr(row, name) for row in rows]
    return [None if value is None else scale * value for value in values]
